//! Reads replies: finds where they end, and reads their values directly from the bytes.

use crate::engine::wire::digits;

/// What is wrong with a reply.
pub(crate) type Odd = &'static str;

/// The first line of a value. For all but strings and arrays it is the whole value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head<'a> {
    Status,
    Number,
    /// An error reply, without its `-`.
    Error(&'a [u8]),
    /// This many bytes follow, and the end of a line; `None` is nil.
    String(Option<usize>),
    /// This many values follow; `None` is nil. In RESP3 also a map, or a push.
    Array(Option<usize>),
}

impl<'a> Head<'a> {
    /// Reads the line with which `bytes` begin. Returns the head and the line's length in bytes,
    /// its end included; `None` if the line is not complete yet.
    fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Odd> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\r') else { return Ok(None) };
        if bytes.get(end + 1) != Some(&b'\n') {
            return Ok(None);
        }
        let (kind, text) = bytes[..end].split_first().ok_or("an empty line")?;
        let head = match kind {
            b'+' | b'_' | b'#' | b',' => Head::Status,
            b':' => Head::Number,
            b'-' => Head::Error(text),
            b'$' | b'=' => Head::String(length(text)?),
            b'*' | b'>' | b'~' => Head::Array(length(text)?),
            b'%' => Head::Array(length(text)?.map(|pairs| pairs.saturating_mul(2))),
            _ => return Err("no reply of this protocol"),
        };
        Ok(Some((head, end + 2)))
    }
}

/// `None` for -1, which is nil.
fn length(text: &[u8]) -> Result<Option<usize>, Odd> {
    if text == b"-1" {
        return Ok(None);
    }
    let digits = digits(text).and_then(|number| usize::try_from(number).ok());
    digits.map(Some).ok_or("a length is no number")
}

/// Finds the end of replies without reading what they hold. When more bytes have come, it continues
/// from where it stopped.
pub(crate) struct Walk {
    /// The walk has passed all bytes before this offset.
    at: usize,
    /// The number of values that are still missing.
    values: usize,
}

impl Walk {
    /// Walks over this many replies.
    pub(crate) fn new(replies: usize) -> Self {
        Self { at: 0, values: replies }
    }

    /// The offset at which the replies end; `None` if they are not complete yet.
    pub(crate) fn go_on(&mut self, buffer: &[u8]) -> Result<Option<usize>, Odd> {
        while self.values > 0 {
            let Some((head, line)) = Head::read(&buffer[self.at..])? else { return Ok(None) };
            let after = self.at + line;
            let (next, values) = match head {
                Head::String(Some(length)) => (after.saturating_add(length).saturating_add(2), 0),
                Head::Array(Some(values)) => (after, values),
                _ => (after, 0),
            };
            if next > buffer.len() {
                return Ok(None);
            }
            self.at = next;
            self.values = (self.values - 1).checked_add(values).ok_or("too many values")?;
        }
        Ok(Some(self.at))
    }
}

/// Complete values, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a>(pub &'a [u8]);

impl<'a> Values<'a> {
    /// Reads the next line. [`Values::text`] then reads the bytes of a string; the values of an
    /// array are read one by one.
    pub(crate) fn head(&mut self) -> Result<Head<'a>, Odd> {
        let (head, line) = Head::read(self.0)?.ok_or("it is cut off")?;
        self.0 = &self.0[line..];
        Ok(head)
    }

    /// The bytes of a string whose head has been read.
    pub(crate) fn text(&mut self, length: usize) -> Result<&'a [u8], Odd> {
        let (text, rest) = self.0.split_at_checked(length).ok_or("a string is cut off")?;
        self.0 = rest.strip_prefix(b"\r\n").ok_or("a string does not end")?;
        Ok(text)
    }

    /// The length of an array, whose values come next; `None` if it is nil.
    pub(crate) fn array(&mut self) -> Result<Option<usize>, Odd> {
        match self.head()? {
            Head::Array(length) => Ok(length),
            _ => Err("no array where one is expected"),
        }
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Odd> {
        match self.head()? {
            Head::String(Some(length)) => self.text(length),
            _ => Err("no string where one is expected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offset at which a reply ends. The walk gets the reply byte by byte.
    fn end_of(reply: &[u8]) -> Result<Option<usize>, Odd> {
        let mut walk = Walk::new(1);
        for end in 0..=reply.len() {
            if let Some(end) = walk.go_on(&reply[..end])? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    #[test]
    fn finds_the_end_of_every_kind_of_reply() {
        for reply in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":12\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "$0\r\n\r\n",
            "$4\r\na\r\nb\r\n",
            "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            ">2\r\n$1\r\na\r\n_\r\n",
            "%1\r\n$1\r\na\r\n~2\r\n#t\r\n,1.5\r\n",
            "=5\r\ntxt:a\r\n",
        ] {
            let with_more = format!("{reply}+NEXT\r\n");
            assert_eq!(end_of(with_more.as_bytes()), Ok(Some(reply.len())), "{reply:?}");
        }
    }

    #[test]
    fn what_is_not_whole_is_waited_for_and_what_is_no_reply_is_refused() {
        assert_eq!(end_of(b"*2\r\n$1\r\na\r\n"), Ok(None));
        assert_eq!(end_of(b"$99999999999999\r\na"), Ok(None));
        for odd in ["\r\n", "?\r\n", "$x\r\n", "*-2\r\n", "%x\r\n"] {
            assert!(end_of(odd.as_bytes()).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn values_one_by_one() {
        let mut values = Values(b"*2\r\n$3\r\na\r\n\r\n:1\r\n-ERR no\r\n$-1\r\n$5\r\nshort\r");
        assert_eq!(values.array(), Ok(Some(2)));
        assert_eq!(values.string(), Ok(&b"a\r\n"[..]));
        assert_eq!(values.head(), Ok(Head::Number));
        assert_eq!(values.head(), Ok(Head::Error(b"ERR no")));
        assert!(values.string().is_err(), "nil");
        assert!(values.string().is_err(), "cut off");
        assert!(Values(b":1\r\n").array().is_err());
    }
}
