//! PUB/SUB with one server: one connection in RESP3, or two if the server knows only RESP2.

use crate::engine::error::Result;
use crate::engine::redis::{ChannelCommand, PushConnection};

/// An open PUB/SUB connection.
pub(super) enum PubSubConnection {
    /// Subscriptions, messages and commands, in RESP3.
    One(PushConnection),
    /// In RESP2 a subscribed connection takes no other commands. If the subscriber ends, both end.
    /// The server may close the other connection while it is idle.
    Two {
        /// Subscriptions and messages.
        subscriber: PushConnection,
        /// Everything else.
        commands: PushConnection,
    },
}

impl PubSubConnection {
    /// The connection that gets the messages.
    pub(crate) fn subscriber(&mut self) -> &mut PushConnection {
        match self {
            PubSubConnection::One(connection)
            | PubSubConnection::Two { subscriber: connection, .. } => connection,
        }
    }

    /// Sends commands. Returns the reply to each, or the server's refusal.
    pub(crate) async fn send(
        &mut self,
        commands: &[&ChannelCommand<'_>],
    ) -> Result<Vec<Result<Vec<u8>>>> {
        let subscribes = |command: &&ChannelCommand<'_>| command.name.ends_with("SUBSCRIBE");
        match self {
            PubSubConnection::Two { commands: connection, .. }
                if !commands.iter().any(subscribes) =>
            {
                connection.send(commands).await
            }
            _ => self.subscriber().send(commands).await,
        }
    }

    /// Makes sure that the server answers. On a connection in RESP3 the usual commands show that.
    /// With sharded PUB/SUB there are few of them, so this sends one.
    pub(crate) async fn check(&mut self, sharded: bool) -> Result<()> {
        match self {
            PubSubConnection::Two { subscriber, .. } => subscriber.ping().await,
            PubSubConnection::One(connection) if sharded => {
                // A command for which the user has permission.
                let mut command = redis::cmd("PUBSUB");
                command.arg("SHARDNUMSUB");
                let command = ChannelCommand { name: "PUBSUB", channel: "", command };
                // A refusal is an answer too.
                connection.send(&[&command]).await.map(drop)
            }
            PubSubConnection::One(_) => Ok(()),
        }
    }
}
