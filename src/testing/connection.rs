//! A connection to a scripted server: each command waits until the test answers it. Commands that every
//! client sends when it connects are answered without the test.

use std::collections::HashMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

use super::reply::{array, error, int, ok, push, status, text};
use super::within;
use crate::engine::address::Address;
use crate::engine::wire::Origin;

/// The server's clock when a test begins; it advances with tokio's.
pub(crate) const NOW_MS: u64 = 1_000_000;

/// An ID that no entry may have.
const NEVER: &str = "0-0";

/// A transaction of no commands, as the words of one command.
pub(crate) const NO_COMMANDS: &str = "MULTI EXEC";

/// The server as a connection shows it.
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) run_id: String,
    /// By command: answers that the connection gives without the test.
    pub(super) answers: HashMap<String, Vec<u8>>,
    /// When the test began.
    pub(super) started: Instant,
}

/// The server's end of a connection. It is closed when this is dropped.
pub(crate) struct ScriptedConnection {
    server: Server,
    /// CLIENT ID.
    pub(crate) client_id: u64,
    socket: DuplexStream,
    buffer: Vec<u8>,
    answered: Vec<String>,
    is_resp3: bool,
    /// Whether it is subscribed in RESP2, and so takes no other commands.
    is_subscriber: bool,
}

impl ScriptedConnection {
    pub(super) fn new(server: Server, client_id: u64, socket: DuplexStream) -> Self {
        Self {
            server,
            client_id,
            socket,
            buffer: Vec::new(),
            answered: Vec::new(),
            is_resp3: false,
            is_subscriber: false,
        }
    }

    /// The server's address.
    pub(crate) fn address(&self) -> &Address {
        &self.server.address
    }

    /// From now on the connection answers this command without the test.
    pub(crate) fn answer(&mut self, command: &str, reply: Vec<u8>) {
        self.server.answers.insert(command.to_owned(), reply);
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

    /// Answers all commands until the client hangs up: after some time with what `answer` returns,
    /// or by itself.
    pub(crate) async fn serve(
        mut self,
        mut answer: impl FnMut(&[String]) -> Option<(Duration, Vec<u8>)>,
    ) {
        while let Some(words) = self.next().await {
            if let Some((after, reply)) = answer(&words) {
                sleep(after).await;
                self.send(&reply).await;
            } else if !self.answer_by_itself(&words).await {
                panic!("nothing answers {}", words.join(" "));
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
            if let Some((words, end)) = parse_command(&self.buffer) {
                self.buffer.drain(..end);
                return Some(words);
            }
            if self.socket.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn answer_by_itself(&mut self, words: &[String]) -> bool {
        let known = self.server.answers.iter().find(|(command, _)| is(words, command));
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
            ("INFO", _) => text(&format!("run_id:{}\r\nrole:master\r\n", self.server.run_id)),
            ("ROLE", _) => array(&[text("master"), int(0), array(&[])]),
            ("XADD", _) if asks_to_write(words) => {
                error("ERR The ID specified in XADD must be greater than 0-0")
            }
            ("MULTI", "EXEC") => [ok(), array(&[])].concat(),
            ("CLUSTER", "SLOTS") => all_slots(&self.server.address),
            ("TIME", _) => {
                let now = NOW_MS + self.server.started.elapsed().as_millis() as u64;
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
        self.origins().map(|origin| origin.seq).collect()
    }

    /// How many sequences before each of its entries are unconfirmed.
    pub(crate) fn unconfirmed(&self) -> Vec<u64> {
        self.origins().map(|origin| origin.unconfirmed).collect()
    }

    fn origins(&self) -> impl Iterator<Item = Origin> {
        self.entries.iter().filter_map(|words| Origin::parse(words.last()?.as_bytes()))
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

/// Whether a command begins with these words. A question whether Redis accepts writes is no other
/// XADD, and one whether it accepts MULTI is no other MULTI.
fn is(words: &[String], command: &str) -> bool {
    if asks_to_write(words) && !command.ends_with(NEVER) {
        return false;
    }
    if asks_for_multi(words) && command != NO_COMMANDS {
        return false;
    }
    let mut words = words.iter();
    command.split(' ').all(|expected| words.next().is_some_and(|word| word == expected))
}

/// Whether this is the XADD with which a writer asks whether Redis accepts writes.
fn asks_to_write(words: &[String]) -> bool {
    words[0] == "XADD" && words.get(2).is_some_and(|id| id == NEVER)
}

/// Whether this is the empty transaction with which a writer asks whether Redis accepts MULTI.
fn asks_for_multi(words: &[String]) -> bool {
    words.join(" ") == NO_COMMANDS
}

/// A whole command, and where it ends. A transaction of no commands counts as one command.
fn parse_command(buffer: &[u8]) -> Option<(Vec<String>, usize)> {
    let (mut words, end) = parse(buffer)?;
    if words[0] != "MULTI" {
        return Some((words, end));
    }
    let (mut next, length) = parse(&buffer[end..])?;
    if next[0] != "EXEC" {
        return Some((words, end));
    }
    words.append(&mut next);
    Some((words, end + length))
}

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
