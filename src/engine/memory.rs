//! What values take on the heap, as the allocator sees it: bounds in bytes count this.

/// The bytes that mimalloc gives for a request of this many. Its size classes rise by 16 bytes up to
/// 64, and then in four steps to each power of two.
pub(crate) fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=64 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)),
    }
}

/// The bytes of a buffer with this capacity.
pub(crate) fn buffer<T>(capacity: usize) -> usize {
    allocated(capacity * size_of::<T>())
}

/// The bytes of what an `Arc` points to.
pub(crate) fn shared(bytes: usize) -> usize {
    /// Both counters.
    const COUNTERS: usize = 2 * size_of::<usize>();
    allocated(COUNTERS + bytes)
}

/// The bytes of a hash table with this capacity: it has an eighth more places, and a byte for each.
pub(crate) fn table<K, V>(capacity: usize) -> usize {
    let places = if capacity < 8 { capacity + capacity.min(1) } else { capacity / 7 * 8 };
    allocated(places * (size_of::<(K, V)>() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes() {
        let classes = [0, 1, 9, 17, 64, 65, 80, 81, 128, 129, 161, 1_025].map(allocated);
        assert_eq!(classes, [0, 8, 16, 32, 64, 80, 80, 96, 128, 160, 192, 1_280]);
    }
}
