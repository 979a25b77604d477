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

/// So often the time doubles for which callers use what is known while servers do not answer.
const DOUBLINGS: u32 = 3;

/// What servers have answered to one question.
pub(super) struct Told<T> {
    /// What was said last, failures aside.
    known: Option<Arc<T>>,
    /// The last answer, and when it came.
    answer: Option<(Result<()>, Instant)>,
    /// Nobody asks again before this time has passed, however many callers find the answer wrong.
    pause: Duration,
    /// How many of the last answers were failures, one after the other.
    failures: u32,
}

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { known: None, answer: None, pause: FRESH, failures: 0 }
    }
}

impl<T: PartialEq> Told<T> {
    /// The last answer that was no failure.
    pub(super) fn known(&self) -> Option<&Arc<T>> {
        self.known.as_ref()
    }

    /// The last answer, unless it is time to ask again. It is at most 300 ms old.
    pub(super) fn newest(&self) -> Option<Result<Arc<T>>> {
        let (answer, at) = self.answer.as_ref()?;
        match (answer, &self.known) {
            _ if at.elapsed() >= self.pause => None,
            (Ok(()), Some(known)) => Some(Ok(known.clone())),
            (Err(error), _) => Some(Err(error.clone())),
            (Ok(()), None) => None,
        }
    }

    /// What is known, for callers that can do with something old. `None` if nothing is, or if it is
    /// time to ask again: after `age`, or, if what is known `is_wrong`, after the pause. With each
    /// failure this time doubles.
    pub(super) fn recent(&self, age: Duration, is_wrong: bool) -> Option<Arc<T>> {
        let (known, (_, at)) = (self.known.as_ref()?, self.answer.as_ref()?);
        let age = if is_wrong { self.pause } else { age };
        let age = age * 2_u32.pow(self.failures.min(DOUBLINGS));
        (at.elapsed() < age).then(|| known.clone())
    }

    /// Stores an answer.
    pub(super) fn hear(&mut self, answer: Result<T>) -> Result<Arc<T>> {
        let is_new = answer.as_ref().is_ok_and(|answer| self.known.as_deref() != Some(answer));
        self.failures = if answer.is_ok() { 0 } else { self.failures.saturating_add(1) };
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
        assert!(told.newest().is_none(), "nothing is known yet");
        told.hear(Ok("a")).unwrap();
        // While a master is down, many callers ask again and again.
        let mut asked = Vec::new();
        for ms in 0..3_000 {
            if told.newest().is_none() {
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
        assert!(told.newest().is_none());
        assert!(told.recent(RECENT, false).is_some() && told.recent(RECENT, true).is_none());
        told.hear(Err(outage())).unwrap_err();
        assert!(told.newest().unwrap().is_err());
        assert_eq!(told.known().map(|known| **known), Some("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_can_do_with_something_old_asks_less_and_less_often_while_nobody_answers() {
        let mut told = Told::default();
        told.hear(Err(outage())).unwrap_err();
        assert!(told.recent(RECENT, false).is_none(), "nothing is known");
        for is_wrong in [false, true] {
            told.hear(Ok("a")).unwrap();
            let mut waits = Vec::new();
            for _ in 0..5 {
                let before = Instant::now();
                while told.recent(RECENT, is_wrong).is_some() {
                    advance(Duration::from_millis(100)).await;
                }
                waits.push(before.elapsed().as_millis() / 100);
                told.hear(Err(outage())).unwrap_err();
            }
            let expected = if is_wrong { [3, 6, 12, 24, 24] } else { [50, 100, 200, 400, 400] };
            assert_eq!(waits, expected);
        }
    }
}
