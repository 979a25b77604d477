//! A connection for subscriptions in RESP2, for servers that do not know RESP3. Once it has
//! subscribed, it takes no other commands.

use futures_util::StreamExt;
use futures_util::future::join_all;
use redis::aio::{PubSub, PubSubSink};
use redis::{PushInfo, PushKind, RedisConnectionInfo, RedisError, Value};
use tokio::task::JoinHandle;

use super::RawConnection;
use super::commands::limited;
use crate::engine::error::{Error, Result};
use crate::engine::redis::ANSWER_LIMIT;

/// An open connection. The socket closes when this is dropped.
pub(crate) struct Subscriber {
    sink: PubSubSink,
    address: String,
    /// Calls `on_push` with each message. Ends with the connection.
    messages: JoinHandle<()>,
}

impl Subscriber {
    /// Makes one of a connection that has logged in. Calls `on_push` with each message in RESP3's
    /// form, and when the connection ends. `on_push` must not block.
    pub(super) async fn new(
        connection: RawConnection,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Self> {
        let (socket, address) = connection.into_parts();
        // redis-rs must send no command of its own before the first SUBSCRIBE.
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let pub_sub = PubSub::new(&info, socket).await;
        let pub_sub = pub_sub.map_err(|e| Error::from_redis("SUBSCRIBE", "", &address, &e))?;
        let (sink, mut messages) = pub_sub.split();
        let messages = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let channel = message.get_channel_name().as_bytes();
                let data = [channel, message.get_payload_bytes()];
                let data = data.map(|bytes| Value::BulkString(bytes.to_vec()));
                on_push(PushInfo { kind: PushKind::Message, data: data.into() });
            }
            on_push(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
        });
        Ok(Self { sink, address, messages })
    }

    /// False if the connection has broken.
    pub(crate) fn is_open(&self) -> bool {
        !self.messages.is_finished()
    }

    /// The server's address, for error messages.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Subscribes to channels. Returns for each channel the server's refusal, if there was one.
    pub(crate) async fn subscribe(&self, channels: &[&str]) -> Result<Vec<Option<Error>>> {
        let answers = channels.iter().map(|channel| {
            let mut sink = self.sink.clone();
            async move { sink.subscribe(*channel).await }
        });
        let answers = limited("SUBSCRIBE", &self.address, ANSWER_LIMIT, join_all(answers)).await?;
        self.refusals("SUBSCRIBE", channels, answers)
    }

    /// Unsubscribes from channels. Returns the same as [`Subscriber::subscribe`].
    pub(crate) async fn unsubscribe(&self, channels: &[&str]) -> Result<Vec<Option<Error>>> {
        let answers = channels.iter().map(|channel| {
            let mut sink = self.sink.clone();
            async move { sink.unsubscribe(*channel).await }
        });
        let answers =
            limited("UNSUBSCRIBE", &self.address, ANSWER_LIMIT, join_all(answers)).await?;
        self.refusals("UNSUBSCRIBE", channels, answers)
    }

    /// Checks that the server answers. A refusal is an answer too.
    pub(crate) async fn check(&self) -> Result<()> {
        let mut sink = self.sink.clone();
        match limited("PING", &self.address, ANSWER_LIMIT, sink.ping::<Value>()).await? {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = Error::from_redis("PING", "", &self.address, &error);
                if error.connection_survives() { Ok(()) } else { Err(error) }
            }
        }
    }

    fn refusals(
        &self,
        name: &'static str,
        channels: &[&str],
        answers: Vec<std::result::Result<(), RedisError>>,
    ) -> Result<Vec<Option<Error>>> {
        let sort = |(channel, answer): (&&str, std::result::Result<(), RedisError>)| {
            let Err(error) = answer else { return Ok(None) };
            let error = Error::from_redis(name, channel, &self.address, &error);
            if error.connection_survives() { Ok(Some(error)) } else { Err(error) }
        };
        channels.iter().zip(answers).map(sort).collect()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // The task owns the stream of messages. Aborting it closes the connection.
        self.messages.abort();
    }
}
