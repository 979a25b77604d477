//! The control task: keeps the PUB/SUB connections open, and does its jobs on them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::instrument::WithSubscriber;

use super::pub_sub_connections::PubSubConnections;
use super::subscribers::{CountQuery, Counts, SubscriberCounter};
use super::{ControlJob, Count, HEARTBEAT, Message, PUBLISHING, SUBSCRIBING, Shared, TASK};
use crate::engine::error::{Error, Result};
use crate::engine::event::Notice;
use crate::engine::redis::{Backoff, ChannelCommand, Connector, Push};
use crate::engine::wire::{MemberMessage, MemberNews};

/// How far apart this node's answers to hellos are, for each node that it knows. One answer serves
/// all new nodes, and after an outage all nodes are new at once.
const ANSWER_PAUSE: Duration = Duration::from_millis(5);
/// The same at the most.
const LONGEST_ANSWER_PAUSE: Duration = Duration::from_secs(1);
/// Most commands in one pipeline.
const BATCH: usize = 500;

/// The task behind `Control`.
pub(crate) struct ControlTask {
    shared: Arc<Shared>,
    connector: Arc<Connector>,
    jobs: mpsc::UnboundedReceiver<ControlJob>,
    own_jobs: mpsc::WeakUnboundedSender<ControlJob>,
    /// A job that was taken from `jobs` too early; it is the next one.
    put_back: Option<ControlJob>,
    /// Channels for which Redis has refused the subscription. The task tries again with each
    /// heartbeat.
    refused: Vec<String>,
    /// When this node last told the others that it is there.
    said: Instant,
    /// When it answers the hellos that have come since.
    answer_at: Option<Instant>,
    counting: JoinSet<()>,
    counter: SubscriberCounter,
}

impl ControlTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        connector: Arc<Connector>,
        jobs: mpsc::UnboundedReceiver<ControlJob>,
        own_jobs: mpsc::WeakUnboundedSender<ControlJob>,
    ) -> Self {
        Self {
            shared,
            counter: SubscriberCounter::new(connector.clone()),
            connector,
            jobs,
            own_jobs,
            put_back: None,
            refused: Vec::new(),
            said: Instant::now(),
            answer_at: None,
            counting: JoinSet::new(),
        }
    }

    /// Runs until it is stopped. It connects again after each break.
    pub(crate) async fn run(mut self) {
        let mut backoff = self.connector.backoff();
        loop {
            let ended = self.serve(&mut backoff).await;
            self.shared.health.lost();
            match ended {
                Ok(done) => {
                    let _ = done.send(());
                    return;
                }
                Err(error) => self.shared.warnings.warn(TASK, &error),
            }
            backoff.wait().await;
        }
    }

    /// Connects and works. Returns an error when the connection breaks, and `Ok` when the engine
    /// stops.
    async fn serve(&mut self, backoff: &mut Backoff) -> Result<oneshot::Sender<()>> {
        let (shared, own_jobs) = (self.shared.clone(), self.own_jobs.clone());
        let on_push = move |push: Push<'_>| {
            if let Some(job) = shared.receive(push)
                && let Some(jobs) = own_jobs.upgrade()
            {
                let _ = jobs.send(job);
            }
        };
        let warnings = self.shared.warnings.clone();
        let sharded = self.shared.options.use_sharded_pub_sub;
        let mut connections =
            PubSubConnections::open(self.connector.clone(), warnings, sharded, on_push).await?;
        self.subscribe_all(&mut connections).await?;
        self.shared.members().listen_again();
        self.say(&mut connections, MemberNews::Hello).await?;
        // Not before this: a server may let us subscribe but not publish.
        backoff.reset();
        self.shared.warnings.clear(TASK);
        self.shared.health.connected(&self.shared.stats, &self.shared.inbox);

        let mut heartbeat = ticks(self.shared.options.heartbeat_interval());
        heartbeat.reset();
        let mut silence_check = ticks(self.shared.members().check_interval());
        loop {
            tokio::select! {
                biased;
                error = connections.broken() => return Err(error),
                _ = heartbeat.tick() => {
                    self.say(&mut connections, MemberNews::Alive).await?;
                    connections.check().await?;
                    self.subscribe_refused(&mut connections).await?;
                }
                _ = silence_check.tick() => self.forget_silent(),
                () = sleep_until(self.answer_at.unwrap_or(self.said)), if self.answer_at.is_some() => {
                    self.say(&mut connections, MemberNews::Alive).await?;
                }
                Some(job) = next_job(&mut self.put_back, &mut self.jobs) => {
                    if let Some(done) = self.work(job, &mut connections).await? {
                        return Ok(done);
                    }
                }
                Some(_) = self.counting.join_next() => {}
            }
        }
    }

    /// How long after its last heartbeat this node answers a hello.
    fn answer_pause(&self) -> Duration {
        let known = self.shared.members().known();
        ANSWER_PAUSE
            .saturating_mul(u32::try_from(known).unwrap_or(u32::MAX))
            .min(LONGEST_ANSWER_PAUSE)
    }

    async fn subscribe_all(&mut self, connections: &mut PubSubConnections) -> Result<()> {
        self.refused.clear();
        let mut channels: Vec<String> = self.shared.routes().keys().cloned().collect();
        channels.push(self.shared.members_channel());
        for channels in channels.chunks(BATCH) {
            self.subscription(connections, true, channels).await?;
        }
        Ok(())
    }

    /// Tries refused subscriptions again. If none is left, also since all were made on a new
    /// connection, the warnings of them are over.
    async fn subscribe_refused(&mut self, connections: &mut PubSubConnections) -> Result<()> {
        let mut channels = std::mem::take(&mut self.refused);
        {
            // A namespace may have been closed meanwhile.
            let (routes, members) = (self.shared.routes(), self.shared.members_channel());
            channels.retain(|channel| *channel == members || routes.contains_key(channel));
        }
        if !channels.is_empty() {
            self.subscription(connections, true, &channels).await?;
        }
        if self.refused.is_empty() {
            self.shared.warnings.clear(SUBSCRIBING);
        }
        Ok(())
    }

    /// Subscribes or unsubscribes. If Redis refuses a channel, this warns and goes on with the
    /// rest.
    async fn subscription(
        &mut self,
        connections: &mut PubSubConnections,
        on: bool,
        channels: &[String],
    ) -> Result<()> {
        let name = match (on, self.shared.options.use_sharded_pub_sub) {
            (true, false) => "SUBSCRIBE",
            (true, true) => "SSUBSCRIBE",
            (false, false) => "UNSUBSCRIBE",
            (false, true) => "SUNSUBSCRIBE",
        };
        let commands: Vec<_> =
            channels.iter().map(|channel| ChannelCommand::new(name, channel)).collect();
        let replies = connections.send(&commands).await?;
        for (channel, reply) in channels.iter().zip(replies) {
            if let Err(error) = reply {
                self.shared.warnings.warn(SUBSCRIBING, &error);
                if on && !self.refused.contains(channel) {
                    self.refused.push(channel.clone());
                }
            }
        }
        Ok(())
    }

    /// Does one job, together with the jobs of the same kind right behind it.
    async fn work(
        &mut self,
        job: ControlJob,
        connections: &mut PubSubConnections,
    ) -> Result<Option<oneshot::Sender<()>>> {
        match job {
            ControlJob::Subscribe { channels } => {
                let more = self.take_behind(|job| match job {
                    ControlJob::Subscribe { channels } => Ok(channels),
                    other => Err(other),
                });
                let channels: Vec<String> = [channels].into_iter().chain(more).flatten().collect();
                self.subscription(connections, true, &channels).await?;
            }
            ControlJob::Unsubscribe { channels } => {
                self.subscription(connections, false, &channels).await?;
            }
            ControlJob::SubscribeAgain { channel } => {
                self.connector.forget();
                self.subscription(connections, true, &[channel]).await?;
            }
            ControlJob::Publish(message) => {
                let mut messages = vec![message];
                messages.append(&mut self.take_behind(|job| match job {
                    ControlJob::Publish(message) => Ok(message),
                    other => Err(other),
                }));
                self.publish(connections, messages).await?;
            }
            ControlJob::CountSubscribers { call, nsp, asked } => {
                let query = self.shared.count_query(&nsp, asked, vec![call]);
                self.send(connections, &[], vec![query]).await?;
            }
            ControlJob::AnswerHello => {
                // The new node may be connected to a node of the cluster that we do not know yet.
                self.connector.forget();
                let due = self.said + self.answer_pause();
                self.answer_at.get_or_insert(due);
            }
            ControlJob::Stop { done } => {
                self.say(connections, MemberNews::Bye).await?;
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// Takes jobs as long as `pick` accepts them. The first other job is put back.
    fn take_behind<T>(
        &mut self,
        pick: impl Fn(ControlJob) -> std::result::Result<T, ControlJob>,
    ) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < BATCH
            && let Ok(job) = self.jobs.try_recv()
        {
            match pick(job) {
                Ok(wanted) => taken.push(wanted),
                Err(other) => {
                    self.put_back = Some(other);
                    break;
                }
            }
        }
        taken
    }

    /// Publishes messages, together with one count for all requests to a namespace that ask for one.
    async fn publish(
        &mut self,
        connections: &mut PubSubConnections,
        mut messages: Vec<Message>,
    ) -> Result<()> {
        let mut queries = Vec::<CountQuery>::new();
        for Count { call, nsp } in messages.iter_mut().filter_map(|message| message.count.take()) {
            match queries.iter_mut().find(|query| query.nsp == nsp) {
                Some(query) => query.calls.push(call),
                None => queries.push(self.shared.count_query(&nsp, Vec::new(), vec![call])),
            }
        }
        self.send(connections, &messages, queries).await
    }

    /// Sends messages, each at most once: after a break, it does not send them again. The counts go
    /// out behind them in the same write, unless several servers count.
    async fn send(
        &mut self,
        connections: &mut PubSubConnections,
        messages: &[Message],
        mut queries: Vec<CountQuery>,
    ) -> Result<()> {
        if self.counter.asks_many() {
            for query in queries.drain(..) {
                let (shared, counter) = (self.shared.clone(), self.counter.clone());
                let count = async move {
                    let counts = counter.count(&query).await;
                    shared.answer(query, counts);
                };
                self.counting.spawn(count.with_current_subscriber());
            }
        }
        for message in messages {
            self.shared.queued_bytes.fetch_sub(message.counted, Ordering::Relaxed);
        }
        let publishes =
            messages.iter().map(|message| self.shared.publish(&message.channel, &message.payload));
        let commands: Vec<_> = publishes.chain(queries.iter().map(CountQuery::command)).collect();
        let mut replies = match connections.send(&commands).await {
            Ok(replies) => replies,
            Err(error) => {
                self.shared.stats.dropped.add(messages.len() as u64);
                for query in queries {
                    self.shared.answer(query, Err(error.clone()));
                }
                return Err(error);
            }
        };
        let counts = replies.split_off(messages.len());
        for (query, reply) in queries.into_iter().zip(counts) {
            self.shared.answer(query, reply.and_then(|reply| Counts::parse(&reply)));
        }
        let refusals: Vec<Error> = replies.into_iter().filter_map(Result::err).collect();
        if refusals.is_empty() && !messages.is_empty() {
            self.shared.warnings.clear(PUBLISHING);
        }
        for error in refusals {
            self.shared.stats.dropped.add(1);
            self.shared.warnings.warn(PUBLISHING, &error);
        }
        Ok(())
    }

    /// Tells all nodes something, which is an answer to all hellos so far.
    async fn say(&mut self, connections: &mut PubSubConnections, news: MemberNews) -> Result<()> {
        self.said = Instant::now();
        self.answer_at = None;
        let stream = Some(self.shared.stream_identity.to_string());
        let message = MemberMessage { uid: self.shared.uid.to_string(), news, stream };
        let Ok(json) = serde_json::to_vec(&message) else { return Ok(()) };
        let channel = self.shared.members_channel();
        let mut replies = connections.send(&[self.shared.publish(&channel, &json)]).await?;
        match replies.pop().and_then(Result::err) {
            None => self.shared.warnings.clear(HEARTBEAT),
            Some(error) if error.connection_survives() => {
                self.shared.warnings.warn(HEARTBEAT, &error);
            }
            Some(error) => return Err(error),
        }
        Ok(())
    }

    fn forget_silent(&self) {
        let mut members = self.shared.members();
        self.shared.release_deferred();
        if let Some(notice) = Notice::members_changed(None, members.refresh()) {
            self.shared.inbox.push(notice);
        }
    }
}

async fn next_job(
    put_back: &mut Option<ControlJob>,
    jobs: &mut mpsc::UnboundedReceiver<ControlJob>,
) -> Option<ControlJob> {
    match put_back.take() {
        Some(job) => Some(job),
        None => jobs.recv().await,
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
