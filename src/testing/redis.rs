//! Scripted Redis servers: a test accepts or refuses the connections that tasks dial, one by one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::connection::{ScriptedConnection, Server};
use super::within;
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};
use crate::engine::redis::{Attempts, Dial, Socket};

/// The bytes that a connection buffers: more than a test sends without being read.
const BUFFER: usize = 1 << 20;

/// All scripted servers of a test, by their addresses.
pub(crate) struct ScriptedRedis {
    dialer: Arc<ScriptedDialer>,
    dials: mpsc::UnboundedReceiver<Dialled>,
    /// Connections that were dialled while the test waited for another address.
    waiting: VecDeque<Dialled>,
    /// Connections that are never answered.
    ignored: Vec<Dialled>,
    /// The `run_id` of the servers that connections are accepted for from now on.
    pub(crate) run_id: String,
    /// By command: answers that connections give without the test.
    answers: HashMap<String, Vec<u8>>,
    started: Instant,
    clients: u64,
}

struct ScriptedDialer {
    dials: mpsc::UnboundedSender<Dialled>,
    attempts: Attempts,
}

/// A connection that a task dials.
struct Dialled {
    address: Address,
    answer: oneshot::Sender<Option<DuplexStream>>,
}

impl Dial for ScriptedDialer {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Socket>>> {
        let (answer, answered) = oneshot::channel();
        let sent = self.dials.send(Dialled { address: address.clone(), answer });
        Box::pin(async move {
            let socket = if sent.is_ok() { answered.await.ok().flatten() } else { None };
            match socket {
                Some(socket) => Ok(Box::new(socket) as Box<dyn Socket>),
                None => Err(Error::Connection {
                    address: address.to_string(),
                    reason: "refused by the test".to_owned(),
                }),
            }
        })
    }

    fn attempts(&self) -> &Attempts {
        &self.attempts
    }
}

impl ScriptedRedis {
    pub(crate) fn new() -> Self {
        let (sender, dials) = mpsc::unbounded_channel();
        Self {
            dialer: Arc::new(ScriptedDialer { dials: sender, attempts: Attempts::default() }),
            dials,
            waiting: VecDeque::new(),
            ignored: Vec::new(),
            run_id: "run-1".to_owned(),
            answers: HashMap::new(),
            started: Instant::now(),
            clients: 0,
        }
    }

    /// How many attempts to connect were of no use.
    pub(crate) fn failed_attempts(&self) -> usize {
        self.dialer.attempts.number()
    }

    /// Makes a dialer that connects to these servers.
    pub(crate) fn dialer(&self) -> Arc<dyn Dial> {
        self.dialer.clone()
    }

    /// From now on accepted connections answer this command without the test.
    pub(crate) fn answer(&mut self, command: &str, reply: Vec<u8>) {
        self.answers.insert(command.to_owned(), reply);
    }

    /// Accepts the next connection, to any server.
    pub(crate) async fn accept(&mut self) -> ScriptedConnection {
        self.accept_if("a connection", |_| true).await
    }

    /// Accepts the next connection to the server `host:port`. Connections to other servers wait.
    pub(crate) async fn accept_at(&mut self, address: &str) -> ScriptedConnection {
        self.accept_if(address, |other| other.to_string() == address).await
    }

    async fn accept_if(
        &mut self,
        what: &str,
        is_wanted: impl Fn(&Address) -> bool,
    ) -> ScriptedConnection {
        let mut others = VecDeque::new();
        let connection = within(what, async {
            loop {
                let dialled = self.next_dial().await;
                if !is_wanted(&dialled.address) {
                    others.push_back(dialled);
                } else if let Some(connection) = self.take(dialled) {
                    return connection;
                }
            }
        });
        let connection = connection.await;
        others.append(&mut self.waiting);
        self.waiting = others;
        connection
    }

    /// Refuses the next connection.
    pub(crate) async fn refuse(&mut self) {
        let dialled = self.next_dial().await;
        let _ = dialled.answer.send(None);
    }

    /// Lets the next connection hang, as one to a host that is gone.
    pub(crate) async fn ignore(&mut self) -> Address {
        let dialled = self.next_dial().await;
        let address = dialled.address.clone();
        self.ignored.push(dialled);
        address
    }

    /// Whether a task is dialling at this moment.
    pub(crate) fn is_dialled(&mut self) -> bool {
        while let Ok(dialled) = self.dials.try_recv() {
            self.waiting.push_back(dialled);
        }
        self.waiting.retain(|dialled| !dialled.answer.is_closed());
        !self.waiting.is_empty()
    }

    async fn next_dial(&mut self) -> Dialled {
        match self.waiting.pop_front() {
            Some(dialled) => dialled,
            None => within("a connection", self.dials.recv()).await.expect("the dialer lives"),
        }
    }

    /// `None` if no task waits for it any more.
    fn take(&mut self, dialled: Dialled) -> Option<ScriptedConnection> {
        let (ours, theirs) = duplex(BUFFER);
        dialled.answer.send(Some(theirs)).ok()?;
        self.clients += 1;
        let server = Server {
            address: dialled.address,
            run_id: self.run_id.clone(),
            answers: self.answers.clone(),
            started: self.started,
        };
        Some(ScriptedConnection::new(server, self.clients, ours))
    }
}
