//! Entry IDs: `<ms>-<sequence>`, ordered.

use std::fmt;
use std::str::FromStr;

/// ID of a stream entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryId {
    /// Server time in ms.
    pub(crate) ms: u64,
    /// Counts entries within the same ms.
    pub(crate) seq: u64,
}

impl EntryId {
    /// Lower than the ID of every entry.
    pub(crate) const ZERO: EntryId = EntryId { ms: 0, seq: 0 };

    /// The highest ID that there is.
    pub(crate) const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// True if a JS number (a double) holds both parts exactly. It does for all IDs that Redis
    /// makes from its clock.
    pub(crate) fn fits_doubles(self) -> bool {
        const LARGEST: u64 = (1 << 53) - 1;
        self.ms <= LARGEST && self.seq <= LARGEST
    }

    /// The lowest ID above this one. For exclusive ranges on servers that do not know `(`.
    pub(crate) fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { ms: self.ms, seq },
            None => Self { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }

    /// The highest ID below this one; `None` if there is none.
    pub(crate) fn before(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAnEntryId;

impl FromStr for EntryId {
    type Err = NotAnEntryId;

    /// Digits, a hyphen, digits, each number within 64 bits. It accepts nothing else, since clients
    /// send offsets.
    fn from_str(text: &str) -> Result<Self, NotAnEntryId> {
        Self::from_bytes(text.as_bytes()).ok_or(NotAnEntryId)
    }
}

impl EntryId {
    /// Parses an entry ID; `None` if `text` is not one.
    pub(crate) fn from_bytes(text: &[u8]) -> Option<Self> {
        let hyphen = text.iter().position(|byte| *byte == b'-')?;
        let (ms, seq) = (&text[..hyphen], &text[hyphen + 1..]);
        Some(Self { ms: digits(ms)?, seq: digits(seq)? })
    }
}

/// Parses a number without a sign; `None` if `text` is not one.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_redis_writes_and_nothing_else() {
        let id: EntryId = "1526919030474-55".parse().unwrap();
        assert_eq!(id, EntryId { ms: 1526919030474, seq: 55 });
        assert_eq!(id.to_string(), "1526919030474-55");
        for bad in ["", "-", "1", "1-", "-1", "+1-1", "1-+1", " 1-1", "1-1 ", "1-1-1", "1-x", "$"] {
            assert_eq!(bad.parse::<EntryId>(), Err(NotAnEntryId), "{bad:?}");
        }
        assert!("18446744073709551615-18446744073709551615".parse::<EntryId>().is_ok());
        assert!("18446744073709551616-0".parse::<EntryId>().is_err());
    }

    #[test]
    fn orders_by_number_not_by_text() {
        let id = |text: &str| text.parse::<EntryId>().unwrap();
        assert!(id("9-0") < id("10-0"));
        assert!(id("10-9") < id("10-10"));
    }

    #[test]
    fn next_carries_over() {
        assert_eq!(EntryId { ms: 1, seq: 1 }.next(), EntryId { ms: 1, seq: 2 });
        assert_eq!(EntryId { ms: 1, seq: u64::MAX }.next(), EntryId { ms: 2, seq: 0 });
    }
}
