//! Names that no other node has.

use std::hash::{BuildHasher, RandomState};

/// 64 bits of the operating system's randomness. fastrand takes its seed from the clock: two
/// processes that started at the same instant had the same names, and each took the other's entries
/// for its own (in one of 60 runs of `__test__/chaos/order.test.js`).
pub(crate) fn random_name() -> u64 {
    // Each `RandomState` has keys of its own, from the operating system.
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let names: HashSet<u64> = (0..10_000).map(|_| random_name()).collect();
        assert_eq!(names.len(), 10_000);
    }
}
