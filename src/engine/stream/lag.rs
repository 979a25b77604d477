//! How far the reader is behind the stream. Compares what the writer's last check has shown with
//! the reader's position at the moment when somebody asks.

use std::time::Duration;

use tokio::time::Instant;

use super::Ends;
use crate::engine::wire::EntryId;

/// What is known of the stream.
#[derive(Debug)]
pub(crate) struct Lag {
    seen: Option<Seen>,
    /// How many entries of the stream we have not read and never will. All others that it has had
    /// are either read or still to be read. The number is exact if, at the check, we had read up to
    /// the last entry or none of those that the stream holds. Otherwise it is a lower bound.
    left_out: Option<i64>,
    /// When we had last read everything. At the start we have, since the first position is the
    /// stream's tail.
    caught_up: Instant,
    /// When Redis last replied to the reader.
    heard: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    asked: Instant,
    first: EntryId,
    last: EntryId,
    length: Option<u64>,
    added: Option<u64>,
}

/// No stream, or an empty one.
const EMPTY: Ends =
    Ends { first: EntryId::ZERO, last: EntryId::ZERO, length: Some(0), added: None };

impl Lag {
    /// Nothing is known of the stream yet.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { seen: None, left_out: None, caught_up: now, heard: now }
    }

    /// The stream's first entry, as of the last check.
    pub(crate) fn first(&self) -> EntryId {
        self.seen.map_or(EntryId::ZERO, |seen| seen.first)
    }

    /// Whether, as of the last check, the entries behind `position` that come next are trimmed.
    pub(crate) fn is_trimmed_behind(&self, position: EntryId) -> bool {
        position > EntryId::ZERO
            && self.seen.is_some_and(|seen| seen.first > position && seen.last > position)
    }

    /// Notes that Redis has replied to the reader.
    pub(crate) fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// How long ago Redis last replied to the reader.
    pub(crate) fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Notes that this is another stream from now on, or that the reader starts over.
    pub(crate) fn start_over(&mut self) {
        self.left_out = None;
    }

    /// Takes the stream's state, which Redis was asked for at `asked`; `None` if it is empty.
    /// `position` and `read` (a number of entries) are how far we have read by now.
    pub(crate) fn observe(
        &mut self,
        ends: Option<Ends>,
        asked: Instant,
        position: EntryId,
        read: u64,
    ) {
        let Ends { first, last, length, added } = ends.unwrap_or(EMPTY);
        if self.seen.and_then(|seen| seen.added).zip(added).is_some_and(|(then, now)| now < then) {
            self.start_over();
        }
        self.seen = Some(Seen { asked, first, last, length, added });
        if position >= last {
            self.caught_up = self.caught_up.max(asked);
        }
        let Some((added, length)) = added.zip(length) else { return };
        let not_read = added as i64 - read as i64;
        let at_least = if position >= last { not_read } else { not_read - length as i64 };
        let is_exact = position == last || position < first;
        self.left_out = Some(match self.left_out {
            Some(left_out) if !is_exact => left_out.max(at_least),
            _ => at_least,
        });
    }

    /// How many entries we have not read yet; `None` if the server does not report its count.
    pub(crate) fn entries(&self, position: EntryId, read: u64) -> Option<u64> {
        let Seen { last, length, added, .. } = self.seen?;
        if length == Some(0) {
            return Some(0);
        }
        let unread = added? as i64 - read as i64 - self.left_out?;
        Some(if position >= last { 0 } else { unread.max(0).cast_unsigned() })
    }

    /// How much older the entry at our position is than the stream's last entry; zero if we have
    /// read everything. Never more than the time since we had last read everything: after a quiet
    /// night the entry at our position is old, although we are not late.
    pub(crate) fn time(&self, position: EntryId) -> Option<Duration> {
        let Seen { asked, first, last, .. } = self.seen?;
        if position >= last {
            return Some(Duration::ZERO);
        }
        let by_ids = Duration::from_millis(last.ms - position.max(first).ms.min(last.ms));
        Some(by_ids.min(asked.saturating_duration_since(self.caught_up)))
    }

    /// How many entries the stream has; `None` if the server does not report it.
    pub(crate) fn length(&self) -> Option<u64> {
        self.seen?.length
    }
}

impl Default for Lag {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    /// A stream that has had `added` entries, of which `length` are left, up to the ID `last`.
    fn stream(first: u64, last: u64, length: u64, added: u64) -> Option<Ends> {
        Some(Ends { first: id(first), last: id(last), length: Some(length), added: Some(added) })
    }

    fn observe(lag: &mut Lag, ends: Option<Ends>, position: u64, read: u64) -> Option<u64> {
        lag.observe(ends, Instant::now(), id(position), read);
        lag.entries(id(position), read)
    }

    #[tokio::test(start_paused = true)]
    async fn counts_what_is_not_read_yet_and_comes_back_to_zero() {
        let mut lag = Lag::new();
        assert_eq!(lag.entries(id(0), 0), None, "nothing was seen");
        // The stream had 500 entries before we started.
        assert_eq!(observe(&mut lag, stream(1, 500, 500, 500), 500, 0), Some(0));
        assert_eq!(observe(&mut lag, stream(1, 900, 900, 900), 600, 100), Some(300));
        // Between two checks the number falls as we read.
        assert_eq!(lag.entries(id(800), 300), Some(100));
        assert_eq!(lag.entries(id(900), 400), Some(0));
        assert_eq!(lag.entries(id(950), 450), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_trimmed_unread_is_not_waited_for() {
        let mut lag = Lag::new();
        observe(&mut lag, stream(1, 500, 500, 500), 500, 0);
        // We have read none of the entries that it holds, and 400 more were trimmed.
        assert_eq!(observe(&mut lag, stream(900, 1_000, 100, 1_000), 500, 0), Some(100));
        assert_eq!(lag.entries(id(950), 50), Some(50));
        // Redis trimmed past us, and we read on, between two checks: at most what the stream holds.
        assert_eq!(observe(&mut lag, stream(4_900, 5_000, 100, 5_000), 4_950, 150), Some(100));
        assert_eq!(lag.entries(id(4_960), 160), Some(90));
        assert_eq!(observe(&mut lag, stream(4_900, 5_000, 100, 5_000), 5_000, 200), Some(0));
        assert_eq!(observe(&mut lag, stream(4_900, 5_010, 110, 5_010), 5_000, 200), Some(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_never_stands_still_is_not_behind() {
        let mut lag = Lag::new();
        // We have also read entries that came in after the server replied.
        assert_eq!(observe(&mut lag, stream(1, 500, 500, 500), 510, 10), Some(0));
        assert_eq!(observe(&mut lag, stream(1, 600, 600, 600), 620, 120), Some(0));
        // Too high by the entries that came in meanwhile, but never too low.
        assert_eq!(observe(&mut lag, stream(1, 900, 900, 900), 620, 120), Some(290));
        assert_eq!(lag.entries(id(900), 400), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn another_stream_is_counted_anew() {
        let mut lag = Lag::new();
        observe(&mut lag, stream(1, 500, 500, 500), 500, 0);
        assert_eq!(observe(&mut lag, None, 500, 0), Some(0), "it is empty");
        assert_eq!(observe(&mut lag, stream(600, 610, 10, 10), 500, 0), Some(10));
        lag.start_over();
        assert_eq!(observe(&mut lag, stream(600, 700, 100, 1_000), 650, 40), Some(100));
        assert_eq!(observe(&mut lag, stream(600, 700, 100, 1_000), 700, 90), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_do_not_count_tell_the_time_only() {
        let mut lag = Lag::new();
        let ends = Some(Ends { first: id(1), last: id(500), length: Some(9), added: None });
        advance(Duration::from_secs(60)).await;
        assert_eq!(observe(&mut lag, ends, 300, 0), None);
        assert_eq!(lag.time(id(300)), Some(Duration::from_millis(200)));
        assert_eq!((lag.length(), lag.time(id(500))), (Some(9), Some(Duration::ZERO)));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_quiet_night_nothing_is_late() {
        let mut lag = Lag::new();
        let night = 8 * 3_600_000;
        advance(Duration::from_millis(night)).await;
        observe(&mut lag, stream(1, 500, 500, 500), 500, 0);
        advance(Duration::from_millis(700)).await;
        observe(&mut lag, stream(1, 500 + night, 501, 501), 500, 0);
        assert_eq!(lag.time(id(500)), Some(Duration::from_millis(700)));
        // Redis trimmed past us: the first entry is the oldest one that we have not read.
        advance(Duration::from_secs(10)).await;
        observe(&mut lag, stream(night, 500 + night, 2, 600), 500, 0);
        assert_eq!(lag.time(id(500)), Some(Duration::from_millis(500)));
    }
}
