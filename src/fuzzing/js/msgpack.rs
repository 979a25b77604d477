//! `decode` and `encode` of `@msgpack/msgpack`, as far as messages need them.

use super::{DEEPEST, Js, Parsed};

/// The value of one msgpack message, unless it is nested too deeply to be judged, or has strings
/// that are not UTF-8.
pub(crate) fn parse_msgpack(bytes: &[u8]) -> Parsed {
    let mut rest = Rest { bytes, is_odd: false };
    match rest.value(0) {
        // `decode` refuses bytes behind the message.
        Some(value) if rest.bytes.is_empty() => Parsed::Value(value),
        None if rest.is_odd => Parsed::Unjudged,
        _ => Parsed::Throws,
    }
}

/// The shortest msgpack of a value; `None` for a value that is not plain.
pub(crate) fn to_msgpack(value: &Js) -> Option<Vec<u8>> {
    let head = |short: u8, below: usize, long: u8, length: usize| match length {
        _ if length < below => vec![short + length as u8],
        _ => [&[long][..], &(length as u32).to_be_bytes()].concat(),
    };
    Some(match value {
        Js::Null => vec![0xc0],
        Js::Bool(is) => vec![0xc2 + u8::from(*is)],
        Js::Number(number) => [&[0xcb][..], &number.to_be_bytes()].concat(),
        Js::Bytes(bytes) => [head(0, 0, 0xc6, bytes.len()), bytes.clone()].concat(),
        Js::Odd => return None,
        Js::Text(units) => {
            let text = String::from_utf16(units).ok()?;
            [head(0xa0, 32, 0xdb, text.len()), text.into_bytes()].concat()
        }
        Js::Array(elements) => {
            let items: Option<Vec<_>> = elements.iter().map(to_msgpack).collect();
            [head(0x90, 16, 0xdd, elements.len()), items?.concat()].concat()
        }
        Js::Object(fields) => {
            let field = |(name, value): &(Vec<u16>, Js)| {
                Some([to_msgpack(&Js::Text(name.clone()))?, to_msgpack(value)?].concat())
            };
            let items: Option<Vec<_>> = fields.iter().map(field).collect();
            [head(0x80, 16, 0xdf, fields.len()), items?.concat()].concat()
        }
    })
}

struct Rest<'a> {
    bytes: &'a [u8],
    is_odd: bool,
}

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    /// A number of up to 8 bytes, big-endian.
    fn unsigned(&mut self, size: usize) -> Option<u64> {
        Some(self.take(size)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn value(&mut self, depth: usize) -> Option<Js> {
        if depth > DEEPEST {
            self.is_odd = true;
            return None;
        }
        let head = self.take(1)?[0];
        // Reads a length, which has three sizes, or a number, which has four.
        let length = |rest: &mut Self, first: u8| rest.unsigned(1 << (head - first));
        Some(match head {
            0x00..=0x7f => Js::Number(f64::from(head)),
            0x80..=0x8f => return self.object(u64::from(head & 0xf), depth),
            0x90..=0x9f => return self.array(u64::from(head & 0xf), depth),
            0xa0..=0xbf => return self.text(u64::from(head & 0x1f)),
            0xc0 => Js::Null,
            0xc1 => return None,
            0xc2 | 0xc3 => Js::Bool(head == 0xc3),
            0xc4..=0xc6 => {
                let length = length(self, 0xc4)?;
                Js::Bytes(self.take(usize::try_from(length).ok()?)?.to_vec())
            }
            0xc7..=0xc9 => {
                let length = length(self, 0xc7)?;
                return self.extension(length);
            }
            0xca => Js::Number(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            0xcb => Js::Number(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xcf => Js::Number(length(self, 0xcc)? as f64),
            0xd0..=0xd3 => {
                let unused = 64 - (8u32 << (head - 0xd0));
                let number = length(self, 0xd0)? << unused;
                Js::Number((number.cast_signed() >> unused) as f64)
            }
            0xd4..=0xd8 => return self.extension(1 << (head - 0xd4)),
            0xd9..=0xdb => {
                let length = length(self, 0xd9)?;
                return self.text(length);
            }
            0xdc | 0xdd => {
                let length = self.unsigned(2 << (head - 0xdc))?;
                return self.array(length, depth);
            }
            0xde | 0xdf => {
                let length = self.unsigned(2 << (head - 0xde))?;
                return self.object(length, depth);
            }
            0xe0..=0xff => Js::Number(f64::from(head.cast_signed())),
        })
    }

    fn text(&mut self, length: u64) -> Option<Js> {
        let text = std::str::from_utf8(self.take(usize::try_from(length).ok()?)?);
        self.is_odd |= text.is_err();
        text.ok().map(Js::text)
    }

    /// A type, then bytes. `decode` refuses timestamps, which have the type -1, if their length is
    /// not 4, 8 or 12 bytes.
    fn extension(&mut self, length: u64) -> Option<Js> {
        let is_timestamp = self.take(1)?[0] == 0xff;
        if is_timestamp && ![4, 8, 12].contains(&length) {
            return None;
        }
        self.take(usize::try_from(length).ok()?)?;
        Some(Js::Odd)
    }

    fn array(&mut self, length: u64, depth: usize) -> Option<Js> {
        let mut elements = Vec::new();
        for _ in 0..length {
            elements.push(self.value(depth + 1)?);
        }
        Some(Js::Array(elements))
    }

    /// Keys are strings, or numbers that become strings.
    fn object(&mut self, length: u64, depth: usize) -> Option<Js> {
        let mut fields = Vec::new();
        for _ in 0..length {
            let name = match self.value(depth + 1)? {
                Js::Text(name) => name,
                Js::Number(number) => number.to_string().encode_utf16().collect(),
                _ => return None,
            };
            if String::from_utf16(&name).is_ok_and(|name| name == "__proto__") {
                return None;
            }
            fields.push((name, self.value(depth + 1)?));
        }
        Some(Js::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_library_decodes() {
        let bytes = b"\x83\xa1a\x92\xff\xcd\x01\x00\x05\xc0\xa1b\xd1\xff\x00";
        let parsed = parse_msgpack(bytes).value().unwrap();
        let numbers = Js::Array(vec![Js::Number(-1.0), Js::Number(256.0)]);
        assert_eq!(parsed.get("a"), Some(&numbers));
        assert_eq!(parsed.get("5"), Some(&Js::Null));
        assert_eq!(parsed.get("b"), Some(&Js::Number(-256.0)));
        assert_eq!(parse_msgpack(b"\xc4\x01x"), Parsed::Value(Js::Bytes(b"x".to_vec())));
        for bad in [&b""[..], b"\xc1", b"\xc0\xc0", b"\x81\xc0\xc0", b"\x91", b"\xd9\x02a"] {
            assert_eq!(parse_msgpack(bad), Parsed::Throws, "{bad:?}");
        }
        assert_eq!(parse_msgpack(b"\xa1\xff"), Parsed::Unjudged);
    }

    #[test]
    fn what_was_written_reads_the_same() {
        let long = Js::Array(vec![Js::text(&"x".repeat(40)); 20]);
        let value = Js::Object(vec![(vec![97], long), (vec![98], Js::Bool(true))]);
        assert_eq!(parse_msgpack(&to_msgpack(&value).unwrap()), Parsed::Value(value));
    }
}
