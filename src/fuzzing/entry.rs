//! Fields of an entry: both decoders agree with each other and with the input.

use redis::Value;

use super::{resp, strings};
use crate::engine::stream::page;
use crate::engine::wire::{Entry, EntryError, EntryId, ORIGIN, Origin, fields_of, parse_entry};

/// The input is the entry's names and values in turn.
pub(crate) fn run(input: &[u8]) {
    let strings = strings(input);
    let id = EntryId { ms: 1, seq: 2 };
    let values: Vec<Value> =
        strings.iter().map(|bytes| Value::BulkString(bytes.to_vec())).collect();
    let entry = parse_entry(id, fields_of(&values));

    let reply = resp::page(&[resp::entry("1-2", &strings)]);
    let in_place = page(&reply).expect("a page");
    assert_eq!(in_place.len(), 1);
    let other = parse_entry(in_place[0].id, in_place[0].fields());
    assert_eq!(format!("{entry:?}"), format!("{other:?}"));

    let field = |name: &[u8]| {
        let mut pairs = strings.chunks_exact(2).rev();
        pairs.find(|pair| pair[0] == name).map(|pair| pair[1])
    };
    match entry {
        Err(EntryError::Foreign) => assert!(field(b"nsp").is_none_or(<[u8]>::is_empty)),
        Err(EntryError::Malformed(_)) => assert!(!is_sound(field), "refused: {entry:?}"),
        Ok(entry) => says(&entry, field),
    }
}

/// Whether a node may have written these fields.
fn is_sound<'a>(field: impl Fn(&[u8]) -> Option<&'a [u8]>) -> bool {
    let is_text = |name| field(name).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok());
    let is_number = |digits: &[u8]| {
        (1..=9).contains(&digits.len()) && digits.iter().all(|digit| digit.is_ascii_digit())
    };
    let is_data = |data: &[u8]| data.starts_with(b"{") && std::str::from_utf8(data).is_ok();
    is_text(b"uid")
        && is_text(b"nsp")
        && field(b"type").is_some_and(is_number)
        && field(b"data").is_none_or(|data| data.is_empty() || is_data(data))
}

fn says<'a>(entry: &Entry<'_>, field: impl Fn(&[u8]) -> Option<&'a [u8]>) {
    assert_eq!(Some(entry.uid.as_bytes()), field(b"uid"));
    assert_eq!(Some(entry.nsp.as_bytes()), field(b"nsp"));
    let number = |name| std::str::from_utf8(field(name)?).ok()?.parse::<u64>().ok();
    assert_eq!(Some(u64::from(entry.kind)), number(b"type"));
    // If the data is written again, as after a resend, it is the same.
    let data = entry.data.as_ref().map(|data| data.keep().to_field().into_owned().into_bytes());
    assert_eq!(data.as_deref(), field(b"data").filter(|data| !data.is_empty()));
    if let Some(Origin { writer, seq, .. }) = entry.origin {
        let origin = field(ORIGIN.as_bytes()).expect("an origin");
        let rest = origin.strip_prefix(Origin::prefix(writer).as_bytes()).expect("the writer");
        let digits = rest.split(|byte| *byte == b':').next().expect("the sequence");
        assert_eq!(std::str::from_utf8(digits).expect("text").parse(), Ok(seq));
    }
}
