//! The time between two attempts to connect. It grows and has jitter. There is no last attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Backoff {
    fixed: Option<Duration>,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// The delay doubles from 50 ms to `longest`. If the user set a number, `fixed`, in ms, the
    /// delay is always that.
    pub(crate) fn new(fixed: Option<u64>, longest: Duration) -> Self {
        Self { fixed: fixed.map(Duration::from_millis), longest, next: FIRST }
    }

    /// Starts again from the first delay. Called when an attempt has succeeded.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next delay. A random part, up to a half, is taken off, so that many nodes do not
    /// reconnect at the same moment.
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
