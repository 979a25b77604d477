//! PUB/SUB with one server: one connection in RESP3, or two if the server knows only RESP2.

use redis::{Cmd, Pipeline, Value};

use crate::engine::error::{Error, Result};
use crate::engine::redis::{Commands, Connection, ServerOf, Subscriber};

/// An open PUB/SUB connection.
pub(super) enum PubSubConnection {
    /// Subscriptions, messages and commands, in RESP3.
    One(Connection),
    /// In RESP2 a subscribed connection takes no other commands. If the subscriber ends, both end.
    /// The server may close the other connection while it is idle.
    Two {
        /// Subscriptions and messages.
        subscriber: Subscriber,
        /// Everything else.
        commands: Connection,
    },
}

impl PubSubConnection {
    /// False if it has to be made again.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            PubSubConnection::One(connection) => connection.is_open(),
            PubSubConnection::Two { subscriber, .. } => subscriber.is_open(),
        }
    }

    /// The server that it is connected to.
    pub(crate) fn server(&mut self) -> &mut ServerOf {
        match self {
            PubSubConnection::One(connection)
            | PubSubConnection::Two { commands: connection, .. } => connection.server(),
        }
    }

    /// The server's address, for errors.
    pub(crate) fn address(&self) -> &str {
        match self {
            PubSubConnection::One(connection) => connection.address(),
            PubSubConnection::Two { subscriber, .. } => subscriber.address(),
        }
    }

    /// For commands other than subscriptions.
    pub(crate) fn commands(&self) -> Commands {
        match self {
            PubSubConnection::One(connection)
            | PubSubConnection::Two { commands: connection, .. } => connection.commands(),
        }
    }

    /// Sends commands, each for a channel. Returns for each command the server's refusal, if any.
    pub(crate) async fn send(
        &self,
        name: &'static str,
        commands: &[&(&str, Cmd)],
    ) -> Result<Vec<Option<Error>>> {
        if let PubSubConnection::Two { subscriber, .. } = self {
            let channels: Vec<&str> = commands.iter().map(|(channel, _)| *channel).collect();
            match name {
                "SUBSCRIBE" => return subscriber.subscribe(&channels).await,
                "UNSUBSCRIBE" => return subscriber.unsubscribe(&channels).await,
                _ => {}
            }
        }
        let mut pipeline = Pipeline::with_capacity(commands.len());
        pipeline.ignore_errors();
        for (_, command) in commands {
            pipeline.add_command(command.clone());
        }
        let mut connection = self.commands();
        let key = commands.first().map_or("", |(channel, _)| *channel);
        let replies = connection.send_all(name, key, &pipeline).await?;
        let sort = |((channel, _), reply): (&&(&str, Cmd), Value)| match reply {
            Value::ServerError(error) => Some(connection.error_reply(name, channel, error)),
            _ => None,
        };
        Ok(commands.iter().zip(replies).map(sort).collect())
    }

    /// Makes sure that the server answers. On a connection in RESP3 the usual commands show that.
    /// With sharded PUB/SUB there are few of them, so this sends one.
    pub(crate) async fn check(&self, sharded: bool) -> Result<()> {
        match self {
            PubSubConnection::Two { subscriber, .. } => subscriber.check().await,
            PubSubConnection::One(connection) if sharded => {
                // A command for which the user has permission.
                let mut command = redis::cmd("PUBSUB");
                command.arg("SHARDNUMSUB");
                match connection.commands().send("PUBSUB", "", &command).await {
                    Err(error) if !error.connection_survives() => Err(error),
                    _ => Ok(()),
                }
            }
            PubSubConnection::One(_) => Ok(()),
        }
    }
}
