//! Scripted Redis servers: connections come in one by one, and each command waits until the test
//! answers it. Commands that every client sends when it connects are answered without the test.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::reply::{array, error, int, ok, push, status, text};
use super::within;
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};
use crate::engine::redis::{Dial, Socket};
use crate::engine::wire::Origin;

/// The server's clock when a test begins; it advances with tokio's.
pub(crate) const NOW_MS: u64 = 1_000_000;

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

struct ScriptedDialer(mpsc::UnboundedSender<Dialled>);

/// A connection that a task dials.
struct Dialled {
    address: Address,
    answer: oneshot::Sender<Option<DuplexStream>>,
}

impl Dial for ScriptedDialer {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Socket>>> {
        let (answer, answered) = oneshot::channel();
        let sent = self.0.send(Dialled { address: address.clone(), answer });
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
}

impl ScriptedRedis {
    pub(crate) fn new() -> Self {
        let (sender, dials) = mpsc::unbounded_channel();
        Self {
            dialer: Arc::new(ScriptedDialer(sender)),
            dials,
            waiting: VecDeque::new(),
            ignored: Vec::new(),
            run_id: "run-1".to_owned(),
            answers: HashMap::new(),
            started: Instant::now(),
            clients: 0,
        }
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
        Some(ScriptedConnection {
            address: dialled.address,
            socket: ours,
            buffer: Vec::new(),
            run_id: self.run_id.clone(),
            client_id: self.clients,
            answers: self.answers.clone(),
            answered: Vec::new(),
            started: self.started,
            is_resp3: false,
            is_subscriber: false,
        })
    }
}

/// The server's end of a connection. It is closed when this is dropped.
pub(crate) struct ScriptedConnection {
    /// The server's address.
    pub(crate) address: Address,
    /// CLIENT ID.
    pub(crate) client_id: u64,
    socket: DuplexStream,
    buffer: Vec<u8>,
    run_id: String,
    answers: HashMap<String, Vec<u8>>,
    answered: Vec<String>,
    started: Instant,
    is_resp3: bool,
    /// Whether it is subscribed in RESP2, and so takes no other commands.
    is_subscriber: bool,
}

impl ScriptedConnection {
    /// From now on the connection answers this command without the test.
    pub(crate) fn answer(&mut self, command: &str, reply: Vec<u8>) {
        self.answers.insert(command.to_owned(), reply);
    }

    /// The next command, which must begin with these words. Before it, the connection answers the
    /// commands that it knows the answer to.
    pub(crate) async fn expect(&mut self, command: &str) -> Command<'_> {
        let words = self.expect_any(&[command]).await;
        Command { connection: self, words }
    }

    /// The next batch of a writer, of `count` entries: in a transaction, or as single commands.
    pub(crate) async fn expect_batch(&mut self, count: usize) -> Batch<'_> {
        let first = self.expect_any(&["MULTI", "XADD"]).await;
        let is_transaction = first[0] == "MULTI";
        let mut entries = if is_transaction { Vec::new() } else { vec![first] };
        while entries.len() < count {
            entries.push(self.expect("XADD").await.words);
        }
        if is_transaction {
            self.expect("EXEC").await;
        }
        Batch { connection: self, entries, is_transaction }
    }

    async fn expect_any(&mut self, commands: &[&str]) -> Vec<String> {
        let what = commands.join(" or ");
        let expected = async {
            loop {
                let Some(words) = self.next().await else {
                    panic!("{what} expected, the client hung up");
                };
                if commands.iter().any(|command| is(&words, command)) {
                    return words;
                }
                if !self.answer_by_itself(&words).await {
                    panic!("{what} expected, {} came", words.join(" "));
                }
            }
        };
        within(&what, expected).await
    }

    /// Answers the commands that it knows the answer to, while `work` goes on.
    pub(crate) async fn while_answering<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                words = self.next() => match words {
                    Some(words) if self.answer_by_itself(&words).await => {}
                    Some(words) => panic!("nothing expected, {} came", words.join(" ")),
                    None => return work.await,
                },
            }
        }
    }

    /// Waits until the client has hung up.
    pub(crate) async fn closed(&mut self) {
        let closed = async {
            while let Some(words) = self.next().await {
                if !self.answer_by_itself(&words).await {
                    panic!("the end of a connection expected, {} came", words.join(" "));
                }
            }
        };
        within("the end of a connection", closed).await;
    }

    /// Sends bytes that answer no command.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A client that is gone does not get it.
        let _ = self.socket.write_all(bytes).await;
    }

    /// Whether the connection has answered such a command by itself.
    pub(crate) fn has_answered(&self, command: &str) -> bool {
        self.answered.iter().any(|answered| answered.starts_with(command))
    }

    /// A command's words; `None` if the client has hung up. Dropping this future loses no bytes.
    async fn next(&mut self) -> Option<Vec<String>> {
        loop {
            if let Some((words, end)) = parse(&self.buffer) {
                self.buffer.drain(..end);
                return Some(words);
            }
            if self.socket.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn answer_by_itself(&mut self, words: &[String]) -> bool {
        let known = self.answers.iter().find(|(command, _)| is(words, command));
        let reply = match known {
            Some((_, reply)) => Some(reply.clone()),
            None => self.usual_answer(words),
        };
        if let Some(reply) = &reply {
            self.answered.push(words.join(" "));
            self.send(reply).await;
        }
        reply.is_some()
    }

    /// The answer to a command that every client sends when it connects.
    fn usual_answer(&mut self, words: &[String]) -> Option<Vec<u8>> {
        let second = words.get(1).map_or("", String::as_str);
        Some(match (words[0].as_str(), second) {
            ("HELLO", _) => {
                self.is_resp3 = true;
                b"%1\r\n$5\r\nproto\r\n:3\r\n".to_vec()
            }
            ("AUTH" | "SELECT" | "ASKING", _) | ("CLIENT", "SETNAME") => ok(),
            ("PING", _) if self.is_subscriber => array(&[text("pong"), text("")]),
            ("PING", _) => status("PONG"),
            ("CLIENT", "INFO") => {
                let id = self.client_id;
                text(&format!("id={id} addr=10.0.0.1:{id} laddr=10.0.0.9:6379"))
            }
            ("INFO", _) => text(&format!("run_id:{}\r\nrole:master\r\n", self.run_id)),
            ("ROLE", _) => array(&[text("master"), int(0), array(&[])]),
            ("CLUSTER", "SLOTS") => all_slots(&self.address),
            ("TIME", _) => {
                let now = NOW_MS + self.started.elapsed().as_millis() as u64;
                let micros = now % 1_000 * 1_000;
                array(&[text(&(now / 1_000).to_string()), text(&micros.to_string())])
            }
            (name, _) if name.ends_with("SUBSCRIBE") => {
                self.is_subscriber = !self.is_resp3;
                let kind = name.to_ascii_lowercase();
                let answer = |channel: &String| self.pushed(&[text(&kind), text(channel), int(1)]);
                words[1..].iter().flat_map(answer).collect()
            }
            _ => return None,
        })
    }

    /// Encodes a push in the protocol of the connection.
    fn pushed(&self, values: &[Vec<u8>]) -> Vec<u8> {
        if self.is_resp3 { push(values) } else { array(values) }
    }

    /// Pushes a PUB/SUB message.
    pub(crate) async fn publish(&mut self, channel: &str, payload: &[u8]) {
        let payload = super::reply::string(payload);
        let message = self.pushed(&[text("message"), text(channel), payload]);
        self.send(&message).await;
    }
}

/// A command that waits for its answer. If the test drops it, it gets none, as if Redis hung.
pub(crate) struct Command<'a> {
    connection: &'a mut ScriptedConnection,
    /// Its name and arguments.
    pub(crate) words: Vec<String>,
}

impl Command<'_> {
    pub(crate) async fn reply(self, reply: Vec<u8>) {
        self.connection.send(&reply).await;
    }

    /// Answers with an error.
    pub(crate) async fn refuse(self, words: &str) {
        self.reply(error(words)).await;
    }

    /// The argument behind this word.
    pub(crate) fn behind(&self, word: &str) -> &str {
        let place = self.words.iter().position(|other| other == word);
        place.and_then(|place| self.words.get(place + 1)).map_or("", String::as_str)
    }
}

/// A batch that waits for its answers. If the test drops it, it gets none.
pub(crate) struct Batch<'a> {
    connection: &'a mut ScriptedConnection,
    entries: Vec<Vec<String>>,
    /// Whether it is between MULTI and EXEC.
    pub(crate) is_transaction: bool,
}

impl Batch<'_> {
    /// The sequences of its entries.
    pub(crate) fn seqs(&self) -> Vec<u64> {
        let origin = |words: &Vec<String>| Origin::parse(words.last()?.as_bytes());
        self.entries.iter().filter_map(origin).map(|origin| origin.seq).collect()
    }

    /// How many sequences the first entry says were given up before it.
    pub(crate) fn given_up(&self) -> u64 {
        let origin = self.entries.first().and_then(|words| words.last());
        origin.and_then(|origin| Origin::parse(origin.as_bytes())).unwrap().given_up
    }

    /// A word of one of its commands.
    pub(crate) fn word(&self, entry: usize, place: usize) -> String {
        self.entries[entry][place].clone()
    }

    /// Accepts the whole batch; `ids` are the IDs of its entries.
    pub(crate) async fn execute(self, ids: &[&str]) {
        assert_eq!(ids.len(), self.entries.len());
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| text(id)).collect();
        let reply =
            if self.is_transaction { [self.queued(), array(&ids)].concat() } else { ids.concat() };
        self.connection.send(&reply).await;
    }

    /// Refuses EXEC.
    pub(crate) async fn refuse_exec(self, words: &str) {
        assert!(self.is_transaction);
        let reply = [self.queued(), error(words)].concat();
        self.connection.send(&reply).await;
    }

    /// Refuses MULTI, and answers each command on its own.
    pub(crate) async fn refuse_multi(self, words: &str, answers: &[Vec<u8>]) {
        assert!(self.is_transaction);
        let end = error("ERR EXEC without MULTI");
        self.connection.send(&[error(words), answers.concat(), end].concat()).await;
    }

    /// Refuses each of its commands.
    pub(crate) async fn refuse(self, words: &str) {
        let each = error(words).repeat(self.entries.len());
        let reply = if self.is_transaction {
            let end = error("EXECABORT Transaction discarded because of previous errors.");
            [ok(), each, end].concat()
        } else {
            each
        };
        self.connection.send(&reply).await;
    }

    /// Answers each of its commands on its own.
    pub(crate) async fn reply_each(self, answers: &[Vec<u8>]) {
        let replies = answers.concat();
        let reply =
            if self.is_transaction { [self.queued(), array(answers)].concat() } else { replies };
        self.connection.send(&reply).await;
    }

    fn queued(&self) -> Vec<u8> {
        [ok(), status("QUEUED").repeat(self.entries.len())].concat()
    }
}

/// CLUSTER SLOTS of one master that has all of them.
fn all_slots(address: &Address) -> Vec<u8> {
    let Address::Tcp(host, port) = address else { return array(&[]) };
    let master = array(&[text(host), int(i64::from(*port)), text("id")]);
    array(&[array(&[int(0), int(16_383), master])])
}

fn is(words: &[String], command: &str) -> bool {
    let mut words = words.iter();
    command.split(' ').all(|expected| words.next().is_some_and(|word| word == expected))
}

/// A whole command, and where it ends.
fn parse(buffer: &[u8]) -> Option<(Vec<String>, usize)> {
    let (count, mut at) = header(buffer, 0)?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, start) = header(buffer, at)?;
        words.push(String::from_utf8_lossy(buffer.get(start..start + length)?).into_owned());
        at = start + length + 2;
    }
    (at <= buffer.len()).then_some((words, at))
}

/// The length in the line that begins at `at`, and where the line ends.
fn header(buffer: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = buffer.get(at..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let length = std::str::from_utf8(&rest[1..end]).ok()?.parse().ok()?;
    Some((length, at + end + 2))
}
