//! How many entries to ask for or to send at a time. The limit is not known: the link may be slow,
//! or the server may limit its output buffers. If a connection breaks, the number is halved, so
//! that nothing is repeated for ever in the same way.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::error::Error;

/// A number of entries. It is halved if a connection breaks over them, and doubled if they arrive.
#[derive(Debug)]
pub(crate) struct PageSize {
    now: AtomicUsize,
    largest: usize,
}

impl PageSize {
    pub(crate) fn new(largest: usize) -> Self {
        Self { now: AtomicUsize::new(largest), largest }
    }

    /// How many entries to ask for or to send now, at least 1.
    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// Notes that this number of entries arrived.
    pub(crate) fn worked(&self) {
        self.now.store(self.now().saturating_mul(2).min(self.largest), Ordering::Relaxed);
    }

    /// Notes that the connection broke over `tried` entries, or that nothing arrived in time. If
    /// several tasks tried the same number at once, it is halved once.
    pub(crate) fn broke(&self, tried: usize) {
        self.now.store(self.now().min(tried / 2).max(1), Ordering::Relaxed);
    }

    /// Notes that a request for `tried` entries has failed. If the connection broke or nothing
    /// arrived in time, they were too many for the link or for the server's output buffer limit.
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
