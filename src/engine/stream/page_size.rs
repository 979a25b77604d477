//! How much is asked for, or sent, at a time over a link whose limits nobody knows: a slow link, or an
//! output buffer limit of the server. What was too much once is halved, so that nothing is tried in
//! the same way for ever.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::error::Error;

/// A number of entries: halved when a connection broke over them, doubled when they came through.
#[derive(Debug)]
pub(crate) struct PageSize {
    now: AtomicUsize,
    largest: usize,
}

impl PageSize {
    /// Starts with the largest number.
    pub(crate) fn new(largest: usize) -> Self {
        Self { now: AtomicUsize::new(largest), largest }
    }

    /// How many entries to take now, at least 1.
    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// So many entries came through.
    pub(crate) fn worked(&self) {
        self.now.store(self.now().saturating_mul(2).min(self.largest), Ordering::Relaxed);
    }

    /// The connection broke over `tried` entries, or nothing came in time. Several who have tried the
    /// same at once have found out one thing.
    pub(crate) fn broke(&self, tried: usize) {
        self.now.store(self.now().min(tried / 2).max(1), Ordering::Relaxed);
    }

    /// A request for `tried` entries has failed: they were too much for the link, or for what the
    /// server lets a client wait for, if the connection broke or nothing came in time.
    pub(crate) fn failed(&self, tried: usize, error: &Error) {
        if matches!(error, Error::Connection { .. } | Error::Timeout { .. }) {
            self.broke(tried);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_down_to_one_and_grows_back() {
        let size = PageSize::new(1_000);
        let after = |change: fn(&PageSize)| {
            change(&size);
            size.now()
        };
        let down: Vec<usize> = (0..11).map(|_| after(|size| size.broke(size.now()))).collect();
        assert_eq!(down, [500, 250, 125, 62, 31, 15, 7, 3, 1, 1, 1]);
        let up: Vec<usize> = (0..11).map(|_| after(PageSize::worked)).collect();
        assert_eq!(up, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000, 1_000]);
        size.broke(60);
        size.broke(60);
        assert_eq!(size.now(), 30, "half of what was tried");
    }
}
