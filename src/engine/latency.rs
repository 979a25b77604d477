//! A histogram of durations with fixed buckets, which counts without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The buckets' upper bounds in microseconds. One more bucket, without a bound, takes longer
/// durations.
const BOUNDS: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

#[derive(Debug, Default)]
pub(crate) struct Latencies {
    /// One count per bucket; the bucket without a bound is last.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LatencySnapshot {
    /// How many durations.
    pub(crate) count: u64,
    /// Their sum, in ms.
    pub(crate) sum_ms: f64,
    /// Pairs of an upper bound in ms and the number of durations up to it.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Latencies {
    /// Adds durations, with one update per bucket.
    pub(crate) fn add(&self, durations: impl IntoIterator<Item = Duration>) {
        let (mut counts, mut sum) = ([0; BOUNDS.len() + 1], 0);
        for duration in durations {
            let micros = duration.as_nanos().div_ceil(1_000) as u64;
            counts[BOUNDS.partition_point(|bound| *bound < micros)] += 1;
            sum += duration.as_nanos() as u64;
        }
        for (count, added) in self.counts.iter().zip(counts).filter(|(_, added)| *added > 0) {
            count.fetch_add(added, Ordering::Relaxed);
        }
        self.sum_nanos.fetch_add(sum, Ordering::Relaxed);
    }

    /// What was added so far.
    pub(crate) fn snapshot(&self) -> LatencySnapshot {
        let mut count = 0;
        let cumulated = self.counts.iter().map(|in_bucket| {
            count += in_bucket.load(Ordering::Relaxed);
            count
        });
        let bounds = BOUNDS.map(|micros| micros as f64 / 1_000.0).into_iter();
        let mut buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(cumulated).collect();
        buckets.pop();
        let sum_ms = self.sum_nanos.load(Ordering::Relaxed) as f64 / 1e6;
        LatencySnapshot { count, sum_ms, buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_took_no_longer_than_their_bound() {
        let latencies = Latencies::default();
        let micros = |micros: &[u64]| -> Vec<Duration> {
            micros.iter().copied().map(Duration::from_micros).collect()
        };
        latencies.add(micros(&[0, 250, 251, 10_000_000]));
        latencies.add(micros(&[10_000_001, 60_000_000]));
        latencies.add([Duration::from_nanos(250_001)]);
        let LatencySnapshot { count, sum_ms, buckets } = latencies.snapshot();
        assert_eq!(count, 7);
        assert!((sum_ms - 80_000.752_001).abs() < 1e-6, "{sum_ms}");
        assert_eq!(buckets.len(), BOUNDS.len());
        assert_eq!(buckets[..2], [(0.25, 2), (0.5, 4)]);
        assert_eq!(buckets[BOUNDS.len() - 2..], [(5_000.0, 4), (10_000.0, 5)]);
    }
}
