//! Replies of Redis, in RESP.

pub(crate) use crate::fuzzing::resp::{array, page, string};

use crate::engine::wire::{ORIGIN, Origin};
use crate::fuzzing::resp;

/// `+OK`.
pub(crate) fn ok() -> Vec<u8> {
    status("OK")
}

/// A status, such as `+QUEUED`.
pub(crate) fn status(text: &str) -> Vec<u8> {
    format!("+{text}\r\n").into_bytes()
}

/// An error: code and words.
pub(crate) fn error(words: &str) -> Vec<u8> {
    format!("-{words}\r\n").into_bytes()
}

/// A number.
pub(crate) fn int(number: i64) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

/// A text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    string(text.as_bytes())
}

/// A string of any bytes.
pub(crate) fn bytes(bytes: &[u8]) -> Vec<u8> {
    string(bytes)
}

/// Nil in place of a string.
pub(crate) fn nil() -> Vec<u8> {
    b"$-1\r\n".to_vec()
}

/// What XREAD answers when its time is over.
pub(crate) fn no_page() -> Vec<u8> {
    b"*-1\r\n".to_vec()
}

/// What a server pushes in RESP3.
pub(crate) fn push(values: &[Vec<u8>]) -> Vec<u8> {
    [format!(">{}\r\n", values.len()).into_bytes(), values.concat()].concat()
}

/// An entry with these names and values in turn.
pub(crate) fn entry(id: &str, fields: &[&str]) -> Vec<u8> {
    let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
    resp::entry(id, &fields)
}

/// The entry of a broadcast to everyone in `/`, by a writer of this package.
pub(crate) fn entry_of(id: &str, writer: u64, seq: u64) -> Vec<u8> {
    let origin = format!("{}{seq}", Origin::prefix(writer));
    let fields = ["uid", "theirs", "nsp", "/", "type", "3", "data", DATA];
    entry(id, &[&fields[..], &[ORIGIN, &origin]].concat())
}

/// The same by an upstream node, which writes no sequence.
pub(crate) fn entry_of_upstream(id: &str) -> Vec<u8> {
    entry(id, &["uid", "upstream", "nsp", "/", "type", "3", "data", DATA])
}

/// A broadcast of the event `e` to everyone.
pub(crate) const DATA: &str =
    r#"{"opts":{"rooms":[],"except":[],"flags":{}},"packet":{"type":2,"data":["e"],"nsp":"/"}}"#;

/// The reply of XINFO STREAM: the stream's first and last entry, its length and `entries-added`.
pub(crate) fn info(first: &str, last: &str, length: i64, added: i64) -> Vec<u8> {
    array(&[
        text("length"),
        int(length),
        text("entries-added"),
        int(added),
        text("first-entry"),
        entry(first, &[]),
        text("last-entry"),
        entry(last, &[]),
    ])
}

/// The same, with a payload of this many bytes in either entry.
pub(crate) fn large_info(first: &str, last: &str, bytes: usize) -> Vec<u8> {
    let large = "x".repeat(bytes);
    array(&[
        text("first-entry"),
        entry(first, &["data", &large]),
        text("last-entry"),
        entry(last, &["data", &large]),
    ])
}

/// What XINFO answers when there is no stream.
pub(crate) fn no_stream() -> Vec<u8> {
    error("ERR no such key")
}

/// The reply of XINFO STREAM for a stream without entries: the last ID that it had, and
/// `entries-added`.
pub(crate) fn emptied(last: &str, added: i64) -> Vec<u8> {
    array(&[
        text("length"),
        int(0),
        text("last-generated-id"),
        text(last),
        text("entries-added"),
        int(added),
        text("first-entry"),
        nil(),
        text("last-entry"),
        nil(),
    ])
}
