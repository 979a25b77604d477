//! Which stream a namespace goes to, with `streamCount` > 1.

/// Upstream's hash: 31-multiplier over UTF-16 units in 32-bit signed arithmetic. The remainder is
/// taken non-negative: upstream's is signed, so that namespaces with a negative hash go to a
/// stream that no node reads (see `docs/architecture.md`).
pub fn stream_index(nsp: &str, count: u32) -> usize {
    if count <= 1 {
        return 0;
    }
    let hash = nsp
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    i64::from(hash).rem_euclid(i64::from(count)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_upstream_where_its_hash_is_not_negative() {
        // 47 is the hash of "/".
        assert_eq!(stream_index("/", 4), 47 % 4);
        assert_eq!(stream_index("/", 1), 0);
        // What JS computes for "/chat".
        assert_eq!(stream_index("/chat", 5), 46_457_863 % 5);
    }

    #[test]
    fn a_negative_hash_still_gives_a_stream_that_is_read() {
        for nsp in ["/notifications", "/dashboard", "/é€😀"] {
            for count in 2..9 {
                assert!(stream_index(nsp, count) < count as usize);
            }
        }
    }
}
