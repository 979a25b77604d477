//! Names that no other node has.

use std::hash::{BuildHasher, RandomState};

/// 64 bits out of the operating system's randomness. fastrand's come from the clock: two processes
/// that started at the same instant had the same names, and each took what the other wrote for its
/// own (one in 60 of `__test__/chaos/order.test.js`).
pub(crate) fn random_name() -> u64 {
    // Each has keys of its own, which the operating system has given.
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
