//! Reads one stream on a connection of its own. Each read, including the first one, names the
//! position that it starts from.

mod hand_on;
mod missing;
mod source;
#[cfg(test)]
mod tests;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    ConnectedTo, PageEntry, PageSize, Progress, ServerName, Stream, last_before, page,
    read_entries, server_time, tail, take_part,
};
use crate::engine::error::Result;
use crate::engine::inbox::Inbox;
use crate::engine::namespaces::Namespaces;
use crate::engine::options::ReadFrom;
use crate::engine::presence::Pace;
use crate::engine::redis::{
    ANSWER_LIMIT, Backoff, Connector, Kind, Parts, RawConnection, ServerOf,
};
use crate::engine::stats::Stats;
use crate::engine::warnings::Warnings;
use crate::engine::wire::{EntryId, ORIGIN, Origin};
use source::{CHECK_INTERVAL, Found, GRACE_OF_REPLICA, Link, Replica, Source};
use waiting::{Answered, Waiting};

/// How long after the end of its BLOCK an XREAD may reply before the connection counts as dead.
const GRACE: Duration = Duration::from_secs(5);
/// A reader that is behind asks for up to this many entries at a time, even if the option is lower:
/// XADD may trim those that it leaves.
pub(crate) const LARGEST_READ: u32 = 1_000;
/// After a reply of this many bytes or more, the reader does not ask for more entries than the
/// option allows.
const LARGEST_REPLY: usize = 1 << 20;
/// A reply that is longer than this is handed on in parts while it arrives. The entries of one page
/// may be large, and nobody knows how large before they come.
const PARTS: Parts = Parts { from: 4 << 20, take: take_part };
/// The longest BLOCK that the reader sends, even if the option is longer or unlimited. So it
/// notices a dead server.
const LONGEST_BLOCK: Duration = Duration::from_secs(30);

const TASK: &str = "reader";
/// Cause of warnings about servers that refuse or ignore BLOCK.
const WAITING: &str = "reader, BLOCK";
/// Cause of warnings about TIME.
const STARTING: &str = "reader, TIME";

/// The position that a read starts from.
#[derive(Clone, Copy)]
struct ReadPosition {
    position: EntryId,
    /// `Cursor::moves` when the position was taken.
    moves: u64,
    /// When the reader asked for the entries behind it.
    sent: Instant,
}

/// The last part of a page, which is all of it unless it is long, and what was handed on before.
struct Received {
    reply: Vec<u8>,
    earlier_entries: usize,
    earlier_bytes: usize,
    /// Some of the earlier entries have no sequence.
    is_unsure: bool,
}

/// Reads a stream and hands its entries on.
pub(crate) struct Reader {
    /// Names this node.
    pub(crate) uid: Arc<str>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) connector: Arc<Connector>,
    /// Takes the events.
    pub(crate) inbox: Arc<Inbox>,
    /// They decide which entries are wanted.
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) warnings: Arc<Warnings>,
    /// Whether it reads from replicas.
    pub(crate) read_from: ReadFrom,
    /// How many entries one read asks for, unless the reader is behind.
    pub(crate) count: u32,
    /// The most entries that one read may ask for on this link.
    pub(crate) pages: PageSize,
    /// How long one read waits; zero means no limit.
    pub(crate) block: Duration,
    /// When this node was started. It reads everything written since then, however long it takes to
    /// connect.
    pub(crate) started: Instant,
    /// How long a pause in reading may be. `None` if requests travel over PUB/SUB.
    pub(crate) pace: Option<Pace>,
}

impl Reader {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let mut backoff = self.connector.backoff();
        // Whether the first position is known. The reader never asks for it again: it would leave
        // out the entries that were written meanwhile.
        let mut has_started = false;
        // Whether the last connection broke at its first read with BLOCK. A server may reply to a
        // read without BLOCK and close the connection at one with it. Then the first reply proves
        // nothing.
        let mut is_suspect = false;
        let mut source = Source::new(&self);
        let mut link = None;
        loop {
            let read = self
                .read(&mut link, &mut source, &mut backoff, &mut has_started, &mut is_suspect)
                .await;
            let before = link.take();
            let error = match read {
                Ok(Some((mut connection, replica))) => {
                    let server = match before {
                        Some(before) if replica.is_some() => before.server,
                        _ => connection.take_server(),
                    };
                    link = Some(Link { connection, server, replica });
                    is_suspect = false;
                    continue;
                }
                Ok(None) => None,
                Err(error) => Some(error),
            };
            self.stream.reader_health.lost();
            self.stream.cursor().connected_to = None;
            let Some(error) = error else {
                is_suspect = false;
                continue;
            };
            if source.leave(before, &error) {
                is_suspect = false;
                continue;
            }
            if !source.heed(&error) {
                self.warnings.warn(TASK, &error);
            }
            if error.is_refusal() {
                self.refused();
            }
            backoff.wait().await;
        }
    }

    /// Reads, on a new connection to the master unless there is one, until something fails, or until
    /// the reader must connect again. Returns the connection on which it must go on, if there is one.
    async fn read(
        &self,
        link: &mut Option<Link>,
        source: &mut Source,
        backoff: &mut Backoff,
        has_started: &mut bool,
        is_suspect: &mut bool,
    ) -> Result<Option<Found>> {
        let since = Instant::now();
        let Link { connection, server, replica } = match link {
            Some(link) => link,
            None => link.insert(source.connect().await?),
        };
        if !*has_started {
            self.find_start(connection).await?;
            *has_started = true;
        }
        {
            let mut cursor = self.stream.cursor();
            cursor.listening.interrupted();
            cursor.read_from = server.run_id().cloned();
            let shares = replica.as_ref().map(|replica| replica.history.as_str().into());
            cursor.connected_to =
                Some(ConnectedTo { address: connection.address().into(), shares });
        }
        let is_on_replica = replica.is_some();
        let (block, grace) = if is_on_replica {
            (self.block().min(CHECK_INTERVAL), GRACE_OF_REPLICA)
        } else {
            (self.block(), GRACE)
        };
        let of_replica = replica.as_ref().map(|replica| replica.address().clone());
        let search = source.search(of_replica, self.master_at(connection, server), since);
        tokio::pin!(search);
        let mut count = self.count.min(self.most());
        let mut ahead = None;
        let mut waiting = Waiting::new(block);
        loop {
            self.inbox.has_space().await;
            let asked = match ahead.take() {
                Some(asked) => asked,
                None => {
                    if let Some(replica) = replica.as_mut().filter(|it| it.is_check_due()) {
                        replica.check(connection, &self.stream).await?;
                    }
                    self.send_read(connection, self.place(), count, waiting.block()).await?
                }
            };
            let reply = tokio::select! {
                received = self.receive(connection, asked, block + grace) => received,
                // The read under way might not end by itself, so the reader starts over on a new
                // connection.
                () = self.stream.restart_reader.notified() => return Ok(None),
                () = server.replaced() => return Ok(None),
                found = &mut search => return Ok(Some(found)),
            };
            let received = match reply {
                Err(error) if waiting.is_refused(&error) => {
                    self.warnings.warn(WAITING, &error);
                    continue;
                }
                reply => reply.inspect_err(|_| self.pages.broke(count as usize))?,
            };
            self.pages.worked();
            let entries = page(&received.reply)?;
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
            let (all, bytes) = received.total(entries.len());
            if all > 0 {
                self.stream.has_read(all, bytes);
            }
            let is_behind = all as u64 >= u64::from(count);
            let is_small = bytes < LARGEST_REPLY;
            count = if is_behind && is_small {
                count.saturating_mul(2).min(LARGEST_READ)
            } else {
                self.count
            };
            count = count.max(self.count).min(self.most());
            // On a replica, no check of the writer tells whether entries are missing before a page
            // that is not full.
            let mut was_outrun = false;
            if let Some(last) = entries.last().filter(|_| is_behind || is_on_replica) {
                let is_unsure = received.is_unsure || !self.all_follow(&entries);
                was_outrun = is_unsure && self.was_outrun(connection, asked.position).await?;
                let is_check_due = replica.as_ref().is_some_and(Replica::is_check_due);
                // Redis gathers the next page while the reader hands this one on. If the inbox has
                // little space, the reader does not ask ahead: while that page waited for space,
                // Redis might trim the entry at our position, which would look like a loss.
                let may_ask = is_behind && !is_check_due;
                if may_ask && self.inbox.has_room_for(bytes.saturating_mul(4)) {
                    let behind = ReadPosition { position: last.id, sent: Instant::now(), ..asked };
                    ahead = Some(self.send_read(connection, behind, count, waiting.block()).await?);
                }
            }
            self.hand_on(&entries, asked.moves, was_outrun);
            if let Some(pace) = self.pace.filter(|_| !is_behind) {
                let mut cursor = self.stream.cursor();
                if cursor.moves == asked.moves {
                    cursor.listening.heard_all(asked.sent, pace);
                }
            }
        }
    }

    /// The master at the end of this connection. `None` if it is not certain which server that is.
    fn master_at(&self, connection: &RawConnection, server: &ServerOf) -> Option<ServerName> {
        let run_id = server.run_id().cloned();
        let is_known = run_id.is_some() || self.connector.settings().kind == Kind::Cluster;
        is_known.then(|| ServerName { address: connection.address().to_owned(), run_id })
    }

    /// The position for the next read. Also reports it to those who watch `Stream::progress`.
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

    /// Sets the first position to the stream's tail as it was when this node was started, since
    /// clients may have connected since then. If Redis refuses TIME, or if its clock went back
    /// behind the tail, takes the present tail instead. Does not read with `$`: between two reads
    /// with `$`, entries vanish.
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
        // While Redis refused to let us read, the writer's checks saw what comes before the start.
        cursor.watch.start_over();
        cursor.lag.start_over();
        drop(cursor);
        tracing::debug!("reading {key} from {start}");
        Ok(())
    }

    /// Asks for the page behind `place`, and returns `place`. If there are no entries, Redis waits
    /// for `block`.
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

    /// Receives the page that was asked for. Hands the parts of a long one on as they arrive, except
    /// for the last one. Before each further part it waits for space, and Redis keeps the rest.
    async fn receive(
        &self,
        connection: &mut RawConnection,
        asked: ReadPosition,
        limit: Duration,
    ) -> Result<Received> {
        let key = &self.stream.key;
        let (mut reply, mut more) = connection.first_part(limit, "XREAD", key, PARTS).await?;
        let (mut earlier_entries, mut earlier_bytes, mut is_unsure) = (0, 0, false);
        while more {
            let entries = page(&reply)?;
            earlier_entries += entries.len();
            earlier_bytes += reply.len();
            is_unsure |= !self.all_follow(&entries);
            self.hand_on(&entries, asked.moves, false);
            // The memory is free before the next part comes.
            drop(reply);
            self.inbox.has_space().await;
            (reply, more) = connection.next_part("XREAD", PARTS).await?;
        }
        Ok(Received { reply, earlier_entries, earlier_bytes, is_unsure })
    }

    /// The most entries that one read may ask for.
    fn most(&self) -> u32 {
        u32::try_from(self.stream.page_of(&self.pages)).unwrap_or(u32::MAX)
    }

    fn block(&self) -> Duration {
        let longest = self.pace.map_or(LONGEST_BLOCK, |pace| pace.check_interval());
        if self.block.is_zero() { longest } else { self.block.min(longest) }
    }

    /// Whether each of these entries follows an entry of its writer that we have met, so that its
    /// sequence shows what is missing before it. Called before the page is handed on.
    fn all_follow(&self, page: &[PageEntry<'_>]) -> bool {
        let cursor = self.stream.cursor();
        let follows = |(name, value): (&[u8], &[u8])| {
            let origin = Origin::parse(value).filter(|_| name == ORIGIN.as_bytes());
            origin.is_some_and(|origin| {
                origin.unconfirmed == 0 && cursor.sequences.knows(origin.writer)
            })
        };
        page.iter().all(|entry| entry.fields().any(follows))
    }

    /// Whether Redis may have trimmed entries between our position and a full page whose entries do
    /// not all show what is missing. True if the last entry that we had read is gone.
    async fn was_outrun(&self, connection: &mut RawConnection, position: EntryId) -> Result<bool> {
        if position == EntryId::ZERO {
            return Ok(false);
        }
        let key = &self.stream.key;
        Ok(read_entries(connection, key, position, Some(position), 1).await?.is_empty())
    }

    /// Notes that Redis refuses to let us read. From now on, own entries are delivered when Redis
    /// acknowledges them.
    fn refused(&self) {
        let mut cursor = self.stream.cursor();
        self.stream.progress.send_replace(Progress::Refused);
        cursor.complete_unread();
    }
}

impl Received {
    /// How many entries came in all, and their bytes. The last part has `entries`.
    fn total(&self, entries: usize) -> (usize, usize) {
        (self.earlier_entries + entries, self.earlier_bytes + self.reply.len())
    }
}
