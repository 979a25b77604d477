//! Our own field of a stream entry, `origin`: which of our writers wrote it, and with which
//! sequence. Upstream ignores it.
//!
//! ```text
//! 1:ASNFZ4mrze8:42:2
//! │ │           │  └─ how many sequences before this one are unconfirmed, decimal; left out if none
//! │ │           └──── the sequence, decimal
//! │ └──────────────── the writer ID, 8 bytes in base64url without padding
//! └────────────────── the version
//! ```
//!
//! The field is for good: nodes of different versions of this package share a stream. A later
//! version may add parts behind a further colon, which this one ignores. If the first three parts
//! change their meaning, the version changes, and older nodes treat the entry as one of upstream.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::digits;

/// The field's name.
pub(crate) const ORIGIN: &str = "origin";

const VERSION: &[u8] = b"1";

/// Which of our writers wrote an entry, and with which sequence. The reader drops duplicates by
/// these two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Random, one per engine start and stream.
    pub(crate) writer: u64,
    /// Rises by one from entry to entry.
    pub(crate) seq: u64,
    /// Of how many sequences right before this one the writer did not know, when it sent this entry,
    /// whether they were written. It has given up their packets, or sends again, with other sequences,
    /// those that Redis has refused. So it may be no loss if they do not come.
    pub(crate) unconfirmed: u64,
}

impl Origin {
    /// What stands before the sequence in all entries of this writer.
    pub(crate) fn prefix(writer: u64) -> String {
        format!("1:{}:", URL_SAFE_NO_PAD.encode(writer.to_be_bytes()))
    }

    /// What stands behind the sequence.
    pub(crate) fn suffix(unconfirmed: u64) -> String {
        if unconfirmed == 0 { String::new() } else { format!(":{unconfirmed}") }
    }

    /// `None` if no node of ours has written this, or one of a later version.
    pub(crate) fn parse(field: &[u8]) -> Option<Self> {
        let mut parts = field.split(|byte| *byte == b':');
        if parts.next()? != VERSION {
            return None;
        }
        let mut writer = [0; 8];
        let length = URL_SAFE_NO_PAD.decode_slice(parts.next()?, &mut writer).ok()?;
        let seq = digits(parts.next()?)?;
        let unconfirmed = parts.next().and_then(digits).unwrap_or(0);
        (length == writer.len()).then(|| Self {
            writer: u64::from_be_bytes(writer),
            seq,
            unconfirmed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_writer_writes_is_read() {
        for writer in [0, 255, u64::MAX] {
            let field = |seq: u64| format!("{}{seq}", Origin::prefix(writer));
            for seq in [1, u64::MAX] {
                for unconfirmed in [0, 1, 1_000] {
                    let field = field(seq) + &Origin::suffix(unconfirmed);
                    let origin = Origin { writer, seq, unconfirmed };
                    assert_eq!(Origin::parse(field.as_bytes()), Some(origin));
                }
            }
            assert_eq!(field(42).len(), 16);
        }
    }

    #[test]
    fn later_versions_may_add_parts() {
        for (more, unconfirmed) in [(":3:of-later:versions", 3), ("::versions", 0), (":later", 0)] {
            let field = format!("1:AAAAAAAAAP8:7{more}");
            let origin = Origin { writer: 255, seq: 7, unconfirmed };
            assert_eq!(Origin::parse(field.as_bytes()), Some(origin), "{field}");
        }
        assert_eq!(Origin::parse(b"2:AAAAAAAAAP8:7"), None);
    }

    #[test]
    fn what_is_no_origin_is_ignored() {
        for odd in [
            "",
            "1",
            "1:",
            "1:AAAAAAAAAP8",
            "1:AAAAAAAAAP8:",
            "1:AAAAAAAAAP8:-7",
            "1:AAAAAAAAAP8:+7",
            "1:AAAAAAAAAP8:18446744073709551616",
            "1:AAAAAAAAAP8=:7",
            "1:AAAAAAAA:7",
            "1:AAAAAAAAAAAAAA:7",
            "1:********AP8:7",
            "01:AAAAAAAAAP8:7",
        ] {
            assert_eq!(Origin::parse(odd.as_bytes()), None, "{odd}");
        }
    }
}
