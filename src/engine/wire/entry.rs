//! Stream entries: upstream's fields `uid`, `nsp`, `type` and `data`, and our own, `origin`.

use std::fmt;
use std::sync::Arc;

use super::{EntryId, ORIGIN, Origin, is_msgpack};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redis::Value;

use crate::engine::memory::shared;

/// The `uid` of entries that an emitter writes, upstream's or ours.
pub(crate) const EMITTER: &str = "emitter";

/// The type of a message, with upstream's numbers.
pub(crate) type MessageType = u32;

/// Type 1: a node has opened the namespace. Only the protocol of 0.1 and 0.2 uses types 1, 2 and
/// 13.
pub(crate) const INITIAL_HEARTBEAT: MessageType = 1;
/// Type 2: a node is alive.
pub(crate) const HEARTBEAT: MessageType = 2;
/// Type 3: a broadcast. If it has a `requestId`, the sender asks for acknowledgements.
pub(crate) const BROADCAST: MessageType = 3;
/// Types 8, 10, 11 and 12: answers, each for the node that sent the request. And [`HAND_OVERS`].
pub(crate) const ANSWERS: [MessageType; 6] = [8, 10, 11, 12, 66, 67];
/// Types 66 and 67, which are ours: a node asks for a session, or has handed it over. Each is for
/// one node (`lib/hand-over.js`).
pub(crate) const HAND_OVERS: [MessageType; 2] = [66, 67];
/// Type 13: a node has closed the namespace.
pub(crate) const ADAPTER_CLOSE: MessageType = 13;

/// An entry, decoded except for its data. It borrows from the reply, since most entries are not
/// kept.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    /// The entry's ID, which is also the offset for connection state recovery.
    pub(crate) id: EntryId,
    /// The sender's `uid`; [`EMITTER`] if an emitter wrote the entry.
    pub(crate) uid: &'a str,
    pub(crate) nsp: &'a str,
    pub(crate) kind: MessageType,
    /// The message's data, not decoded.
    pub(crate) data: Option<EntryData<'a>>,
    /// Present if one of our nodes or emitters wrote the entry.
    pub(crate) origin: Option<Origin>,
}

impl Entry<'_> {
    /// The data, if the entry is a broadcast.
    pub(crate) fn broadcast(&self) -> Option<&EntryData<'_>> {
        self.data.as_ref().filter(|_| self.kind == BROADCAST)
    }
}

/// The data of an entry. JSON borrows from the reply.
#[derive(Debug, Clone)]
pub(crate) enum EntryData<'a> {
    /// JSON, starts with `{`.
    Json(&'a str),
    /// msgpack, already decoded from base64.
    Msgpack(Arc<[u8]>),
}

impl EntryData<'_> {
    pub(crate) fn view(&self) -> DataView<'_> {
        match self {
            EntryData::Json(text) => DataView::Json(text),
            EntryData::Msgpack(bytes) => DataView::Msgpack(bytes),
        }
    }

    /// A copy that does not borrow from the reply.
    pub(crate) fn keep(&self) -> Data {
        match self {
            EntryData::Json(text) => Data::Json((*text).into()),
            EntryData::Msgpack(bytes) => Data::Msgpack(bytes.clone()),
        }
    }
}

/// Borrowed data of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DataView<'a> {
    /// JSON, starts with `{`.
    Json(&'a str),
    /// msgpack.
    Msgpack(&'a [u8]),
}

/// Data of a message: JSON text, or msgpack if the payload holds binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// JSON, starts with `{`.
    Json(Arc<str>),
    /// msgpack, already decoded from base64.
    Msgpack(Arc<[u8]>),
}

impl Data {
    /// Size in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Data::Json(text) => text.len(),
            Data::Msgpack(bytes) => bytes.len(),
        }
    }

    /// The bytes that it takes on the heap.
    pub(crate) fn heap(&self) -> usize {
        shared(self.len())
    }

    pub(crate) fn view(&self) -> DataView<'_> {
        match self {
            Data::Json(text) => DataView::Json(text),
            Data::Msgpack(bytes) => DataView::Msgpack(bytes),
        }
    }

    /// The text of the entry's field `data`.
    pub(crate) fn to_field(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Data::Json(text) => text.as_ref().into(),
            Data::Msgpack(bytes) => STANDARD.encode(bytes).into(),
        }
    }
}

/// Why an entry is left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EntryError {
    /// There is no field `nsp`: the entry is not for us. Upstream skips it too.
    Foreign,
    /// No node would have written it.
    Malformed(&'static str),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryError::Foreign => f.write_str("no namespace"),
            EntryError::Malformed(what) => f.write_str(what),
        }
    }
}

/// The fields of an entry as redis-rs returns them, `[name, value, …]`.
pub(crate) fn fields_of(values: &[Value]) -> impl Iterator<Item = (&[u8], &[u8])> {
    values.chunks_exact(2).filter_map(|pair| match pair {
        [Value::BulkString(name), Value::BulkString(value)] => {
            Some((name.as_slice(), value.as_slice()))
        }
        _ => None,
    })
}

/// Decodes the fields of one entry. If a name occurs twice, the last one counts, as in JS.
pub(crate) fn parse_entry<'a>(
    id: EntryId,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Entry<'a>, EntryError> {
    let (mut uid, mut nsp, mut kind, mut data, mut origin) = (None, None, None, None, None);
    for (name, value) in fields {
        let slot = match name {
            b"uid" => &mut uid,
            b"nsp" => &mut nsp,
            b"type" => &mut kind,
            b"data" => &mut data,
            name if name == ORIGIN.as_bytes() => &mut origin,
            _ => continue,
        };
        *slot = Some(value);
    }
    let nsp = text(nsp.filter(|nsp| !nsp.is_empty()).ok_or(EntryError::Foreign)?)?;
    let uid = text(uid.ok_or(EntryError::Malformed("no uid"))?)?;
    let kind = text(kind.ok_or(EntryError::Malformed("no type"))?)?
        .parse()
        .map_err(|_| EntryError::Malformed("the type is no number"))?;
    Ok(Entry {
        id,
        uid,
        nsp,
        kind,
        data: data.filter(|data| !data.is_empty()).map(parse_data).transpose()?,
        // Entries whose origin cannot be read are treated as those of upstream nodes.
        origin: origin.and_then(Origin::parse),
    })
}

fn text(bytes: &[u8]) -> Result<&str, EntryError> {
    std::str::from_utf8(bytes).map_err(|_| EntryError::Malformed("invalid UTF-8"))
}

fn parse_data(field: &[u8]) -> Result<EntryData<'_>, EntryError> {
    if field.first() == Some(&b'{') {
        return Ok(EntryData::Json(text(field)?));
    }
    let bytes = STANDARD.decode(field).map_err(|_| EntryError::Malformed("invalid base64"))?;
    if !is_msgpack(&bytes) {
        return Err(EntryError::Malformed("no msgpack, or too deep"));
    }
    Ok(EntryData::Msgpack(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(pairs: &[(&'a str, &'a [u8])]) -> Result<Entry<'a>, EntryError> {
        let pairs = pairs.iter().map(|(name, value)| (name.as_bytes(), *value));
        parse_entry(EntryId { ms: 1, seq: 2 }, pairs)
    }

    #[test]
    fn upstreams_entries() {
        let entry = parse(&[
            ("uid", b"0123456789abcdef"),
            ("nsp", b"/chat"),
            ("type", b"3"),
            ("data", br#"{"a":1}"#),
        ])
        .unwrap();
        assert_eq!((entry.nsp, entry.kind, entry.origin), ("/chat", 3, None));
        assert_eq!(entry.data.unwrap().keep(), Data::Json(r#"{"a":1}"#.into()));

        let entry =
            parse(&[("uid", b"a"), ("nsp", b"/"), ("type", b"3"), ("data", b"gaFhAQ==")]).unwrap();
        let data = entry.data.unwrap().keep();
        assert_eq!(data, Data::Msgpack([0x81, 0xa1, b'a', 1].as_slice().into()));
        assert_eq!(data.to_field(), "gaFhAQ==");
    }

    #[test]
    fn our_origin_is_read_and_a_broken_one_ignored() {
        let base: [(&str, &[u8]); 3] = [("uid", b"a"), ("nsp", b"/"), ("type", b"2")];
        let with = |origin: &'static [u8]| {
            let mut pairs = base.to_vec();
            pairs.push(("origin", origin));
            parse(&pairs).unwrap().origin
        };
        assert_eq!(with(b"1:AAAAAAAAAP8:7"), Some(Origin { writer: 255, seq: 7, unconfirmed: 0 }));
        assert_eq!(with(b"1:AAAAAAAAAP8:-7"), None);
    }

    #[test]
    fn bad_entries_are_told_apart_from_foreign_ones() {
        assert_eq!(parse(&[("a", b"b")]).unwrap_err(), EntryError::Foreign);
        assert_eq!(parse(&[("nsp", b"")]).unwrap_err(), EntryError::Foreign);
        for bad in [
            parse(&[("nsp", b"/")]),
            parse(&[("nsp", b"/"), ("uid", b"a")]),
            parse(&[("nsp", b"/"), ("uid", b"a"), ("type", b"x")]),
            parse(&[("nsp", b"/"), ("uid", b"a"), ("type", b"3"), ("data", b"gaFhAQ=")]),
            parse(&[("nsp", b"/"), ("uid", b"a"), ("type", b"3"), ("data", b"{\xff")]),
            // An array of 33,554,176 elements, of which none is there.
            parse(&[("nsp", b"/"), ("uid", b"a"), ("type", b"3"), ("data", b"3QH//wA=")]),
            parse(&[("nsp", b"\xff"), ("uid", b"a"), ("type", b"3")]),
        ] {
            assert!(matches!(bad, Err(EntryError::Malformed(_))), "{bad:?}");
        }
    }

    #[test]
    fn the_last_of_two_equal_fields_counts() {
        let entry = parse(&[("nsp", b"/a"), ("uid", b"u"), ("type", b"3"), ("nsp", b"/b")]);
        assert_eq!(entry.unwrap().nsp, "/b");
    }
}
