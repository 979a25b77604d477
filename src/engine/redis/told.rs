//! Keeps an answer for the callers that need it at the same time.
//!
//! When a master dies, everybody who used it asks at once which server has taken over, and the
//! servers that could answer are busy already.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::error::{Error, Result};

/// An answer that differs from the one before is good for this time. Each time that it does not
/// differ, the time doubles, up to [`LONGEST_PAUSE`].
const FRESH: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(300);

/// What servers have answered to one question.
pub(super) struct Told<T> {
    /// What was said last, failures aside.
    known: Option<Arc<T>>,
    /// The last answer, and when it came.
    answer: Option<(Result<()>, Instant)>,
    /// Nobody asks again before this time has passed, however many callers find the answer wrong.
    pause: Duration,
}

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { known: None, answer: None, pause: FRESH }
    }
}

impl<T: PartialEq> Told<T> {
    /// The last answer that was no failure.
    pub(super) fn known(&self) -> Option<&T> {
        self.known.as_deref()
    }

    /// The last answer, unless it is older than `age`. `None` asks for the newest, which may still
    /// be up to 300 ms old.
    pub(super) fn at_most(&self, age: Option<Duration>) -> Option<Result<Arc<T>>> {
        let (answer, at) = self.answer.as_ref()?;
        let age = age.unwrap_or_default().max(self.pause);
        match (answer, &self.known) {
            (Ok(()), Some(known)) if at.elapsed() < age => Some(Ok(known.clone())),
            (Err(error), _) if at.elapsed() < self.pause => Some(Err(error.clone())),
            _ => None,
        }
    }

    /// Stores an answer.
    pub(super) fn hear(&mut self, answer: Result<T>) -> Result<Arc<T>> {
        let is_new = answer.as_ref().is_ok_and(|answer| self.known() != Some(answer));
        self.pause = if is_new { FRESH } else { (self.pause * 2).min(LONGEST_PAUSE) };
        let answer = answer.map(|known| self.known.insert(Arc::new(known)).clone());
        self.answer = Some((answer.as_ref().map(drop).map_err(Error::clone), Instant::now()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const RECENT: Duration = Duration::from_secs(5);

    fn outage() -> Error {
        Error::Connection { address: "h:1".to_owned(), reason: "refused".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_need_an_answer_servers_are_asked_at_intervals() {
        let mut told = Told::default();
        assert!(told.at_most(None).is_none(), "nothing is known yet");
        told.hear(Ok("a")).unwrap();
        // While a master is down, many callers ask again and again.
        let mut asked = Vec::new();
        for ms in 0..3_000 {
            if told.at_most(None).is_none() {
                asked.push(ms);
                told.hear(Ok("a")).unwrap();
            }
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(asked[..3], [100, 300, 600]);
        assert_eq!(asked.len(), 10);
        // A change is returned at once. Another one may follow soon, so the pause is short again.
        told.hear(Ok("b")).unwrap();
        advance(FRESH).await;
        assert!(told.at_most(None).is_none());
        assert!(told.at_most(Some(RECENT)).is_some());
        told.hear(Err(outage())).unwrap_err();
        assert!(told.at_most(None).unwrap().is_err());
        assert_eq!(told.known(), Some(&"b"));
        advance(RECENT - FRESH).await;
        assert!(told.at_most(Some(RECENT)).is_none(), "failures do not last that long");
    }
}
