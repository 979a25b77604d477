//! The records of many connected clients, written or taken away together: a command of its own for
//! each would take several times the CPU, and many clients connect, or are gone, at once.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use redis::Cmd;

use super::KEY_IN_WORDS;
use super::commands::over;
use super::record::{Holder, RECORD_LIFE};
use super::save::{Save, What};
use super::store::Store;
use crate::engine::error::{Error, Result};
use crate::engine::redis::{ANSWER_LIMIT, Group, GroupSent};

/// A save and its result: who has the client.
pub(super) type Saved = (Save, Result<Holder>);

impl Store {
    /// Writes records of connected clients, and takes those away of clients that are gone for good.
    pub(super) async fn save_together(&self, saves: Vec<Save>) -> Vec<Saved> {
        let groups = saves.iter().map(|save| {
            let commands = self.commands(save);
            Group { key: save.keys.ended.clone(), commands }
        });
        let groups = groups.collect();
        let (gone, connected): (Vec<_>, Vec<_>) = saves.iter().partition(|save| save.is_left());
        let (answers, connected, gone) = tokio::join!(
            self.pool().send_groups(ANSWER_LIMIT, "HSET", KEY_IN_WORDS, groups),
            self.index().connected(&connected),
            self.index().all_left(&gone),
        );
        let indexed = |save: &Save| if save.is_left() { gone.clone() } else { connected.clone() };
        let (mut saved, mut rest) = (Vec::with_capacity(saves.len()), Vec::new());
        for (save, GroupSent { answers, was_sent }) in saves.into_iter().zip(answers) {
            save.has_record.fetch_or(was_sent, Ordering::Relaxed);
            match answers {
                Ok(answers) if !save.was_gone(&answers) => {
                    let result = indexed(&save).map(|()| Holder::ThisNode);
                    saved.push((save, result));
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
            let result = indexed(&save).and(result);
            (save, result)
        });
        saved.extend(join_all(rest).await);
        saved
    }

    fn commands(&self, save: &Save) -> Vec<Cmd> {
        match &save.what {
            What::Live { session, keep, .. } if self.has_records() => {
                self.record(&save.keys.live, save.generation, session, *keep)
            }
            What::Left if self.has_records() => over(&save.keys.live, save.generation, RECORD_LIFE),
            _ => Vec::new(),
        }
    }
}

/// Whether the save is tried again without others: another server has the key, or Redis forbids a
/// command. Nothing was written.
fn is_for_itself(error: &Error) -> bool {
    matches!(error, Error::Moved { .. }) || error.is_unavailable_command()
}
