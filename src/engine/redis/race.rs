//! Starts several attempts at the same thing, staggered. An attempt that hangs delays no other.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

/// After this time without a result the next attempt starts as well.
const STAGGER: Duration = Duration::from_millis(300);

/// Tries the first candidate. Tries the next one as well when an attempt fails or takes longer than
/// [`STAGGER`], until one succeeds. Drops the attempts that are still running then. `Err` holds all
/// failures, in the order in which they came.
pub(super) async fn race<C, T, E, F>(
    candidates: impl IntoIterator<Item = C>,
    attempt: impl Fn(C) -> F,
) -> Result<T, Vec<E>>
where
    T: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut candidates = candidates.into_iter();
    let (mut attempts, mut failures) = (JoinSet::new(), Vec::new());
    loop {
        let is_last = match candidates.next() {
            Some(candidate) => {
                attempts.spawn(attempt(candidate));
                false
            }
            None => true,
        };
        let ended = if is_last {
            attempts.join_next().await
        } else {
            timeout(STAGGER, attempts.join_next()).await.unwrap_or_default()
        };
        match ended {
            Some(Ok(Ok(value))) => return Ok(value),
            Some(Ok(Err(failure))) => failures.push(failure),
            None if is_last => return Err(failures),
            // The attempt takes long or has panicked.
            None | Some(Err(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_holds_up_nobody() {
        let started = Instant::now();
        let won = race([false, true], |answers| async move {
            if answers { Ok::<_, ()>(answers) } else { pending().await }
        });
        assert_eq!(won.await, Ok(true));
        assert_eq!(started.elapsed(), STAGGER);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_may_still_win() {
        let won = race([2, 100], |staggers| async move {
            sleep(STAGGER * staggers).await;
            Ok::<_, ()>(staggers)
        });
        assert_eq!(won.await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_makes_way_at_once() {
        let started = Instant::now();
        let attempt = |number| async move { if number == 3 { Ok(number) } else { Err(number) } };
        assert_eq!(race([1, 2, 3], attempt).await, Ok(3));
        assert_eq!(race([1, 2], attempt).await, Err(vec![1, 2]));
        assert_eq!(race([], attempt).await, Err(Vec::new()));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
