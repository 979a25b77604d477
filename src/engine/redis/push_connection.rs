//! A connection on which the server also sends messages by itself: in RESP3, or subscribed in RESP2.
//!
//! A task of its own reads, so that messages arrive while the owner is busy. It passes them on
//! directly from the bytes that have come.

use std::sync::Arc;

use redis::Cmd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::instrument::WithSubscriber;

use super::current_server::ServerOf;
use super::progress::{Progress, Watched};
use super::renewal::Renewal;
use super::resp::{Odd, Values, Walk};
use super::{ANSWER_LIMIT, RawConnection};
use crate::engine::error::{Error, Result};

/// The space in bytes to reserve for each read from the socket.
const READ: usize = 16 << 10;

/// What the server sends by itself.
#[derive(Debug)]
pub(crate) enum Push<'a> {
    /// A message on a channel.
    Message { channel: &'a str, payload: &'a [u8] },
    /// The subscription to a sharded channel has ended, whoever has ended it.
    Unsubscribed { channel: &'a str },
    /// The connection has ended.
    Ended,
}

/// A command that has to do with a channel.
pub(crate) struct ChannelCommand<'a> {
    pub(crate) name: &'static str,
    pub(crate) channel: &'a str,
    pub(crate) command: Cmd,
}

impl<'a> ChannelCommand<'a> {
    /// A command whose only argument is the channel.
    pub(crate) fn new(name: &'static str, channel: &'a str) -> Self {
        let mut command = redis::cmd(name);
        command.arg(channel);
        Self { name, channel, command }
    }
}

/// An open connection. Dropping it closes the socket.
pub(crate) struct PushConnection {
    writer: WriteHalf<Watched>,
    /// Values that are no messages.
    replies: mpsc::UnboundedReceiver<Vec<u8>>,
    reader: JoinHandle<()>,
    progress: Arc<Progress>,
    address: String,
    asking: bool,
    renewal: Option<Renewal>,
    server: ServerOf,
    mark: u8,
}

impl PushConnection {
    /// Switches a connection to RESP3. If the server refuses that, this returns a connection in RESP2
    /// for subscriptions only, and the refusal. Calls `on_push`, which must not block.
    pub(crate) async fn in_resp3(
        mut connection: RawConnection,
        on_push: impl Fn(Push<'_>) + Send + Sync + 'static,
    ) -> Result<(Self, Option<Error>)> {
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        match connection.send("HELLO", "", &hello).await {
            Ok(_) => Ok((Self::new(connection, b'>', on_push), None)),
            Err(refusal @ Error::Refused { .. }) => {
                Ok((Self::subscriber(connection, on_push), Some(refusal)))
            }
            Err(error) => Err(error),
        }
    }

    /// A connection for subscriptions only, in RESP2.
    pub(crate) fn subscriber(
        mut connection: RawConnection,
        on_push: impl Fn(Push<'_>) + Send + Sync + 'static,
    ) -> Self {
        // It takes no AUTH.
        connection.stay_logged_in(None);
        Self::new(connection, b'*', on_push)
    }

    /// A connection for commands only, in RESP2.
    pub(crate) fn commands(connection: RawConnection) -> Self {
        Self::new(connection, b'>', |_| {})
    }

    /// What the server sends by itself begins with `mark`.
    fn new(
        connection: RawConnection,
        mark: u8,
        on_push: impl Fn(Push<'_>) + Send + Sync + 'static,
    ) -> Self {
        let RawConnection { socket, address, asking, renewal, server, .. } = connection;
        let progress = Progress::new();
        let (socket, writer) = split(Watched::new(socket, &progress, false));
        let (sender, replies) = mpsc::unbounded_channel();
        let reading = async move {
            if let Err(reason) = read(socket, mark, &sender, &on_push).await {
                tracing::debug!("a PUB/SUB connection has ended: {reason}");
            }
            drop(sender);
            on_push(Push::Ended);
        };
        let reader = tokio::spawn(reading.with_current_subscriber());
        Self { writer, replies, reader, progress, address, asking, renewal, server, mark }
    }

    /// False if the connection has ended or another server has taken over.
    pub(crate) fn is_open(&self) -> bool {
        !self.reader.is_finished() && self.server.is_current()
    }

    /// The server that it is connected to.
    pub(crate) fn server(&mut self) -> &mut ServerOf {
        &mut self.server
    }

    /// The server's address, for errors.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends commands in one go. Returns the reply to each, or the server's refusal. Fails if the
    /// connection makes no progress for 5 s.
    pub(crate) async fn send(
        &mut self,
        commands: &[&ChannelCommand<'_>],
    ) -> Result<Vec<Result<Vec<u8>>>> {
        if let Some(command) = self.renewal.as_mut().and_then(Renewal::due) {
            let auth = ChannelCommand { name: "AUTH", channel: "", command };
            if let Some(Err(error)) = self.exchange(&[&auth]).await?.pop()
                && let Some(renewal) = &self.renewal
            {
                renewal.refused(&self.address, error);
            }
        }
        if !self.asking {
            return self.exchange(commands).await;
        }
        let command = redis::cmd("ASKING");
        let asking = ChannelCommand { name: "ASKING", channel: "", command };
        let all: Vec<_> = commands.iter().flat_map(|command| [&asking, *command]).collect();
        Ok(self.exchange(&all).await?.into_iter().skip(1).step_by(2).collect())
    }

    /// Checks that the server answers. A refusal is an answer too.
    pub(crate) async fn ping(&mut self) -> Result<()> {
        let ping = ChannelCommand { name: "PING", channel: "", command: redis::cmd("PING") };
        self.send(&[&ping]).await.map(drop)
    }

    async fn exchange(&mut self, commands: &[&ChannelCommand<'_>]) -> Result<Vec<Result<Vec<u8>>>> {
        let Self { writer, replies, progress, address, mark, .. } = self;
        let mut bytes = Vec::new();
        for ChannelCommand { command, .. } in commands {
            command.write_packed_command(&mut bytes);
        }
        let work = async {
            writer.write_all(&bytes).await?;
            writer.flush().await?;
            let mut all = Vec::with_capacity(commands.len());
            for ChannelCommand { name, channel, .. } in commands {
                let reply = loop {
                    let reply = replies.recv().await.ok_or(std::io::ErrorKind::UnexpectedEof)?;
                    if reply[0] != *mark || confirms(&reply, name, channel) {
                        break reply;
                    }
                };
                all.push(match reply.trim_ascii_end() {
                    [b'-', words @ ..] => {
                        let words = String::from_utf8_lossy(words);
                        Err(Error::from_reply(name, channel, address, &words))
                    }
                    _ => Ok(reply),
                });
            }
            Ok(all)
        };
        let name = commands.first().map_or("", |command| command.name);
        let lost = |error: std::io::Error| Error::Connection {
            address: address.clone(),
            reason: error.to_string(),
        };
        progress.limited(name, address, ANSWER_LIMIT, work).await?.map_err(lost)
    }
}

impl Drop for PushConnection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads until the connection ends. Passes on messages, and all other values as replies.
async fn read(
    mut socket: ReadHalf<Watched>,
    mark: u8,
    replies: &mpsc::UnboundedSender<Vec<u8>>,
    on_push: &impl Fn(Push<'_>),
) -> std::result::Result<(), Odd> {
    let mut buffer = Vec::new();
    let mut walk = Walk::new(1);
    loop {
        buffer.reserve(READ);
        if socket.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return Ok(());
        }
        let mut rest = buffer.as_slice();
        while let Some(end) = walk.go_on(rest)? {
            let (value, behind) = rest.split_at(end);
            if !pass_on(value, mark, on_push)? {
                // An error means that the connection is being dropped.
                let _ = replies.send(value.to_vec());
            }
            walk = Walk::new(1);
            rest = behind;
        }
        let taken = buffer.len() - rest.len();
        buffer.drain(..taken);
        if buffer.is_empty() {
            // A large message leaves no memory behind that nobody counts.
            buffer.shrink_to(2 * READ);
        }
    }
}

/// Passes on what the server has sent by itself. False if it may be the reply to a command.
fn pass_on(value: &[u8], mark: u8, on_push: &impl Fn(Push<'_>)) -> std::result::Result<bool, Odd> {
    if value[0] != mark {
        return Ok(false);
    }
    let mut values = Values(value);
    values.array()?;
    let kind = values.string()?;
    let is_message = matches!(kind, b"message" | b"smessage");
    if is_message || kind == b"sunsubscribe" {
        // This node's channels are all text.
        let Ok(channel) = std::str::from_utf8(values.string()?) else { return Ok(true) };
        on_push(if is_message {
            Push::Message { channel, payload: values.string()? }
        } else {
            Push::Unsubscribed { channel }
        });
    }
    Ok(is_message)
}

/// Whether a value in the form of a message is the server's reply to this command.
fn confirms(value: &[u8], name: &str, channel: &str) -> bool {
    let mut values = Values(value);
    let kind = values.array().and_then(|_| values.string());
    match kind {
        Ok(b"pong") => name == "PING",
        Ok(kind) => {
            kind.eq_ignore_ascii_case(name.as_bytes()) && values.string() == Ok(channel.as_bytes())
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::testing::reply::{bytes, error, int, ok, push, text};

    /// What came by itself.
    type Pushed = Arc<Mutex<Vec<String>>>;

    fn raw() -> (RawConnection, DuplexStream, Pushed) {
        let (ours, theirs) = duplex(1 << 20);
        (RawConnection::new(Box::new(ours), "a:1".to_owned()), theirs, Pushed::default())
    }

    fn note(pushed: &Pushed) -> impl Fn(Push<'_>) + Send + Sync + 'static {
        let pushed = pushed.clone();
        move |push| {
            let line = match push {
                Push::Message { channel, payload } => format!("{channel}: {}", payload.len()),
                Push::Unsubscribed { channel } => format!("no {channel}"),
                Push::Ended => "end".to_owned(),
            };
            pushed.lock().unwrap().push(line);
        }
    }

    fn message(channel: &str, payload: &[u8]) -> Vec<u8> {
        push(&[text("smessage"), text(channel), bytes(payload)])
    }

    fn subscription(kind: &str, channel: &str) -> Vec<u8> {
        push(&[text(kind), text(channel), int(1)])
    }

    #[tokio::test]
    async fn replies_and_what_comes_by_itself_are_told_apart_in_any_pieces() {
        let large = vec![b'\n'; 10 * READ];
        let sent = [
            message("a", b"1"),
            error("NOPERM no"),
            // The slot has moved, and nobody has asked for that.
            subscription("sunsubscribe", "b"),
            message("a", &large),
            subscription("ssubscribe", "b"),
            // What this package does not ask for.
            push(&[text("invalidate"), text("key")]),
            int(5),
            message("a", b""),
        ]
        .concat();
        let commands = [("SPUBLISH", "a"), ("SSUBSCRIBE", "b"), ("SPUBLISH", "b")]
            .map(|(name, channel)| ChannelCommand::new(name, channel));
        for size in [1, 7, sent.len()] {
            let (raw, mut server, pushed) = raw();
            let mut connection = PushConnection::new(raw, b'>', note(&pushed));
            let work = async {
                for piece in sent.chunks(size) {
                    server.write_all(piece).await.unwrap();
                }
            };
            let commands: Vec<_> = commands.iter().collect();
            let (replies, ()) = tokio::join!(connection.send(&commands), work);
            let replies = replies.unwrap();
            assert!(matches!(&replies[0], Err(Error::Refused { command: "SPUBLISH", .. })));
            assert_eq!(replies[1].as_ref().unwrap(), &subscription("ssubscribe", "b"));
            assert_eq!(replies[2].as_ref().unwrap(), &int(5));
            drop(server);
            (&mut connection.reader).await.unwrap();
            let lost = connection.send(&commands).await;
            assert!(matches!(lost, Err(Error::Connection { .. })));
            let large = format!("a: {}", large.len());
            assert_eq!(*pushed.lock().unwrap(), ["a: 1", "no b", &large, "a: 0", "end"]);
        }
    }

    #[tokio::test]
    async fn with_asking_each_command_follows_one() {
        let (mut raw, mut server, pushed) = raw();
        raw.prefix_with_asking();
        let mut connection = PushConnection::new(raw, b'>', note(&pushed));
        let replies = [ok(), int(1), error("ERR"), subscription("ssubscribe", "a")].concat();
        server.write_all(&replies).await.unwrap();
        let commands = ["SPUBLISH", "SSUBSCRIBE"].map(|name| ChannelCommand::new(name, "a"));
        let replies = connection.send(&commands.iter().collect::<Vec<_>>()).await.unwrap();
        let replies: Vec<_> = replies.into_iter().map(Result::unwrap).collect();
        assert_eq!(replies, [int(1), subscription("ssubscribe", "a")]);
        let mut written = vec![0; 1_000];
        let length = server.read(&mut written).await.unwrap();
        let asked = String::from_utf8_lossy(&written[..length]).matches("ASKING").count();
        assert_eq!(asked, 2);
    }
}
