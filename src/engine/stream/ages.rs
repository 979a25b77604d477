//! Which entries are older than the stream keeps them.
//!
//! Age is measured by the monotonic clock of this process, against entry IDs that Redis has given.
//! So neither this machine's date nor a jump of Redis's clock makes the writer trim too much.

use std::collections::VecDeque;
use tokio::time::Instant;

use crate::engine::options::Retention;
use crate::engine::wire::EntryId;

/// How many marks there are within the time that entries are kept. More would trim more exactly.
const MARKS: u32 = 32;

/// Knows which entries are older than `max_age`.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    /// From the oldest one that is needed to the latest one.
    marks: VecDeque<Mark>,
}

/// `last` was the stream's last entry, or an earlier one, at the moment `at`.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    last: EntryId,
    /// How many entries were counted up to `last`.
    count: u64,
}

impl Ages {
    /// Notes that the stream reaches to `last` now, after `count` entries. Returns the entry before
    /// which the stream may be trimmed, if there is one.
    pub(crate) fn trim_before(
        &mut self,
        retention: &Retention,
        last: EntryId,
        count: u64,
    ) -> Option<EntryId> {
        let max_age = retention.max_age?;
        let now = Instant::now();
        self.check(last);
        let is_due = self.marks.back().is_none_or(|mark| {
            let steps = u64::from(MARKS);
            now - mark.at >= max_age / MARKS
                && count.saturating_sub(mark.count) >= (retention.min_len / steps).max(1)
        });
        if is_due && last > EntryId::ZERO {
            self.marks.push_back(Mark { at: now, last, count });
        }
        let may_go = |mark: &Mark| {
            now - mark.at >= max_age && count.saturating_sub(mark.count) >= retention.min_len
        };
        while self.marks.get(1).is_some_and(may_go) {
            self.marks.pop_front();
        }
        self.marks.front().filter(|mark| may_go(mark)).map(|mark| mark.last)
    }

    /// Notes the ID of an entry that Redis has just given. If it is lower than an earlier one, this
    /// is another stream, or the server's clock went back: the marks hold no longer.
    pub(crate) fn check(&mut self, last: EntryId) {
        if self.marks.back().is_some_and(|mark| last < mark.last) {
            self.forget();
        }
    }

    /// Forgets all marks: the stream, or the server, is another one.
    pub(crate) fn forget(&mut self) {
        self.marks.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn keep(seconds: u64, min_len: u64) -> Retention {
        let max_age = Some(Duration::from_secs(seconds));
        Retention { max_len: 100_000, min_len, max_age, needed: None }
    }

    /// One entry per second, with IDs that have nothing to do with this machine's clock.
    async fn run(ages: &mut Ages, retention: &Retention, from: u64, to: u64) -> Option<EntryId> {
        let mut before = None;
        for n in from..=to {
            before = ages.trim_before(retention, id(n), n);
            advance(Duration::from_secs(1)).await;
        }
        before
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_time_may_go() {
        let (mut ages, retention) = (Ages::default(), keep(60, 0));
        assert_eq!(run(&mut ages, &retention, 1, 60).await, None);
        let before = run(&mut ages, &retention, 61, 200).await.unwrap();
        assert!((136..=140).contains(&before.ms), "{before}");
        assert!(ages.marks.len() <= MARKS as usize + 2, "{}", ages.marks.len());
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_number_is_kept_however_old_it_is() {
        let (mut ages, retention) = (Ages::default(), keep(60, 1_000));
        assert_eq!(run(&mut ages, &retention, 1, 1_000).await, None);
        let before = run(&mut ages, &retention, 1_001, 3_000).await.unwrap();
        assert!((1_900..=2_000).contains(&before.ms), "{before}");
        assert!(ages.marks.len() <= MARKS as usize + 2, "{}", ages.marks.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_ids_begin_again_is_not_trimmed_by_the_old_ones() {
        let (mut ages, retention) = (Ages::default(), keep(10, 0));
        assert!(run(&mut ages, &retention, 1_001, 1_100).await.is_some());
        ages.check(id(5));
        assert_eq!(run(&mut ages, &retention, 6, 15).await, None);
        assert!(run(&mut ages, &retention, 16, 30).await.unwrap() < id(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_of_redis_that_jumps_ahead_ages_nothing() {
        let (mut ages, retention) = (Ages::default(), keep(10, 0));
        run(&mut ages, &retention, 1, 8).await;
        assert_eq!(ages.trim_before(&retention, id(3_600_000), 9), None);
    }
}
