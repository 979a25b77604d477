//! Time between two attempts to connect: grows, has jitter, never gives up.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);

/// Counts failed attempts and says how long to wait before the next one.
#[derive(Debug)]
pub(crate) struct Backoff {
    fixed: Option<Duration>,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Doubling from 50 ms to `longest`, or always `fixed`, in ms, where the user set a number.
    pub(crate) fn new(fixed: Option<u64>, longest: Duration) -> Self {
        Self { fixed: fixed.map(Duration::from_millis), longest, next: FIRST }
    }

    /// Called when an attempt succeeded.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next delay, with up to a half taken off at random, so that the nodes of a cluster do
    /// not come back in step.
    pub(crate) fn delay(&mut self) -> Duration {
        let full = self.fixed.unwrap_or(self.next).max(Duration::from_millis(1));
        self.next = (self.next * 2).min(self.longest);
        full.mul_f64(1.0 - fastrand::f64() / 2.0)
    }

    /// Sleeps for [`Backoff::delay`].
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.delay()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_bound_and_starts_again_after_a_success() {
        let mut backoff = Backoff::new(None, Duration::from_secs(2));
        for full in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let delay = backoff.delay().as_millis();
            assert!((full / 2..=full).contains(&delay), "{delay} of {full}");
        }
        backoff.reset();
        assert!(backoff.delay() <= FIRST);
    }

    #[test]
    fn a_users_number_is_used_as_it_is() {
        let mut backoff = Backoff::new(Some(10), Duration::from_secs(2));
        for _ in 0..5 {
            assert!(backoff.delay() <= Duration::from_millis(10));
        }
    }
}
