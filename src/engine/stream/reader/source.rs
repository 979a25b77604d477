//! Which server the reader reads from: the master, or, with `readFrom: "replica"` or `"nearest"`,
//! one of its replicas.
//!
//! The reader starts on the master. It goes on at a replica once that has everything that the master
//! had when the reader came to the master. Whatever happens then, to the replica, to the master or
//! to the stream, it goes back to the master. So what is out of the ordinary happens on the master
//! only, and losses and failovers are noticed in the same way whether there are replicas or not.

mod nearness;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Reader;
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};
use crate::engine::options::ReadFrom;
use crate::engine::redis::{
    Connector, KeyConnector, RawConnection, Replication, ServerOf, replication,
};
use crate::engine::stream::{MasterSeen, ServerName, Stream};
use crate::engine::warnings::Warnings;
use nearness::LooksAgain;

/// How often the reader asks the replica how it is. Also the longest BLOCK on a replica.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a replica may take to answer, beyond BLOCK.
pub(super) const GRACE_OF_REPLICA: Duration = Duration::from_secs(2);
/// A replica that is this far behind the master is left: own packets wait for it, and requests are
/// not deferred for longer.
const MOST_LAG: Duration = Duration::from_secs(1);
/// The same if the master has trimmed what the reader reads next. Only the replica has it.
const MOST_LAG_IF_TRIMMED: Duration = Duration::from_secs(5);
/// The time between two questions to a replica that has to catch up before the reader joins it.
const CATCHES_UP: Duration = Duration::from_millis(50);
/// The first time for which a replica that was left is not read from. It doubles, up to
/// [`LONGEST_AVOIDED`], unless the reader had read from the replica for [`PROVEN`].
const FIRST_AVOIDED: Duration = Duration::from_secs(5);
const LONGEST_AVOIDED: Duration = Duration::from_secs(300);
const PROVEN: Duration = Duration::from_secs(60);
/// The longest time for which a replica is not asked again that was not fit to join: it may have
/// been started a short time ago, and nobody has read from it yet.
const LONGEST_UNFIT: Duration = LONGEST_BETWEEN_LOOKS;
/// The most replicas to remember as left.
const MOST_LEFT: usize = 64;
/// The longest time, by chance, before the first look for a replica: when one dies, all its readers
/// look for another.
const SPREAD: Duration = Duration::from_millis(500);
/// The time between two looks for a replica. It doubles, up to [`LONGEST_BETWEEN_LOOKS`].
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_secs(30);
/// If the reader finds no replica for this long, it warns: somebody has asked for replicas.
const WARN_AFTER: Duration = Duration::from_secs(30);

/// Why no replica is looked for: the writer could not say whose replicas it has seen.
const UNKNOWN_MASTER: &str = "the server does not tell which one it is (INFO), or each connection \
                              leads to another server";

/// Cause of warnings about replicas that cannot be read from.
const FINDING: &str = "reader, replicas";

/// The reader's connection.
pub(super) struct Link {
    pub(super) connection: RawConnection,
    /// The master of the data: the server itself, or that of the replica.
    pub(super) server: ServerOf,
    /// Set if the connection leads to a replica.
    pub(super) replica: Option<Replica>,
}

/// A connection on which the reader goes on: to a replica, or, with `None`, to the master.
pub(super) type Found = (RawConnection, Option<Replica>);

/// A replica that the reader reads from.
#[derive(Debug)]
pub(super) struct Replica {
    address: Address,
    /// The history of writes of its master, by which it was found.
    pub(super) history: String,
    since: Instant,
    checked: Instant,
    /// How far the master had come at some moment, if the replica has not got there yet.
    behind: Option<(u64, Instant)>,
}

/// A replica that the reader has left, or could not connect to.
#[derive(Debug)]
struct Left {
    address: Address,
    /// For how long it is avoided, and until when.
    pause: Duration,
    until: Instant,
}

/// Connects the reader, and finds replicas for it.
pub(super) struct Source {
    route: KeyConnector,
    connector: Arc<Connector>,
    stream: Arc<Stream>,
    warnings: Arc<Warnings>,
    read_from: ReadFrom,
    /// The replica that was left last comes last.
    left: VecDeque<Left>,
    /// With `readFrom: "nearest"`: when the reader measures again.
    again: LooksAgain,
}

impl Source {
    pub(super) fn new(reader: &Reader) -> Self {
        let (connector, stream) = (reader.connector.clone(), reader.stream.clone());
        Self {
            route: KeyConnector::new(connector.clone(), stream.key.clone()),
            connector,
            stream,
            warnings: reader.warnings.clone(),
            read_from: reader.read_from,
            left: VecDeque::new(),
            again: LooksAgain::default(),
        }
    }

    /// Connects to the master.
    pub(super) async fn connect(&mut self) -> Result<Link> {
        // Whatever ended the last connection may have changed which server is near.
        self.again = LooksAgain::default();
        let mut connection = self.route.connect_raw().await?;
        let server = connection.take_server();
        Ok(Link { connection, server, replica: None })
    }

    /// Remembers the server that an error names, as [`KeyConnector::heed`] does.
    pub(super) fn heed(&mut self, error: &Error) -> bool {
        self.route.heed(error)
    }

    /// Resolves when the reader has to go on at another server, without a fault of its present one.
    /// `replica` is the replica that it reads from. On the master, which is `master` if that is
    /// known, it looks for a replica. It is connected since `since`.
    pub(super) async fn search(
        &mut self,
        replica: Option<Address>,
        master: Option<ServerName>,
        since: Instant,
    ) -> Found {
        match (self.read_from, replica, master) {
            (ReadFrom::Nearest, Some(replica), _) => (self.outdistanced(&replica).await, None),
            (ReadFrom::Replica | ReadFrom::Nearest, None, Some(master)) => {
                let (connection, replica) = self.search_replica(master, since).await;
                (connection, Some(replica))
            }
            (ReadFrom::Replica | ReadFrom::Nearest, None, None) => {
                sleep(WARN_AFTER.saturating_sub(since.elapsed())).await;
                self.warnings.warn(FINDING, &no_replica(UNKNOWN_MASTER));
                pending().await
            }
            _ => pending().await,
        }
    }

    /// Resolves with a connection to a replica that is fit to read from.
    async fn search_replica(
        &mut self,
        master: ServerName,
        since: Instant,
    ) -> (RawConnection, Replica) {
        let mut seen = self.stream.master.subscribe();
        let mut pause = BETWEEN_LOOKS;
        sleep(SPREAD.mul_f64(fastrand::f64())).await;
        loop {
            // What the master had by then, the replica must have. The reader may have come here
            // since the stream was deleted, and a replica may not know it yet.
            let is_new = |seen: &MasterSeen| seen.server == master && seen.asked >= since;
            let newest = timeout(
                LONGEST_BETWEEN_LOOKS,
                seen.wait_for(|seen| seen.as_ref().is_some_and(is_new)),
            );
            let newest = newest.await.ok().and_then(std::result::Result::ok);
            let looked = match newest.and_then(|newest| newest.clone()) {
                Some(newest) => self.look(&newest).await,
                None => Err(no_replica("the master has not reported its replication (INFO)")),
            };
            match looked {
                Ok(found) => {
                    self.warnings.clear(FINDING);
                    if let Some(found) = found {
                        return found;
                    }
                    pause = BETWEEN_LOOKS;
                    self.again.pause().await;
                }
                Err(error) => {
                    tracing::debug!("{}: read from the master: {error}", self.stream.key);
                    if since.elapsed() >= WARN_AFTER {
                        self.warnings.warn(FINDING, &error);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_BETWEEN_LOOKS);
                }
            }
        }
    }

    /// Connects to one of the master's replicas. `None` if the master is the better choice.
    async fn look(&mut self, master: &MasterSeen) -> Result<Option<(RawConnection, Replica)>> {
        let (replicas, mut reason) = self.candidates(master).await?;
        if self.read_from == ReadFrom::Nearest {
            return self.nearest(replicas, reason, master).await;
        }
        for address in replicas {
            match self.join(&address, master).await {
                Ok(found) => return Ok(Some(found)),
                Err(error) => {
                    reason = error.to_string();
                    self.pass_over(address);
                }
            }
        }
        Err(no_replica(&reason))
    }

    /// The master's replicas, without those that are avoided. They are in random order, so that
    /// nodes spread. Also returns why there is none.
    async fn candidates(&self, master: &MasterSeen) -> Result<(Vec<Address>, String)> {
        let mut replicas =
            self.connector.replicas_of(&self.stream.key, &master.replication).await?;
        fastrand::shuffle(&mut replicas);
        let mut reason = "the master reports none that is online".to_owned();
        let now = Instant::now();
        replicas.retain(|address| {
            let is_avoided =
                self.left.iter().any(|left| left.address == *address && left.until > now);
            if is_avoided {
                reason = format!("{address} was left a short time ago");
            }
            !is_avoided
        });
        Ok((replicas, reason))
    }

    async fn join(
        &self,
        address: &Address,
        master: &MasterSeen,
    ) -> Result<(RawConnection, Replica)> {
        let mut connection = self.connector.connect_replica(address).await?;
        let mut replica = Replica::new(address.clone(), &master.replication);
        let asked_since = Instant::now();
        loop {
            let now = ask(&mut connection).await?;
            replica.judge(&now, None, false)?;
            if now.offset >= master.replication.offset {
                break;
            }
            if asked_since.elapsed() > MOST_LAG {
                return Err(replica.unfit("it is far behind its master"));
            }
            sleep(CATCHES_UP).await;
        }
        replica.since = Instant::now();
        Ok((connection, replica))
    }

    /// Takes note of an error on the reader's connection. True if that led to a replica: then the
    /// reader goes to the master at once.
    pub(super) fn leave(&mut self, link: Option<Link>, error: &Error) -> bool {
        let Some(replica) = link.and_then(|link| link.replica) else { return false };
        let Replica { address, since, .. } = replica;
        tracing::debug!(
            "{}: leaves the replica {address}, reads from the master: {error}",
            self.stream.key
        );
        self.avoid(address, since.elapsed(), LONGEST_AVOIDED);
        self.route.heed(error);
        true
    }

    /// Does not ask a replica again for some time that could not be joined.
    fn pass_over(&mut self, address: Address) {
        self.avoid(address, Duration::ZERO, LONGEST_UNFIT);
    }

    /// Does not read from this replica for some time, up to `longest`. It had served for `served`.
    fn avoid(&mut self, address: Address, served: Duration, longest: Duration) {
        let place = self.left.iter().position(|left| left.address == address);
        let before = place.and_then(|place| self.left.remove(place));
        let pause = match before.filter(|_| served < PROVEN) {
            // Not shorter than before: the reader may have left it again and again.
            Some(before) => (before.pause * 2).min(longest).max(before.pause),
            None => FIRST_AVOIDED,
        };
        // Not all nodes come back to it at the same moment.
        let until = Instant::now() + pause.mul_f64(1.0 + fastrand::f64() / 2.0);
        self.left.push_back(Left { address, pause, until });
        if self.left.len() > MOST_LEFT {
            self.left.pop_front();
        }
    }
}

impl Replica {
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    fn new(address: Address, master: &Replication) -> Self {
        let now = Instant::now();
        Self { address, history: master.history.clone(), since: now, checked: now, behind: None }
    }

    /// Whether the reader must ask the replica how it is before it reads on.
    pub(super) fn is_check_due(&self) -> bool {
        self.checked.elapsed() >= CHECK_INTERVAL
    }

    /// Asks the replica how it is. An error if the reader must leave it.
    pub(super) async fn check(
        &mut self,
        connection: &mut RawConnection,
        stream: &Stream,
    ) -> Result<()> {
        let now = ask(connection).await?;
        self.checked = Instant::now();
        let master = stream.master.borrow().clone();
        let is_trimmed = {
            let cursor = stream.cursor();
            cursor.lag.is_trimmed_behind(cursor.position)
        };
        self.judge(&now, master.as_ref(), is_trimmed)
    }

    /// An error if the reader must leave the replica, which reports `now`. `master` is what the
    /// writer has last seen; `is_trimmed` is true if the master has not got any more what comes next.
    fn judge(
        &mut self,
        now: &Replication,
        master: Option<&MasterSeen>,
        is_trimmed: bool,
    ) -> Result<()> {
        if !now.is_replica {
            return Err(self.unfit("it is a master now"));
        }
        if !now.has_link {
            return Err(self.unfit("it has no connection to its master"));
        }
        if now.history != self.history || self.history.is_empty() {
            return Err(self.unfit("its data is that of another master"));
        }
        let Some(master) = master.filter(|master| master.asked >= self.since) else {
            return Ok(());
        };
        if master.replication.history != self.history {
            return Err(self.unfit("another server is the master now"));
        }
        self.behind = self.behind.filter(|(offset, _)| *offset > now.offset);
        if self.behind.is_none() && master.replication.offset > now.offset {
            self.behind = Some((master.replication.offset, master.asked));
        }
        let most = if is_trimmed { MOST_LAG_IF_TRIMMED } else { MOST_LAG };
        if self.behind.is_some_and(|(_, at)| at.elapsed() > most) {
            return Err(self.unfit("it is far behind its master"));
        }
        Ok(())
    }

    fn unfit(&self, why: &str) -> Error {
        no_replica(&format!("{}: {why}", self.address))
    }
}

async fn ask(connection: &mut RawConnection) -> Result<Replication> {
    let address = connection.address().to_owned();
    let late = |_| Error::Timeout { command: "INFO", address, after: GRACE_OF_REPLICA };
    timeout(GRACE_OF_REPLICA, replication(connection)).await.map_err(late)?
}

fn no_replica(reason: &str) -> Error {
    Error::NoReplica { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
