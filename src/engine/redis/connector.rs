//! Finds the server that a key is served by, and connects to it.
//!
//! Each connection is looked for anew: a task whose connection broke, or whose server says that the
//! key is elsewhere, comes here again, and gets to where the key is then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::PushInfo;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::access::{Access, CredentialsSource};
use super::current_server::{CurrentServer, ServerOf};
use super::dial::{Dial, Network};
use super::race::race;
use super::{
    Backoff, Connection, Kind, RawConnection, Settings, Slots, Subscriber, TlsSettings, identity,
    sentinel,
};
use crate::engine::address::Address;
use crate::engine::error::{Error, Outage, Result};
use crate::engine::warnings::Warnings;

/// Those who connect anew do it by slots that were told not longer ago than this, if the slots have
/// just changed. While they stay the same, the time doubles up to [`LONGEST_FOR_SEVERAL`].
const FRESH: Duration = Duration::from_millis(100);
/// Those who have connections open go by slots that old, or until an error tells otherwise.
const RECENT: Duration = Duration::from_secs(5);
/// The longest time between two attempts to connect, to a single server and to one of several.
const LONGEST_FOR_ONE: Duration = Duration::from_secs(2);
const LONGEST_FOR_SEVERAL: Duration = Duration::from_millis(300);

/// Which server a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// The one server, or the master that the sentinels name when it is connected to.
    Master,
    /// A node of a cluster.
    Node {
        /// Where it is.
        address: Address,
        /// The key's slot is on its way there: each command follows an ASKING.
        asking: bool,
    },
}

impl Target {
    fn node(address: Address) -> Self {
        Target::Node { address, asking: false }
    }
}

/// Makes connections as the settings say.
pub(crate) struct Connector {
    settings: Settings,
    data: Access,
    sentinels: Option<Access>,
    warnings: Arc<Warnings>,
    /// Locked while slots are asked for, so that all who need them then get the same answer.
    slots: Mutex<Told>,
    /// The slots have to be asked for before they are used again.
    is_outdated: AtomicBool,
    current_server: Arc<CurrentServer>,
}

/// What is known of a cluster.
struct Told {
    slots: Option<Arc<Slots>>,
    /// The last answer, and when it came.
    answer: Option<(Result<()>, Instant)>,
    /// Nobody is asked again before this much time has passed, however many callers find that what is
    /// known is wrong: when a master dies, all who need it come at once, and what is left of the
    /// cluster has enough to do.
    pause: Duration,
}

impl Default for Told {
    fn default() -> Self {
        Self { slots: None, answer: None, pause: FRESH }
    }
}

impl Told {
    /// The last answer, unless it is older than that; `None` stands for as new as can be had.
    fn at_most(&self, age: Option<Duration>) -> Option<Result<Arc<Slots>>> {
        let (answer, at) = self.answer.as_ref()?;
        let age = age.unwrap_or_default().max(self.pause);
        match (answer, &self.slots) {
            (Ok(()), Some(slots)) if at.elapsed() < age => Some(Ok(slots.clone())),
            (Err(error), _) if at.elapsed() < self.pause => Some(Err(error.clone())),
            _ => None,
        }
    }

    /// Takes note of an answer.
    fn hear(&mut self, answer: Result<Slots>) -> Result<Arc<Slots>> {
        let is_new = answer.as_ref().is_ok_and(|slots| self.slots.as_deref() != Some(slots));
        self.pause = if is_new { FRESH } else { (self.pause * 2).min(LONGEST_FOR_SEVERAL) };
        let answer = answer.map(|slots| self.slots.insert(Arc::new(slots)).clone());
        self.answer = Some((answer.as_ref().map(drop).map_err(Error::clone), Instant::now()));
        answer
    }
}

impl Connector {
    /// Reads certificates and keys; nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Settings`] when a certificate or key cannot be used.
    pub(crate) fn new(
        settings: Settings,
        credentials: Option<CredentialsSource>,
        warnings: Arc<Warnings>,
    ) -> Result<Self> {
        let network = |tls: Option<&TlsSettings>| -> Result<Arc<dyn Dial>> {
            Ok(Arc::new(Network::new(settings.family, tls)?))
        };
        let data = network(settings.tls.as_ref())?;
        let sentinels = match &settings.sentinel {
            Some(sentinel) => network(sentinel.tls.as_ref())?,
            None => data.clone(),
        };
        Ok(Self::over(data, sentinels, settings, credentials, warnings))
    }

    /// Opens its sockets by these: to the servers that hold the data, and to the sentinels.
    pub(crate) fn over(
        data: Arc<dyn Dial>,
        sentinels: Arc<dyn Dial>,
        settings: Settings,
        credentials: Option<CredentialsSource>,
        warnings: Arc<Warnings>,
    ) -> Self {
        let data = Access::to_data(&settings, data, credentials, warnings.clone());
        let to_sentinels = |sentinel| {
            Access::to_sentinels(&settings, sentinel, sentinels.clone(), warnings.clone())
        };
        let sentinels = settings.sentinel.as_ref().map(to_sentinels);
        Self {
            settings,
            data,
            sentinels,
            warnings,
            slots: Mutex::default(),
            is_outdated: AtomicBool::new(false),
            current_server: CurrentServer::new(),
        }
    }

    /// The settings that connections are made with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The time between two attempts to connect. Where another server may take over, it is looked
    /// for more often than a server would be asked whether it is there again.
    pub(crate) fn backoff(&self) -> Backoff {
        let longest = match self.settings.kind {
            Kind::Standalone => LONGEST_FOR_ONE,
            Kind::Cluster | Kind::Sentinel => LONGEST_FOR_SEVERAL,
        };
        Backoff::new(self.settings.reconnect_delay, longest)
    }

    /// A connection for commands, in RESP2.
    pub(crate) async fn connect(self: &Arc<Self>, target: &Target) -> Result<Connection> {
        let (address, asking) = self.address(target).await?;
        let mut connection = self.data.open(&address, asking, None).await?;
        self.check_role(&mut connection, &address).await?;
        let server = self.server_of(&mut connection).await?;
        connection.leads_to(server);
        Ok(connection)
    }

    /// A connection for PUB/SUB and commands, in RESP3: `on_push` is called with what is pushed,
    /// and told of the end of the connection. It must not block.
    pub(crate) async fn connect_push(
        self: &Arc<Self>,
        target: &Target,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Connection> {
        let (address, asking) = self.address(target).await?;
        let mut connection = self.data.open(&address, asking, Some(Box::new(on_push))).await?;
        self.check_role(&mut connection, &address).await?;
        let server = self.server_of(&mut connection).await?;
        connection.leads_to(server);
        Ok(connection)
    }

    /// A connection for subscriptions alone, in RESP2; `on_push` as for
    /// [`Connector::connect_push`].
    pub(crate) async fn connect_subscriber(
        self: &Arc<Self>,
        target: &Target,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Subscriber> {
        Subscriber::new(self.connect_raw(target).await?, on_push).await
    }

    /// A connection whose replies are handed over as bytes, in RESP2.
    pub(crate) async fn connect_raw(self: &Arc<Self>, target: &Target) -> Result<RawConnection> {
        let (address, asking) = self.address(target).await?;
        let mut connection = self.data.open_raw(&address, asking).await?;
        self.check_role(&mut connection, &address).await?;
        let server = self.server_of(&mut connection).await?;
        connection.leads_to(server);
        Ok(connection)
    }

    /// Who serves a key, for a new connection.
    pub(crate) async fn target_now(self: &Arc<Self>, key: &str) -> Result<Target> {
        self.target(key, None).await
    }

    /// Who serves a key, as far as is known.
    pub(crate) async fn target_of(self: &Arc<Self>, key: &str) -> Result<Target> {
        self.target(key, Some(RECENT)).await
    }

    /// Any server that spreads PUB/SUB messages to the others.
    pub(crate) async fn any_target(self: &Arc<Self>) -> Result<Target> {
        if self.settings.kind != Kind::Cluster {
            return Ok(Target::Master);
        }
        let slots = self.slots(None).await?;
        let node = fastrand::choice(slots.nodes()).cloned();
        node.map(Target::node).ok_or_else(|| unserved("CLUSTER SLOTS names no node"))
    }

    /// All servers on which somebody may be subscribed.
    pub(crate) async fn all_targets(self: &Arc<Self>) -> Result<Vec<Target>> {
        if self.settings.kind != Kind::Cluster {
            return Ok(vec![Target::Master]);
        }
        let slots = self.slots(Some(RECENT)).await?;
        Ok(slots.nodes().iter().cloned().map(Target::node).collect())
    }

    /// Where an error says that the key is, in a cluster.
    pub(crate) fn redirection(&self, error: &Error) -> Option<Target> {
        let Error::Moved { to: Some(address), asking, .. } = error else { return None };
        (self.settings.kind == Kind::Cluster)
            .then(|| Target::Node { address: self.reachable(address.clone()), asking: *asking })
    }

    /// What is known of the slots is wrong: they are asked for again.
    pub(crate) fn forget(&self) {
        self.is_outdated.store(true, Ordering::Relaxed);
    }

    async fn target(self: &Arc<Self>, key: &str, age: Option<Duration>) -> Result<Target> {
        if self.settings.kind != Kind::Cluster {
            return Ok(Target::Master);
        }
        let slots = self.slots(age).await?;
        let master = slots.master_of(key).cloned();
        master.map(Target::node).ok_or_else(|| unserved("no node serves the slot"))
    }

    /// The slots as they were told not longer ago than `age`; `None` stands for as new as can be had.
    async fn slots(self: &Arc<Self>, age: Option<Duration>) -> Result<Arc<Slots>> {
        let mut told = self.slots.lock().await;
        let age = age.filter(|_| !self.is_outdated.load(Ordering::Relaxed));
        if let Some(answer) = told.at_most(age) {
            return answer;
        }
        self.is_outdated.store(false, Ordering::Relaxed);
        let mut nodes = told.slots.as_ref().map_or_else(Vec::new, |slots| slots.nodes().to_vec());
        fastrand::shuffle(&mut nodes);
        for node in &self.settings.nodes {
            if !nodes.contains(&node.address()) {
                nodes.push(node.address());
            }
        }
        let answer = race(nodes, |address| {
            let connector = self.clone();
            async move {
                let answer = connector.ask_for_slots(&address).await;
                if answer.as_ref().is_ok_and(Slots::is_whole) {
                    answer.map_err(Err)
                } else {
                    Err(answer)
                }
            }
        });
        told.hear(answer.await.or_else(widest))
    }

    async fn ask_for_slots(&self, address: &Address) -> Result<Slots> {
        let mut connection = self.data.open(address, false, None).await?;
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let reply = connection.send("CLUSTER", "SLOTS", &command).await?;
        Slots::parse(&reply, address, |address| self.reachable(address))
    }

    /// Where a server that others know by this address is to be found from here.
    fn reachable(&self, address: Address) -> Address {
        let mapped = self.settings.nat_map.get(&address.to_string());
        mapped.map_or(address, |node| node.address())
    }

    async fn address(self: &Arc<Self>, target: &Target) -> Result<(Address, bool)> {
        match (target, &self.settings.sentinel) {
            (Target::Node { address, asking }, _) => Ok((address.clone(), *asking)),
            (Target::Master, None) => Ok((self.settings.address(), false)),
            (Target::Master, Some(sentinel)) => {
                let mut sentinels: Vec<Address> =
                    sentinel.nodes.iter().map(|node| node.address()).collect();
                fastrand::shuffle(&mut sentinels);
                let master = race(sentinels, |address| {
                    let connector = self.clone();
                    async move { connector.ask_for_master(&address).await }
                });
                Ok((self.reachable(master.await.map_err(most_telling)?), false))
            }
        }
    }

    async fn ask_for_master(&self, address: &Address) -> Result<Address> {
        let (Some(access), Some(settings)) = (&self.sentinels, &self.settings.sentinel) else {
            return Err(Error::Closed);
        };
        let mut connection = access.open(address, false, None).await?;
        sentinel::master(&mut connection, &settings.name).await
    }

    /// Learns which server a connection leads to. Nothing more depends on the answer if it is refused.
    async fn server_of(&self, connection: &mut impl super::SendCommand) -> Result<ServerOf> {
        if self.settings.kind == Kind::Cluster {
            return Ok(ServerOf::default());
        }
        match identity::run_id(connection).await {
            Ok(run_id) => Ok(self.current_server.met(&run_id)),
            Err(error @ (Error::Refused { .. } | Error::Protocol { .. })) => {
                tracing::debug!("which server it is is not known: {error}");
                Ok(ServerOf::default())
            }
            Err(error) => Err(error),
        }
    }

    /// A sentinel may not know yet that its master is one no more.
    async fn check_role(
        &self,
        connection: &mut impl super::SendCommand,
        address: &Address,
    ) -> Result<()> {
        match self.settings.kind {
            Kind::Sentinel => sentinel::check_role(connection, address, &self.warnings).await,
            Kind::Standalone | Kind::Cluster => Ok(()),
        }
    }
}

/// Of answers that are not whole, the one with the most slots. A node that is not in the cluster yet,
/// or was taken out of it, knows no slots or only its own.
fn widest(answers: Vec<Result<Slots>>) -> Result<Slots> {
    let (mut widest, mut failures) = (None::<Slots>, Vec::new());
    for answer in answers {
        match answer {
            Ok(slots) if slots.count() > widest.as_ref().map_or(0, Slots::count) => {
                widest = Some(slots);
            }
            Ok(_) => {}
            Err(error) => failures.push(error),
        }
    }
    match widest {
        Some(slots) => Ok(slots),
        None if failures.is_empty() => {
            Err(unserved("no node that was asked knows who serves slots"))
        }
        None => Err(most_telling(failures)),
    }
}

/// What has to be changed is more telling than who could not be reached.
fn most_telling(mut failures: Vec<Error>) -> Error {
    match failures.iter().position(Error::is_refusal) {
        Some(refusal) => failures.swap_remove(refusal),
        None => failures.pop().unwrap_or_else(|| unserved("no server is known")),
    }
}

fn unserved(reason: &str) -> Error {
    Error::Unavailable { command: "CLUSTER", reason: reason.to_owned(), outage: Outage::Passing }
}

/// A key's way to its server: each connection goes to where the key is then.
pub(crate) struct KeyConnector {
    connector: Arc<Connector>,
    key: String,
    /// Where the last error said that the key is.
    redirection: Option<Target>,
}

impl KeyConnector {
    /// A key's way.
    pub(crate) fn new(connector: Arc<Connector>, key: String) -> Self {
        Self { connector, key, redirection: None }
    }

    /// A connection whose replies are handed over as bytes.
    pub(crate) async fn connect_raw(&mut self) -> Result<RawConnection> {
        let target = self.target().await?;
        self.connector.connect_raw(&target).await
    }

    /// Takes note of where the key is, and returns true, when an error tells: the next connection
    /// goes there.
    pub(crate) fn heed(&mut self, error: &Error) -> bool {
        self.redirection = self.connector.redirection(error);
        self.redirection.is_some()
    }

    async fn target(&mut self) -> Result<Target> {
        match self.redirection.take() {
            Some(target) => Ok(target),
            None => self.connector.target_now(&self.key).await,
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod told_tests {
    use redis::Value;
    use tokio::time::advance;

    use super::*;

    /// CLUSTER SLOTS's reply of a cluster of one.
    fn slots(last: i64) -> Slots {
        let server = vec![Value::BulkString(b"h".to_vec()), Value::Int(1)];
        let range = vec![Value::Int(0), Value::Int(last), Value::Array(server)];
        let ranges = if last < 0 { Vec::new() } else { vec![Value::Array(range)] };
        let writer = Address::Tcp("h".to_owned(), 1);
        Slots::parse(&Value::Array(ranges), &writer, |address| address).unwrap()
    }

    fn outage() -> Error {
        Error::Connection { address: "h:1".to_owned(), reason: "refused".to_owned() }
    }

    #[test]
    fn who_knows_most_slots_is_believed() {
        let answers = || vec![Ok(slots(-1)), Ok(slots(16_000)), Err(outage()), Ok(slots(99))];
        assert_eq!(widest(answers()).unwrap(), slots(16_000));
        let error = widest(vec![Ok(slots(-1)), Ok(slots(-1))]).unwrap_err();
        assert!(error.to_string().contains("no node that was asked"), "{error}");
        let refused = Error::from_reply("CLUSTER", "SLOTS", "h:1", "NOPERM no permissions");
        let error = widest(vec![Err(outage()), Err(refused), Ok(slots(-1)), Err(outage())]);
        assert!(error.unwrap_err().is_refusal());
        assert!(slots(16_383).is_whole() && !slots(16_382).is_whole());
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_need_new_slots_servers_are_asked_at_intervals() {
        let mut told = Told::default();
        assert!(told.at_most(None).is_none(), "nothing is known yet");
        told.hear(Ok(slots(16_383))).unwrap();
        // What is asked for anew by many, all the time, while a master is down.
        let mut asked = Vec::new();
        for ms in 0..3_000 {
            if told.at_most(None).is_none() {
                asked.push(ms);
                told.hear(Ok(slots(16_383))).unwrap();
            }
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(asked[..3], [100, 300, 600]);
        assert_eq!(asked.len(), 10);
        // A change counts at once, and may not be the last one.
        told.hear(Ok(slots(16_382))).unwrap();
        advance(FRESH).await;
        assert!(told.at_most(None).is_none());
        assert!(told.at_most(Some(RECENT)).is_some());
        told.hear(Err(outage())).unwrap_err();
        assert!(told.at_most(None).unwrap().is_err());
        advance(RECENT - FRESH).await;
        assert!(told.at_most(Some(RECENT)).is_none(), "failures do not last that long");
    }
}
