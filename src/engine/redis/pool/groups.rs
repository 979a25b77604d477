//! Commands for many keys at once: each server gets its part in one go.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value};

use super::{Pool, Target};
use crate::engine::error::{Error, Result};

/// Commands for one key.
pub(crate) struct Group {
    pub(crate) key: String,
    pub(crate) commands: Vec<Cmd>,
}

/// The answers to a group, or the first error among them.
type Answers = Result<Vec<Value>>;

/// What has become of a group.
pub(crate) struct GroupSent {
    pub(crate) answers: Answers,
    /// False if there was no connection to its server: nothing was executed.
    pub(crate) was_sent: bool,
}

impl GroupSent {
    fn failed(error: Error) -> Self {
        Self { answers: Err(error), was_sent: false }
    }
}

impl Pool {
    /// Sends each server its groups in one go. Returns the answers to each group. Follows no
    /// redirection: a group whose key is elsewhere fails with [`Error::Moved`], and none of its
    /// commands was executed. `name` and `key` only appear in errors.
    pub(crate) async fn send_groups(
        &self,
        limit: Duration,
        name: &'static str,
        key: &str,
        groups: Vec<Group>,
    ) -> Vec<GroupSent> {
        let mut answers: Vec<GroupSent> = Vec::with_capacity(groups.len());
        let mut places: HashMap<Target, Vec<usize>> = HashMap::new();
        let mut commands: HashMap<Target, Vec<Vec<Cmd>>> = HashMap::new();
        for (place, group) in groups.into_iter().enumerate() {
            // Replaced below, unless nobody knows the server.
            answers.push(match self.connector.target_of(&group.key).await {
                Ok(target) => {
                    places.entry(target.clone()).or_default().push(place);
                    commands.entry(target).or_default().push(group.commands);
                    GroupSent { answers: Ok(Vec::new()), was_sent: false }
                }
                Err(error) => GroupSent::failed(error),
            });
        }
        let sent = commands.into_iter().map(|(target, commands)| async move {
            let answers = self.send_to(&target, limit, name, key, commands).await;
            (target, answers)
        });
        for (target, of_target) in join_all(sent).await {
            let places = places.remove(&target).unwrap_or_default();
            for (place, of_group) in places.into_iter().zip(of_target) {
                answers[place] = of_group;
            }
        }
        answers
    }

    async fn send_to(
        &self,
        target: &Target,
        limit: Duration,
        name: &'static str,
        key: &str,
        groups: Vec<Vec<Cmd>>,
    ) -> Vec<GroupSent> {
        let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
        let commands = groups.into_iter().flatten();
        let (sent, was_sent) = match self.at(target).await {
            Ok(mut connection) => (connection.send_many(limit, name, key, commands).await, true),
            Err(error) => (Err(error), false),
        };
        let answers: Vec<Answers> = match sent {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                let mut next = |size| -> Vec<_> { answers.by_ref().take(size).collect() };
                sizes.into_iter().map(|size| next(size).into_iter().collect()).collect()
            }
            Err(error) => sizes.into_iter().map(|_| Err(error.clone())).collect(),
        };
        let errors = || answers.iter().filter_map(|answers| answers.as_ref().err());
        if errors().any(|error| !error.connection_survives()) {
            // What the connector knows of the slots is wrong, or soon will be.
            self.connector.forget();
        }
        // What is wrong with one key must not hide what is wrong with the server.
        let is_of_server = |error: &&Error| !matches!(error, Error::Moved { .. });
        if let Some(error) = errors().filter(is_of_server).min_by_key(|e| e.connection_survives()) {
            self.failed(target, error).await;
        }
        answers.into_iter().map(|answers| GroupSent { answers, was_sent }).collect()
    }
}
