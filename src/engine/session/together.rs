//! The records of many connected clients, written together: a command of its own for each would take
//! several times the CPU, and many clients connect at once.

use futures_util::future::join_all;
use redis::Cmd;

use super::KEY_IN_WORDS;
use super::record::Holder;
use super::save::{Save, What};
use super::store::Store;
use crate::engine::error::{Error, Result};
use crate::engine::redis::{ANSWER_LIMIT, Group};

/// A save and its result: who has the client.
pub(super) type Saved = (Save, Result<Holder>);

impl Store {
    /// Writes records of connected clients.
    pub(super) async fn save_together(&self, saves: Vec<Save>) -> Vec<Saved> {
        let groups = saves.iter().map(|save| {
            let commands = self.commands(save);
            Group { key: save.keys.ended.clone(), commands }
        });
        let groups = groups.collect();
        let (answers, indexed) = tokio::join!(
            self.pool().send_groups(ANSWER_LIMIT, "HSET", KEY_IN_WORDS, groups),
            self.index().connected(&saves),
        );
        let (mut saved, mut rest) = (Vec::with_capacity(saves.len()), Vec::new());
        for (save, answers) in saves.into_iter().zip(answers) {
            match answers {
                Ok(answers) if !save.was_gone(&answers) => {
                    saved.push((save, indexed.clone().map(|()| Holder::ThisNode)));
                }
                answers => rest.push((save, answers)),
            }
        }
        let rest = rest.into_iter().map(|(save, answers)| async {
            let result = match answers {
                Ok(_) => self.holder_now(&save).await,
                Err(error) if is_for_itself(&error) => self.save(&save).await,
                Err(error) => Err(error),
            };
            (save, indexed.clone().and(result))
        });
        saved.extend(join_all(rest).await);
        saved
    }

    fn commands(&self, save: &Save) -> Vec<Cmd> {
        match &save.what {
            What::Live { session, keep, .. } if self.has_records() => {
                self.record(&save.keys.live, save.generation, session, *keep)
            }
            _ => Vec::new(),
        }
    }
}

/// Whether the save is tried again without others: another server has the key, or Redis forbids a
/// command. Nothing was written.
fn is_for_itself(error: &Error) -> bool {
    matches!(error, Error::Moved { .. }) || error.is_unavailable_command()
}
