//! `readFrom: "nearest"`: which of the servers that are fit to read from are near, by measured round
//! trips.
//!
//! The purpose is that packets cross no zone without need. A node reads from the master if that is
//! clearly nearer than all replicas. Among servers that are about as near it takes a replica, at
//! random: nodes spread over the replicas of their zone, and the master sends less.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{Replica, Source, ask, no_replica};
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};
use crate::engine::redis::{KeyConnector, RawConnection};
use crate::engine::stream::MasterSeen;

/// The most replicas to measure at a time. More are left out at random.
const MOST_MEASURED: usize = 16;
/// How many round trips to measure. The shortest counts: what lengthens one of them is a busy
/// machine, not the distance.
const ROUND_TRIPS: usize = 5;
/// How long a server may take until the connection to it is ready to be measured.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Servers are about as near as the nearest one if their round trips are longer by no more than
/// this, or by no more than a quarter.
const ABOUT: Duration = Duration::from_micros(200);
const ABOUT_PART: f64 = 0.25;
/// The reader leaves a replica for a nearer server if its round trip is longer by more than this,
/// and by more than a half, in [`IN_A_ROW`] looks one after the other.
const CLEARLY: Duration = Duration::from_micros(250);
const CLEARLY_PART: f64 = 0.5;
const IN_A_ROW: u32 = 2;
/// The time until the reader measures again. It doubles up to the longest. It begins anew after a
/// fault, not after a move to a nearer server: if distances change all the time, moves become rare.
const FIRST_AGAIN: Duration = Duration::from_secs(5);
const LONGEST_AGAIN: Duration = Duration::from_secs(300);

/// When the reader measures again.
pub(super) struct LooksAgain(Duration);

impl Default for LooksAgain {
    fn default() -> Self {
        Self(FIRST_AGAIN)
    }
}

impl LooksAgain {
    pub(super) async fn pause(&mut self) {
        // Not all nodes look at the same moment.
        let pause = self.0.mul_f64(1.0 + fastrand::f64() / 2.0);
        self.0 = (self.0 * 2).min(LONGEST_AGAIN);
        sleep(pause).await;
    }
}

/// A server that is fit to read from.
struct Measured {
    connection: RawConnection,
    /// `None` if it is the master.
    replica: Option<Replica>,
    round_trip: Duration,
}

impl Source {
    /// Connects to one of the nearest of these replicas. `None` if the master is clearly nearer.
    /// `reason` is the reason if there are none.
    pub(super) async fn nearest(
        &mut self,
        mut replicas: Vec<Address>,
        mut reason: String,
        master: &MasterSeen,
    ) -> Result<Option<(RawConnection, Replica)>> {
        replicas.truncate(MOST_MEASURED);
        let (mut measured, unfit) = self.measure(&replicas, master).await;
        for (address, error) in unfit {
            reason = error.to_string();
            self.pass_over(address);
        }
        if measured.iter().all(|server| server.replica.is_none()) {
            return Err(no_replica(&reason));
        }
        self.report(&measured);
        let nearest = shortest(&measured);
        measured.retain(|server| is_about(server.round_trip, nearest));
        let mut replicas: Vec<_> = measured
            .into_iter()
            .filter_map(|server| Some((server.connection, server.replica?)))
            .collect();
        if replicas.is_empty() {
            return Ok(None);
        }
        Ok(Some(replicas.swap_remove(fastrand::usize(..replicas.len()))))
    }

    /// Resolves when another server is clearly nearer than the replica that the reader reads from,
    /// with a connection to the master: there the reader chooses anew.
    pub(super) async fn outdistanced(&mut self, replica: &Address) -> RawConnection {
        let mut in_a_row = 0;
        loop {
            self.again.pause().await;
            let master = match self.is_outdistanced(replica).await {
                Ok(master) => master,
                Err(error) => {
                    tracing::debug!("{}: nearer servers: {error}", self.stream.key);
                    continue;
                }
            };
            let Some(master) = master else {
                in_a_row = 0;
                continue;
            };
            in_a_row += 1;
            if in_a_row == IN_A_ROW {
                tracing::debug!("{}: leaves the replica {replica} for a nearer", self.stream.key);
                return master;
            }
        }
    }

    /// A connection to the master if another server is clearly nearer than this replica. An error if
    /// that cannot be told now.
    async fn is_outdistanced(&self, replica: &Address) -> Result<Option<RawConnection>> {
        let seen = self.stream.master.borrow().clone();
        let master = seen.ok_or_else(|| no_replica("the master is not known"))?;
        let (mut replicas, _) = self.candidates(&master).await?;
        replicas.retain(|address| address != replica);
        replicas.insert(0, replica.clone());
        replicas.truncate(MOST_MEASURED);
        let (measured, unfit) = self.measure(&replicas, &master).await;
        self.report(&measured);
        let is_this = |server: &&Measured| {
            server.replica.as_ref().is_some_and(|its| its.address() == replica)
        };
        let Some(this) = measured.iter().find(is_this) else {
            let error = unfit.into_iter().find(|(address, _)| address == replica);
            return Err(error.map_or_else(|| no_replica("it was not measured"), |(_, error)| error));
        };
        if !is_clearly_longer(this.round_trip, shortest(&measured)) {
            return Ok(None);
        }
        // Without the master the reader cannot move.
        Ok(measured.into_iter().find(|it| it.replica.is_none()).map(|master| master.connection))
    }

    /// Measures the master and those of the replicas that are fit, all at once. Also returns why
    /// the other replicas are not. The master is missing if it cannot be reached.
    async fn measure(
        &self,
        replicas: &[Address],
        master: &MasterSeen,
    ) -> (Vec<Measured>, Vec<(Address, Error)>) {
        let joins = replicas.iter().map(|address| async move {
            let joined = timeout(CONNECT_LIMIT, self.join(address, master)).await;
            joined.unwrap_or_else(|_| {
                Err(no_replica(&format!("{address} did not answer within {CONNECT_LIMIT:?}")))
            })
        });
        let mut route = KeyConnector::new(self.connector.clone(), self.stream.key.clone());
        let to_master = timeout(CONNECT_LIMIT, route.connect_raw());
        let (joined, to_master) = tokio::join!(join_all(joins), to_master);
        // All connections are open before the first round trip: TLS handshakes would lengthen it.
        let mut servers: Vec<_> = joined
            .into_iter()
            .map(|joined| joined.map(|(connection, replica)| (connection, Some(replica))))
            .collect();
        servers.extend(to_master.ok().map(|connected| connected.map(|it| (it, None))));
        let measured = join_all(servers.into_iter().map(|server| async move {
            let (mut connection, replica) = server?;
            let round_trip = shortest_round_trip(&mut connection).await?;
            Ok(Measured { connection, replica, round_trip })
        }));
        let (mut fit, mut unfit) = (Vec::new(), Vec::new());
        // The master comes behind all replicas.
        let places = replicas.iter().map(Some).chain([None]);
        for (address, measured) in places.zip(measured.await) {
            match (measured, address) {
                (Ok(measured), _) => fit.push(measured),
                (Err(error), Some(address)) => unfit.push((address.clone(), error)),
                (Err(error), None) => {
                    tracing::debug!("{}: the master: {error}", self.stream.key);
                }
            }
        }
        (fit, unfit)
    }

    fn report(&self, measured: &[Measured]) {
        for Measured { connection, replica, round_trip } in measured {
            let kind = if replica.is_some() { "replica" } else { "master" };
            let (key, address) = (&self.stream.key, connection.address());
            tracing::debug!("{key}: the {kind} {address} answers within {round_trip:?}");
        }
    }
}

async fn shortest_round_trip(connection: &mut RawConnection) -> Result<Duration> {
    let mut shortest = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let asked = Instant::now();
        ask(connection).await?;
        shortest = shortest.min(asked.elapsed());
    }
    Ok(shortest)
}

fn shortest(measured: &[Measured]) -> Duration {
    measured.iter().map(|server| server.round_trip).min().unwrap_or_default()
}

fn is_about(round_trip: Duration, nearest: Duration) -> bool {
    round_trip <= nearest + ABOUT.max(nearest.mul_f64(ABOUT_PART))
}

fn is_clearly_longer(round_trip: Duration, nearest: Duration) -> bool {
    round_trip > nearest + CLEARLY.max(nearest.mul_f64(CLEARLY_PART))
}

#[cfg(test)]
mod tests;
