//! Checks that bytes are msgpack that can be decoded without harm.
//!
//! A decoder reserves memory for as many elements as a header announces: 40 bytes of nested headers
//! cost JS gigabytes. So the engine walks all msgpack from Redis once before anything decodes it.

/// The deepest nesting of containers that is accepted. Our nodes write as deep as their stack
/// allows, some thousands of levels. Upstream's nodes write up to 100.
const DEEPEST: usize = 16_384;

/// True if `bytes` are exactly one msgpack value, nested no deeper than nodes write it.
///
/// All the elements that headers announce must fit together into the bytes that follow, since a
/// value takes at least one byte. So a decoder reserves memory for no more elements than the value
/// has bytes.
pub(crate) fn is_msgpack(bytes: &[u8]) -> bool {
    walk(bytes).is_some()
}

fn walk(mut rest: &[u8]) -> Option<()> {
    // The number of values that are still missing: in each outer container, in this one, and in
    // all.
    let mut around = Vec::with_capacity(16);
    let (mut here, mut missing) = (1, 1);
    loop {
        while here == 0 {
            let Some(left) = around.pop() else { return rest.is_empty().then_some(()) };
            here = left;
        }
        here -= 1;
        missing -= 1;
        let Header { length, values } = Header::read(rest)?;
        rest = rest.get(length..)?;
        if values > 0 {
            missing = values.checked_add(missing).filter(|missing| *missing <= rest.len())?;
            if around.len() == DEEPEST {
                return None;
            }
            around.push(here);
            here = values;
        }
    }
}

/// The first bytes of a value.
struct Header {
    /// Bytes up to the next value: the whole value if it is a scalar, only the header if it is a
    /// container.
    length: usize,
    /// The number of values in a container; a map has two per pair.
    values: usize,
}

impl Header {
    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        let low = |mask: u8| usize::from(first & mask);
        // Reads a number of `size` bytes. Returns the header's length and the number.
        let number = |size: usize| {
            let number = rest.get(..size)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
            Some((1 + size, number))
        };
        let scalar = |length: usize| Some(Self { length, values: 0 });
        let sized = |size: usize, extra: usize| {
            let (header, length) = number(size)?;
            scalar(length.checked_add(header + extra)?)
        };
        let container = |size: usize, each: usize| {
            let (length, count) = number(size)?;
            Some(Self { length, values: count.checked_mul(each)? })
        };
        match first {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0.. => scalar(1),
            0x80..=0x8f => Some(Self { length: 1, values: 2 * low(0x0f) }),
            0x90..=0x9f => Some(Self { length: 1, values: low(0x0f) }),
            0xa0..=0xbf => scalar(1 + low(0x1f)),
            // The one byte that msgpack does not use.
            0xc1 => None,
            // Binary, and extensions, which have one more byte for their type.
            0xc4..=0xc6 => sized(1 << (first - 0xc4), 0),
            0xc7..=0xc9 => sized(1 << (first - 0xc7), 1),
            0xca => scalar(5),
            0xcb => scalar(9),
            0xcc..=0xcf => scalar(1 + (1 << (first - 0xcc))),
            0xd0..=0xd3 => scalar(1 + (1 << (first - 0xd0))),
            0xd4..=0xd8 => scalar(2 + (1 << (first - 0xd4))),
            0xd9..=0xdb => sized(1 << (first - 0xd9), 0),
            0xdc | 0xdd => container(2 << (first - 0xdc), 1),
            0xde | 0xdf => container(2 << (first - 0xde), 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_value_of_every_type() {
        let values: &[&[u8]] = &[
            b"\xc0",
            b"\xc2",
            b"\xc3",
            b"\x7f",
            b"\xe0",
            b"\xcc\x01",
            b"\xcd\x01\x02",
            b"\xce\x01\x02\x03\x04",
            b"\xcf\x01\x02\x03\x04\x05\x06\x07\x08",
            b"\xd0\x01",
            b"\xd1\x01\x02",
            b"\xd2\x01\x02\x03\x04",
            b"\xd3\x01\x02\x03\x04\x05\x06\x07\x08",
            b"\xca\x01\x02\x03\x04",
            b"\xcb\x01\x02\x03\x04\x05\x06\x07\x08",
            b"\xa0",
            b"\xa2ab",
            b"\xd9\x02ab",
            b"\xda\0\x02ab",
            b"\xdb\0\0\0\x02ab",
            b"\xc4\x02ab",
            b"\xc5\0\x02ab",
            b"\xc6\0\0\0\x02ab",
            b"\xd4\x05a",
            b"\xd5\x05ab",
            b"\xd6\x05abcd",
            b"\xd7\x05abcdefgh",
            b"\xd8\x05abcdefghijklmnop",
            b"\xc7\x02\x05ab",
            b"\xc8\0\x02\x05ab",
            b"\xc9\0\0\0\x02\x05ab",
            b"\x90",
            b"\x92\xc0\x91\xc0",
            b"\xdc\0\x02\xc0\x90",
            b"\xdd\0\0\0\x01\xc0",
            b"\x80",
            b"\x81\xa1a\x81\xa1b\xc0",
            b"\xde\0\x01\xa1a\xc0",
            b"\xdf\0\0\0\x01\xa1a\xc0",
        ];
        for value in values {
            assert!(is_msgpack(value), "{value:x?}");
            for end in 0..value.len() {
                assert!(!is_msgpack(&value[..end]), "{value:x?} without its end, {end} bytes");
            }
            assert!(!is_msgpack(&[value, &b"\xc0"[..]].concat()), "{value:x?} and another one");
        }
        assert!(!is_msgpack(b"\xc1"));
    }

    #[test]
    fn headers_that_announce_more_than_there_is() {
        for header in [
            &b"\xdd\x01\xff\xff\x00"[..],
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xdc\xff\xff",
            b"\xde\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xc9\xff\xff\xff\xff\x05",
        ] {
            assert!(!is_msgpack(&header.repeat(8)), "{header:x?}");
        }
    }

    /// The elements that each header announces would fit alone, but not together.
    #[test]
    fn nested_headers_share_what_is_left() {
        let nested = |length: u8, padding: usize| {
            let header = [0xdc, 0, length].repeat(10);
            is_msgpack(&[header, vec![0xc0; padding]].concat())
        };
        assert!(nested(1, 1));
        // Nine elements are missing on each of ten levels.
        assert!(!nested(10, 10));
        assert!(nested(10, 91));
    }

    #[test]
    fn nested_up_to_a_bound() {
        let nested = |levels: usize| is_msgpack(&[vec![0x91; levels], vec![0xc0]].concat());
        assert!(nested(DEEPEST));
        assert!(!nested(DEEPEST + 1));
        assert!(!nested(1_000_000));
    }
}
