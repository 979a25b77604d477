//! Finds the server of a key and connects to it.
//!
//! The connector looks for the server anew at each connect. A task whose connection broke, or whose
//! server has replied that another one serves the key, connects again and reaches the server that
//! has the key then.

mod known_slots;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::access::{Access, CredentialsSource};
use super::current_server::{CurrentServer, ServerOf};
use super::dial::{Dial, Network};
use super::target::Target;
use super::told::Told;
use super::unnamed::Unnamed;
use super::{
    Backoff, ChannelCommand, Connection, Kind, NodeSettings, Push, PushConnection, RawConnection,
    Replication, Settings, Slots, TlsSettings, identity,
    sentinel::{self, elect},
};
use crate::engine::address::Address;
use crate::engine::error::{Error, Outage, Result};
use crate::engine::warnings::Warnings;
use known_slots::KnownSlots;

/// The longest time between two attempts to connect: to a single server, and to one of several.
const LONGEST_FOR_ONE: Duration = Duration::from_secs(2);
const LONGEST_FOR_SEVERAL: Duration = Duration::from_millis(300);

/// The task in warnings about sentinels that are not listened to.
const LISTENING: &str = "sentinels";

pub(crate) struct Connector {
    settings: Settings,
    data: Access,
    sentinels: Option<Access>,
    warnings: Arc<Warnings>,
    /// What the sentinels said last. Locked while the connector asks, so that all callers that wait
    /// get the same answer.
    master: Mutex<Told<Address>>,
    slots: KnownSlots,
    unnamed: Unnamed,
    current_server: Arc<CurrentServer>,
}

impl Connector {
    /// Reads certificates and keys. Does not connect yet.
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

    /// Opens sockets with `data` to the servers that hold the data, and with `sentinels` to the
    /// sentinels.
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
            master: Mutex::default(),
            slots: KnownSlots::default(),
            unnamed: Unnamed::default(),
            current_server: CurrentServer::new(),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The time between two attempts to connect. It is shorter with sentinels and in a cluster,
    /// since another server may take over.
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
        let opened = self.data.open(&address, asking);
        let (mut connection, server) = self.checked(&address, opened).await?;
        connection.leads_to(server);
        Ok(connection)
    }

    /// A connection that returns replies as bytes, in RESP2.
    pub(crate) async fn connect_raw(self: &Arc<Self>, target: &Target) -> Result<RawConnection> {
        let (address, asking) = self.address(target).await?;
        let opened = self.data.open_raw(&address, asking);
        let (mut connection, server) = self.checked(&address, opened).await?;
        connection.leads_to(server);
        Ok(connection)
    }

    /// A connection to a replica, for reading, that returns replies as bytes, in RESP2. Checks
    /// nothing: see [`Replication`].
    pub(crate) async fn connect_replica(&self, address: &Address) -> Result<RawConnection> {
        let opened = async {
            let mut connection = self.data.open_raw(address, false).await?;
            if self.settings.kind == Kind::Cluster {
                // Without it a replica answers with MOVED.
                connection.send("READONLY", "", &redis::cmd("READONLY")).await?;
            }
            Ok(connection)
        };
        self.data.attempt(opened).await
    }

    /// The replicas of a key's master, by what the master reports. In a cluster, by its slots: they
    /// have the names and ports that clients connect to.
    pub(crate) async fn replicas_of(
        self: &Arc<Self>,
        key: &str,
        master: &Replication,
    ) -> Result<Vec<Address>> {
        if self.settings.kind == Kind::Cluster {
            return Ok(self.newest_slots().await?.replicas_of(key).to_vec());
        }
        Ok(master.replicas.iter().map(|address| self.reachable(address.clone())).collect())
    }

    /// The server of a key, by slots that are fresh enough for a new connection.
    pub(crate) async fn target_now(self: &Arc<Self>, key: &str) -> Result<Target> {
        match self.settings.kind {
            Kind::Cluster => target_in(&*self.newest_slots().await?, key),
            Kind::Standalone | Kind::Sentinel => Ok(Target::Master),
        }
    }

    /// The server of a key, by slots that may be old: see [`Connector::recent_slots`].
    pub(crate) async fn target_of(self: &Arc<Self>, key: &str) -> Result<Target> {
        match self.settings.kind {
            Kind::Cluster => target_in(&*self.recent_slots().await?, key),
            Kind::Standalone | Kind::Sentinel => Ok(Target::Master),
        }
    }

    /// A random server of the cluster. A message that is published on any of them reaches all.
    pub(crate) async fn any_target(self: &Arc<Self>) -> Result<Target> {
        if self.settings.kind != Kind::Cluster {
            return Ok(Target::Master);
        }
        let slots = self.newest_slots().await?;
        let node = fastrand::choice(slots.nodes()).cloned();
        node.map(Target::node).ok_or_else(|| unserved("CLUSTER SLOTS names no node"))
    }

    /// Servers of a cluster that the slots named until lately.
    pub(crate) fn unnamed(&self) -> &Unnamed {
        &self.unnamed
    }

    /// All servers that may have subscribers, but for [`Connector::unnamed`].
    pub(crate) async fn all_targets(self: &Arc<Self>) -> Result<Vec<Target>> {
        if self.settings.kind != Kind::Cluster {
            return Ok(vec![Target::Master]);
        }
        let slots = self.recent_slots().await?;
        Ok(slots.nodes().iter().cloned().map(Target::node).collect())
    }

    /// The server that MOVED or ASK names, in a cluster.
    pub(crate) fn redirection(&self, error: &Error) -> Option<Target> {
        let Error::Moved { to: Some(address), asking, .. } = error else { return None };
        (self.settings.kind == Kind::Cluster)
            .then(|| Target::Node { address: self.reachable(address.clone()), asking: *asking })
    }

    /// The address to connect to for a server that other servers know by `address`; see
    /// [`Settings::nat_map`].
    fn reachable(&self, address: Address) -> Address {
        let mapped = self.settings.nat_map.get(&address.to_string());
        mapped.map_or(address, |node| node.address())
    }

    async fn address(self: &Arc<Self>, target: &Target) -> Result<(Address, bool)> {
        match (target, &self.settings.sentinel) {
            (Target::Node { address, asking }, _) => Ok((address.clone(), *asking)),
            (Target::Master, None) => Ok((self.settings.address(), false)),
            (Target::Master, Some(_)) => {
                let mut master = self.master.lock().await;
                let answer = match master.newest() {
                    Some(answer) => answer,
                    None => master.hear(self.ask_for_master().await),
                };
                Ok((self.reachable((*answer?).clone()), false))
            }
        }
    }

    /// Asks the sentinels again. Returns the master as they know it.
    pub(crate) async fn ask_again(self: &Arc<Self>) -> Result<Address> {
        let mut master = self.master.lock().await;
        let answer = master.hear(self.ask_for_master().await)?;
        Ok((*answer).clone())
    }

    async fn ask_for_master(self: &Arc<Self>) -> Result<Address> {
        let sentinels = self.sentinels();
        let master = elect(sentinels, |address| {
            let connector = self.clone();
            async move { connector.ask_sentinel(&address).await }
        });
        master.await.map_err(most_telling)
    }

    async fn ask_sentinel(&self, address: &Address) -> Result<Address> {
        let sentinels = self.sentinel_access()?;
        let answered = async {
            let mut connection = sentinels.open(address, false).await?;
            sentinel::master(&mut connection, self.master_name()).await
        };
        sentinels.attempt(answered).await
    }

    /// The sentinels' addresses; none without sentinels.
    pub(crate) fn sentinels(&self) -> Vec<Address> {
        let nodes = self.settings.sentinel.iter().flat_map(|sentinel| &sentinel.nodes);
        nodes.map(NodeSettings::address).collect()
    }

    /// The name that the sentinels know the master by.
    pub(crate) fn master_name(&self) -> &str {
        self.settings.sentinel.as_ref().map_or("", |sentinel| &sentinel.name)
    }

    /// Subscribes to a sentinel's reports that another master has taken over. Calls `on_push` with
    /// each, and when the connection ends. `on_push` must not block.
    pub(crate) async fn listen_to_sentinel(
        &self,
        address: &Address,
        on_push: impl Fn(Push<'_>) + Send + Sync + 'static,
    ) -> Result<PushConnection> {
        let connection = self.sentinel_access()?.open_raw(address, false).await?;
        let mut subscriber = PushConnection::subscriber(connection, on_push);
        let subscribe = ChannelCommand::new("SUBSCRIBE", sentinel::SWITCHED);
        match subscriber.send(&[&subscribe]).await?.pop() {
            Some(Err(refusal)) => {
                self.warnings.warn(LISTENING, &refusal);
                Err(refusal)
            }
            _ => {
                self.warnings.clear(LISTENING);
                Ok(subscriber)
            }
        }
    }

    fn sentinel_access(&self) -> Result<&Access> {
        self.sentinels.as_ref().ok_or(Error::Closed)
    }

    /// A connection that leads to a server which answers and has the right role, and which server
    /// that is.
    async fn checked<C: super::SendCommand>(
        &self,
        address: &Address,
        opened: impl Future<Output = Result<C>>,
    ) -> Result<(C, ServerOf)> {
        let checked = async {
            let mut connection = opened.await?;
            self.check_role(&mut connection, address).await?;
            let server = self.server_of(&mut connection).await?;
            Ok((connection, server))
        };
        self.data.attempt(checked).await
    }

    /// Learns which server a connection leads to. If the server refuses to tell, the connection is
    /// used all the same.
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

    /// Checks that the server is a master: a sentinel may not know yet that it no longer is one.
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

/// The server of a key.
fn target_in(slots: &Slots, key: &str) -> Result<Target> {
    let master = slots.master_of(key).cloned();
    master.map(Target::node).ok_or_else(|| unserved("no node serves the slot"))
}

/// Prefers a refusal, which somebody has to fix, to a server that could not be reached.
fn most_telling(mut failures: Vec<Error>) -> Error {
    match failures.iter().position(Error::is_refusal) {
        Some(refusal) => failures.swap_remove(refusal),
        None => failures.pop().unwrap_or_else(|| unserved("no server is known")),
    }
}

fn unserved(reason: &str) -> Error {
    Error::Unavailable { command: "CLUSTER", reason: reason.to_owned(), outage: Outage::Passing }
}

/// Connects to the server of one key.
pub(crate) struct KeyConnector {
    connector: Arc<Connector>,
    key: String,
    /// The server that the last error named.
    redirection: Option<Target>,
}

impl KeyConnector {
    pub(crate) fn new(connector: Arc<Connector>, key: String) -> Self {
        Self { connector, key, redirection: None }
    }

    /// A connection that returns replies as bytes.
    pub(crate) async fn connect_raw(&mut self) -> Result<RawConnection> {
        let target = self.target().await?;
        self.connector.connect_raw(&target).await
    }

    /// Remembers the server that an error names, for the next connection only. Returns true if the
    /// error names one.
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
