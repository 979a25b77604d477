//! Converts payloads with binary. Entries hold them as msgpack; packets hold them as JSON with
//! placeholders and attachments.
//!
//! Returns `None` for what JS would read differently (extensions, keys that are not strings,
//! invalid UTF-8). JS then handles it.

use rmp::Marker;
use rmp::decode::{RmpRead, read_marker};
use rmp::encode::{
    write_array_len, write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint,
    write_str, write_uint,
};
use serde_json::{Map, Value};

/// Deeper values are left to JS, since serde_json would refuse them.
const DEEPEST: usize = 100;
/// The largest integer that a JS number holds exactly.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
/// A key that JS's decoder refuses.
const PROTO: &str = "__proto__";

/// Binary that was taken out of a payload.
pub(crate) struct Attachment {
    /// The offset of its placeholder in the JSON.
    pub(crate) place: usize,
    pub(crate) bytes: Box<[u8]>,
}

/// Converts msgpack to the JSON that `JSON.stringify` would write for it. Binary is replaced by
/// placeholders, numbered in order.
pub(crate) fn to_json(msgpack: &[u8]) -> Option<(String, Vec<Attachment>)> {
    let mut transcoder = ToJson { rest: msgpack, json: Vec::new(), attachments: Vec::new() };
    transcoder.value(0)?;
    if !transcoder.rest.is_empty() {
        return None;
    }
    Some((String::from_utf8(transcoder.json).ok()?, transcoder.attachments))
}

/// Converts JSON to msgpack. An object `{"<placeholder>": <number>}` is replaced by the attachment
/// of that number. `placeholder` must be a name that no user's object has.
pub(crate) fn to_msgpack(json: &str, placeholder: &str, attachments: &[&[u8]]) -> Option<Vec<u8>> {
    let value = serde_json::from_str(json).ok()?;
    let binary = attachments.iter().map(|bytes| bytes.len()).sum::<usize>();
    let mut msgpack = Vec::with_capacity(json.len() + binary + 5 * attachments.len());
    write_msgpack(&mut msgpack, &value, &|object| {
        let number = object.get(placeholder)?.as_u64()?;
        attachments.get(usize::try_from(number).ok()?).copied()
    })?;
    Some(msgpack)
}

/// `binary` returns the bytes that replace an object, if the object is a placeholder.
fn write_msgpack<'a>(
    to: &mut Vec<u8>,
    value: &Value,
    binary: &impl Fn(&Map<String, Value>) -> Option<&'a [u8]>,
) -> Option<()> {
    match value {
        Value::Null => write_nil(to).ok()?,
        Value::Bool(value) => write_bool(to, *value).ok()?,
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => write_uint(to, number).map(drop).ok()?,
            (None, Some(number)) => write_sint(to, number).map(drop).ok()?,
            (None, None) => write_f64(to, number.as_f64()?).ok()?,
        },
        Value::String(text) => write_str(to, text).ok()?,
        Value::Array(items) => {
            write_array_len(to, items.len().try_into().ok()?).ok()?;
            items.iter().try_for_each(|item| write_msgpack(to, item, binary))?;
        }
        Value::Object(object) => match binary(object) {
            Some(bytes) => write_bin(to, bytes).ok()?,
            None => {
                write_map_len(to, object.len().try_into().ok()?).ok()?;
                for (key, item) in object {
                    write_str(to, key).ok()?;
                    write_msgpack(to, item, binary)?;
                }
            }
        },
    }
    Some(())
}

struct ToJson<'a> {
    rest: &'a [u8],
    json: Vec<u8>,
    attachments: Vec<Attachment>,
}

impl<'a> ToJson<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        let marker = read_marker(&mut self.rest).ok()?;
        match marker {
            Marker::Null => self.json.extend_from_slice(b"null"),
            Marker::True => self.json.extend_from_slice(b"true"),
            Marker::False => self.json.extend_from_slice(b"false"),
            Marker::FixPos(n) => self.integer(false, n.into()),
            Marker::FixNeg(n) => self.signed(n.into()),
            Marker::U8 => self.unsigned::<1>()?,
            Marker::U16 => self.unsigned::<2>()?,
            Marker::U32 => self.unsigned::<4>()?,
            Marker::U64 => self.unsigned::<8>()?,
            Marker::I8 => self.rest.read_data_i8().ok().map(|n| self.signed(n.into()))?,
            Marker::I16 => self.rest.read_data_i16().ok().map(|n| self.signed(n.into()))?,
            Marker::I32 => self.rest.read_data_i32().ok().map(|n| self.signed(n.into()))?,
            Marker::I64 => self.rest.read_data_i64().ok().map(|n| self.signed(n))?,
            Marker::F32 => self.rest.read_data_f32().ok().map(|n| self.float(n.into()))?,
            Marker::F64 => self.rest.read_data_f64().ok().map(|n| self.float(n))?,
            Marker::Bin8 => self.attachment::<1>()?,
            Marker::Bin16 => self.attachment::<2>()?,
            Marker::Bin32 => self.attachment::<4>()?,
            Marker::FixArray(len) => self.array(len.into(), depth)?,
            Marker::Array16 => self.length::<2>().and_then(|len| self.array(len, depth))?,
            Marker::Array32 => self.length::<4>().and_then(|len| self.array(len, depth))?,
            Marker::FixMap(len) => self.map(len.into(), depth)?,
            Marker::Map16 => self.length::<2>().and_then(|len| self.map(len, depth))?,
            Marker::Map32 => self.length::<4>().and_then(|len| self.map(len, depth))?,
            marker => {
                let text = self.text(marker)?;
                self.string(text)?;
            }
        }
        Some(())
    }

    /// A big-endian number of `N` bytes.
    fn length<const N: usize>(&mut self) -> Option<u64> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }

    /// The string after its marker, which has been read.
    fn text(&mut self, marker: Marker) -> Option<&'a str> {
        let len = match marker {
            Marker::FixStr(len) => len.into(),
            Marker::Str8 => self.length::<1>()?,
            Marker::Str16 => self.length::<2>()?,
            Marker::Str32 => self.length::<4>()?,
            _ => return None,
        };
        std::str::from_utf8(self.bytes(len)?).ok()
    }

    fn string(&mut self, text: &str) -> Option<()> {
        serde_json::to_writer(&mut self.json, text).ok()
    }

    fn unsigned<const N: usize>(&mut self) -> Option<()> {
        self.length::<N>().map(|n| self.integer(false, n))
    }

    fn signed(&mut self, n: i64) {
        self.integer(n < 0, n.unsigned_abs());
    }

    fn integer(&mut self, is_negative: bool, magnitude: u64) {
        if magnitude > MAX_SAFE_INTEGER {
            let number = magnitude as f64;
            return self.float(if is_negative { -number } else { number });
        }
        if is_negative {
            self.json.push(b'-');
        }
        self.json.extend_from_slice(magnitude.to_string().as_bytes());
    }

    fn float(&mut self, n: f64) {
        if n.is_finite() {
            self.json.extend_from_slice(ryu_js::Buffer::new().format_finite(n).as_bytes());
        } else {
            self.json.extend_from_slice(b"null");
        }
    }

    fn attachment<const N: usize>(&mut self) -> Option<()> {
        let len = self.length::<N>()?;
        let bytes = self.bytes(len)?;
        let placeholder = format!(r#"{{"_placeholder":true,"num":{}}}"#, self.attachments.len());
        self.attachments.push(Attachment { place: self.json.len(), bytes: bytes.into() });
        self.json.extend_from_slice(placeholder.as_bytes());
        Some(())
    }

    fn array(&mut self, len: u64, depth: usize) -> Option<()> {
        self.list(len, depth, b"[]", |this, depth| this.value(depth))
    }

    fn map(&mut self, len: u64, depth: usize) -> Option<()> {
        self.list(len, depth, b"{}", |this, depth| {
            let marker = read_marker(&mut this.rest).ok()?;
            let key = this.text(marker).filter(|key| *key != PROTO)?;
            this.string(key)?;
            this.json.push(b':');
            this.value(depth)
        })
    }

    fn list(
        &mut self,
        len: u64,
        depth: usize,
        brackets: &[u8; 2],
        element: impl Fn(&mut Self, usize) -> Option<()>,
    ) -> Option<()> {
        if depth == DEEPEST {
            return None;
        }
        self.json.push(brackets[0]);
        for i in 0..len {
            if i > 0 {
                self.json.push(b',');
            }
            element(self, depth + 1)?;
        }
        self.json.push(brackets[1]);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(msgpack: &[u8]) -> Option<String> {
        to_json(msgpack).map(|(json, _)| json)
    }

    #[test]
    fn numbers_are_written_as_js_writes_them() {
        for (msgpack, expected) in [
            (&b"\x07"[..], "7"),
            (b"\xe0", "-32"),
            (b"\xcd\x01\x00", "256"),
            (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", "-1"),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709552000"),
            (b"\xcb\x44\x4b\x1a\xe4\xd6\xe2\xef\x50", "1e+21"),
            (b"\xcb\x40\x59\x00\x00\x00\x00\x00\x00", "100"),
            (b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "0"),
            (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
            (b"\xca\x3f\x80\x00\x00", "1"),
        ] {
            assert_eq!(json(msgpack).as_deref(), Some(expected));
        }
    }

    #[test]
    fn nested_values_and_attachments_in_order() {
        let msgpack = b"\x82\xa1a\x93\xc0\xc4\x01\x05\xa3\"\n\x01\xa1b\xc4\x00";
        let (json, attachments) = to_json(msgpack).unwrap();
        let placeholder = |num| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
        let expected =
            format!(r#"{{"a":[null,{},"\"\n\u0001"],"b":{}}}"#, placeholder(0), placeholder(1));
        assert_eq!(json, expected);
        let attachments = attachments.iter().map(|a| (&json[a.place..a.place + 1], &*a.bytes));
        assert!(attachments.eq([("{", &[5u8][..]), ("{", &[])]));
    }

    #[test]
    fn to_msgpack_and_back() {
        let json = r#"{"a":[null,true,-1,1.5,18446744073709551615,{"#.to_owned()
            + r#""?":1},{"?":0}],"z":"é","b":{}}"#;
        let attachments: [&[u8]; 2] = [b"zero", b""];
        let msgpack = to_msgpack(&json, "?", &attachments).unwrap();
        let (back, binary) = to_json(&msgpack).unwrap();
        let placeholder = |num| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
        // In the order in which they are in the JSON.
        let expected = json
            .replace(r#"{"?":1}"#, &placeholder(0))
            .replace(r#"{"?":0}"#, &placeholder(1))
            .replace("18446744073709551615", "18446744073709552000");
        assert_eq!(back, expected);
        assert!(binary.iter().map(|binary| &*binary.bytes).eq([&b""[..], b"zero"]));
    }

    #[test]
    fn what_js_would_read_differently_is_left_to_it() {
        for odd in [
            &b""[..],
            b"\xc1",
            b"\x92\x01",
            b"\x01\x01",
            b"\xa1\xff",
            b"\x81\x01\x02",
            b"\x81\xa9__proto__\x01",
            b"\xd6\xff\x00\x00\x00\x00",
            b"\xdd\xff\xff\xff\xff",
            &[0x91; 200],
        ] {
            assert_eq!(json(odd), None, "{odd:x?}");
        }
    }
}
