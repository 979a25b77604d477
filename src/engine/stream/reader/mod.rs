//! Reads one stream, on a connection of its own, from an explicit position from the first read on.

mod hand_on;
#[cfg(test)]
mod tests;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    PageEntry, PageSize, Progress, Stream, last_before, page, read_entries, server_time, tail,
};
use crate::engine::error::Result;
use crate::engine::inbox::Inbox;
use crate::engine::namespaces::Namespaces;
use crate::engine::presence::Pace;
use crate::engine::redis::{ANSWER_LIMIT, Backoff, Connector, KeyConnector, RawConnection};
use crate::engine::stats::Stats;
use crate::engine::warnings::Warnings;
use crate::engine::wire::EntryId;
use waiting::{Answered, Waiting};

/// How much later than asked an XREAD may answer before the connection counts as dead.
const GRACE: Duration = Duration::from_secs(5);
/// A reader that is behind asks for up to this many entries at a time, where the option asks for
/// less: XADD trims what it leaves.
pub(crate) const LARGEST_READ: u32 = 1_000;
/// It does not ask for more than the option says when replies are larger than this already.
const LARGEST_REPLY: usize = 1 << 20;
/// Longer reads, and those without limit, are asked for again after this: a dead server is noticed.
const LONGEST_BLOCK: Duration = Duration::from_secs(30);

const TASK: &str = "reader";
/// Names servers that do not wait in warnings.
const WAITING: &str = "reader, BLOCK";
/// Names the question for the server's clock in warnings.
const STARTING: &str = "reader, TIME";

/// A place in the stream.
#[derive(Clone, Copy)]
struct ReadPosition {
    position: EntryId,
    /// How often the position had been changed under the reader.
    moves: u64,
    /// When what stands behind it was asked for.
    sent: Instant,
}

/// Reads a stream and hands its entries on.
pub(crate) struct Reader {
    /// This node.
    pub(crate) uid: Arc<str>,
    /// The stream.
    pub(crate) stream: Arc<Stream>,
    /// Makes the connection.
    pub(crate) connector: Arc<Connector>,
    /// Where entries go.
    pub(crate) inbox: Arc<Inbox>,
    /// Which entries are wanted.
    pub(crate) namespaces: Arc<Namespaces>,
    /// Counters.
    pub(crate) stats: Arc<Stats>,
    /// For refusals and outages.
    pub(crate) warnings: Arc<Warnings>,
    /// Entries per read.
    pub(crate) count: u32,
    /// How many entries come through at a time.
    pub(crate) pages: PageSize,
    /// How long one read waits; zero is without limit.
    pub(crate) block: Duration,
    /// When this node was started: what is written from then on is read, however long it takes to
    /// connect.
    pub(crate) started: Instant,
    /// Where requests travel in the stream: how long a pause in reading may be.
    pub(crate) pace: Option<Pace>,
}

impl Reader {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let mut backoff = self.connector.backoff();
        // The first position is known. It is never asked for again: what came meanwhile would be left
        // out.
        let mut has_started = false;
        // The last connection ended with the first read that was to wait: a server may let us read, and
        // hang up on that. Then a first read proves nothing.
        let mut is_suspect = false;
        let mut route = KeyConnector::new(self.connector.clone(), self.stream.key.clone());
        loop {
            let read = self.read(&mut route, &mut backoff, &mut has_started, &mut is_suspect).await;
            self.stream.reader_health.lost();
            let Err(error) = read else {
                is_suspect = false;
                continue;
            };
            if !route.heed(&error) {
                self.warnings.warn(TASK, &error);
            }
            if error.is_refusal() {
                self.refused();
            }
            backoff.wait().await;
        }
    }

    /// Connects and reads until something fails, or the position was moved under the reader.
    async fn read(
        &self,
        route: &mut KeyConnector,
        backoff: &mut Backoff,
        has_started: &mut bool,
        is_suspect: &mut bool,
    ) -> Result<()> {
        let mut connection = route.connect_raw().await?;
        if !*has_started {
            self.find_start(&mut connection).await?;
            *has_started = true;
        }
        let mut server = connection.take_server();
        {
            let mut cursor = self.stream.cursor();
            cursor.listening.interrupted();
            cursor.read_from = server.run_id().cloned();
        }
        let mut count = self.count.min(self.most());
        let mut ahead = None;
        let mut waiting = Waiting::new(self.block());
        loop {
            self.inbox.has_space().await;
            let asked = match ahead.take() {
                Some(asked) => asked,
                None => {
                    self.send_read(&mut connection, self.place(), count, waiting.block()).await?
                }
            };
            let reply = tokio::select! {
                reply = self.read_reply(&mut connection) => reply,
                // The read that is under way would not end: a new connection starts over.
                () = self.stream.restart_reader.notified() => return Ok(()),
                () = server.replaced() => return Ok(()),
            };
            let reply = match reply {
                Err(error) if waiting.is_refused(&error) => {
                    self.warnings.warn(WAITING, &error);
                    continue;
                }
                reply => reply.inspect_err(|_| self.pages.broke(count as usize))?,
            };
            self.pages.worked();
            let entries = page(&reply)?;
            let answered = waiting.answered(entries.is_empty(), asked.sent.elapsed());
            let is_first = answered == Answered::NotAsked;
            if is_first {
                self.stream.reader_health.connected(&self.stats, &self.inbox);
            }
            if !is_first || !*is_suspect {
                backoff.reset();
                self.warnings.clear(TASK);
            }
            *is_suspect = is_first;
            if let Err(error) = waiting.check() {
                self.warnings.warn(WAITING, &error);
            }
            match answered {
                Answered::Pause(pause) => sleep(pause).await,
                Answered::Waited => self.warnings.clear(WAITING),
                Answered::NotAsked | Answered::Entries => {}
            }
            let is_behind = entries.len() as u64 >= u64::from(count);
            let is_small = reply.len() < LARGEST_REPLY;
            count = if is_behind && is_small {
                count.saturating_mul(2).min(LARGEST_READ)
            } else {
                self.count
            };
            count = count.max(self.count).min(self.most());
            if let Some(last) = entries.last().filter(|_| is_behind) {
                if self.was_outrun(&mut connection, asked.position, &entries).await? {
                    self.stream.cursor().trimmed = true;
                }
                // Redis gathers the next page while this one is handed on. One that had to wait for
                // space here would look as if it had been trimmed past us.
                if self.inbox.has_room_for(reply.len().saturating_mul(4)) {
                    let behind = ReadPosition { position: last.id, sent: Instant::now(), ..asked };
                    ahead = Some(
                        self.send_read(&mut connection, behind, count, waiting.block()).await?,
                    );
                }
            }
            self.hand_on(&entries, asked.moves);
            if let Some(pace) = self.pace.filter(|_| !is_behind) {
                let mut cursor = self.stream.cursor();
                if cursor.moves == asked.moves {
                    cursor.listening.heard_all(asked.sent, pace);
                }
            }
        }
    }

    /// Where reading goes on.
    fn place(&self) -> ReadPosition {
        let place = {
            let cursor = self.stream.cursor();
            ReadPosition { position: cursor.position, moves: cursor.moves, sent: Instant::now() }
        };
        self.stream.progress.send_if_modified(|progress| {
            let now = Progress::At(place.position);
            std::mem::replace(progress, now) != now
        });
        place
    }

    /// The first position is where the stream's tail was when this node was started: clients may
    /// have come since. It is the tail as it is now where the server's clock cannot be asked for, or
    /// went back behind the tail. It is not read with `$`: between two reads with `$`, entries vanish.
    async fn find_start(&self, connection: &mut RawConnection) -> Result<()> {
        let key = &self.stream.key;
        let tail = tail(connection, key).await?.unwrap_or(EntryId::ZERO);
        let start = match server_time(connection).await {
            Ok(now) => {
                let then = now.saturating_sub(self.started.elapsed().as_millis() as u64);
                if (then..=now).contains(&tail.ms) {
                    last_before(connection, key, then).await?.unwrap_or(EntryId::ZERO)
                } else {
                    tail
                }
            }
            Err(error) if error.is_forbidden() => {
                self.warnings.warn(STARTING, &error);
                tail
            }
            Err(error) => return Err(error),
        };
        let mut cursor = self.stream.cursor();
        cursor.position = start;
        cursor.read_since = start;
        cursor.history.restart(start);
        drop(cursor);
        tracing::debug!("reading {key} from {start}");
        Ok(())
    }

    /// Asks for the page behind a place, which is given back. Where there is none, Redis waits for so
    /// long.
    async fn send_read(
        &self,
        connection: &mut RawConnection,
        place: ReadPosition,
        count: u32,
        block: Option<Duration>,
    ) -> Result<ReadPosition> {
        let mut command = redis::cmd("XREAD");
        if let Some(block) = block {
            command.arg("BLOCK").arg(block.as_millis() as u64);
        }
        command
            .arg("COUNT")
            .arg(count)
            .arg("STREAMS")
            .arg(&self.stream.key)
            .arg(place.position.to_string());
        connection.send_only_within(ANSWER_LIMIT, "XREAD", &command).await?;
        Ok(place)
    }

    /// The page that was asked for.
    async fn read_reply(&self, connection: &mut RawConnection) -> Result<Vec<u8>> {
        connection.reply_within(self.block() + GRACE, "XREAD", &self.stream.key).await
    }

    /// How many entries one read may ask for.
    fn most(&self) -> u32 {
        u32::try_from(self.pages.now()).unwrap_or(u32::MAX)
    }

    fn block(&self) -> Duration {
        let longest = self.pace.map_or(LONGEST_BLOCK, |pace| pace.check_interval());
        if self.block.is_zero() { longest } else { self.block.min(longest) }
    }

    /// Whether entries may have been trimmed between our position and a full page: when the last
    /// entry that we had read has gone, and the page's own entries cannot show what is missing.
    async fn was_outrun(
        &self,
        connection: &mut RawConnection,
        position: EntryId,
        page: &[PageEntry<'_>],
    ) -> Result<bool> {
        let tells = |entry: &PageEntry<'_>| entry.fields().any(|(name, _)| name == b"seq");
        if position == EntryId::ZERO || page.iter().all(tells) {
            return Ok(false);
        }
        let key = &self.stream.key;
        Ok(read_entries(connection, key, position, Some(position), 1).await?.is_empty())
    }

    /// Redis does not let us read: what is written is delivered at the reply from now on.
    fn refused(&self) {
        let mut cursor = self.stream.cursor();
        self.stream.progress.send_replace(Progress::Refused);
        cursor.complete_unread();
    }
}
