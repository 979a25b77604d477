//! Parses XREAD's reply in place: `*1 *2 $key *n`, then n times `*2 $id *2m` with 2m strings. A long
//! reply is split into shorter ones while it arrives.

use crate::engine::error::{Error, Result};
use crate::engine::redis::{Odd, Values, Walk};
use crate::engine::wire::EntryId;

/// An entry in a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageEntry<'a> {
    pub(crate) id: EntryId,
    /// The reply's bytes from the entry's first field to the end of the page.
    fields: &'a [u8],
    /// How many names and values there are.
    strings: usize,
}

impl<'a> PageEntry<'a> {
    /// Names and values.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = Values(self.fields);
        // `page` has checked that the fields are complete.
        std::iter::from_fn(move || Some((rest.string().ok()?, rest.string().ok()?)))
            .take(self.strings / 2)
    }
}

/// Finds the entries of a complete reply. Nil is an empty page.
pub(crate) fn page(reply: &[u8]) -> Result<Vec<PageEntry<'_>>> {
    entries(reply).map_err(|reason| Error::Protocol { command: "XREAD", reason: reason.to_owned() })
}

fn entries(reply: &[u8]) -> std::result::Result<Vec<PageEntry<'_>>, Odd> {
    let mut rest = Values(reply);
    match rest.array()? {
        None => return Ok(Vec::new()),
        Some(1) => {}
        Some(_) => return Err("not one stream"),
    }
    if rest.array()? != Some(2) {
        return Err("no pair of key and entries");
    }
    rest.string()?;
    let count = rest.array()?.ok_or("no entries")?;
    // An entry takes more than ten bytes, so a wrong count cannot make us allocate much memory.
    let mut entries = Vec::with_capacity(count.min(reply.len() / 10));
    for _ in 0..count {
        if rest.array()? != Some(2) {
            return Err("an entry is no pair");
        }
        let id = EntryId::from_bytes(rest.string()?).ok_or("no entry ID")?;
        let strings = rest.array()?.unwrap_or(0);
        let fields = rest.0;
        for _ in 0..strings {
            rest.string()?;
        }
        entries.push(PageEntry { id, fields, strings });
    }
    Ok(entries)
}

/// Takes the complete entries out of the beginning of a reply, as a reply of their own. Leaves in
/// `buffer` the beginning of a reply with the other entries. `None` if no entry is complete, or if
/// this is no page.
pub(crate) fn take_part(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut rest = Values(buffer);
    if rest.array().ok()? != Some(1) || rest.array().ok()? != Some(2) {
        return None;
    }
    rest.string().ok()?;
    let key = buffer.len() - rest.0.len();
    let count = rest.array().ok()??;
    let first = buffer.len() - rest.0.len();
    let (mut end, mut complete) = (first, 0);
    while complete < count
        && let Some(entry) = Walk::new(1).go_on(&buffer[end..]).ok()?
    {
        end += entry;
        complete += 1;
    }
    if complete == 0 || complete == count {
        return None;
    }
    let reply = |count: usize, entries: &[u8]| {
        [&buffer[..key], format!("*{count}\r\n").as_bytes(), entries].concat()
    };
    let part = reply(complete, &buffer[first..end]);
    *buffer = reply(count - complete, &buffer[end..]);
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    fn reply(entries: &[(&str, &[&str])]) -> String {
        let entry = |(id, fields): &(&str, &[&str])| {
            let fields: String = fields.iter().map(|field| string(field)).collect();
            let count = fields.matches('$').count();
            format!("*2\r\n{}*{count}\r\n{fields}", string(id))
        };
        let all: String = entries.iter().map(entry).collect();
        format!("*1\r\n*2\r\n{}*{}\r\n{all}", string("key"), entries.len())
    }

    #[test]
    fn entries_in_order_with_their_fields() {
        let reply = reply(&[("1-2", &["a", "b\r\n", "c", ""]), ("3-4", &[]), ("5-6", &["x", "y"])]);
        let page = page(reply.as_bytes()).unwrap();
        let fields: Vec<Vec<_>> = page.iter().map(|entry| entry.fields().collect()).collect();
        assert_eq!(page[0].id, EntryId { ms: 1, seq: 2 });
        assert_eq!(fields[0], [(&b"a"[..], &b"b\r\n"[..]), (b"c", b"")]);
        assert!(fields[1].is_empty());
        assert_eq!(fields[2], [(&b"x"[..], &b"y"[..])]);
        assert!(super::page(b"*-1\r\n").unwrap().is_empty());
    }

    #[test]
    fn the_parts_of_a_reply_hold_its_entries_in_order() {
        let whole = reply(&[("1-2", &["a", "b\r\n*1\r\n"]), ("3-4", &[]), ("5-6", &["x", "y"])]);
        let ids = |reply: &[u8]| page(reply).unwrap().iter().map(|e| e.id.ms).collect::<Vec<_>>();
        for end in 0..=whole.len() {
            let mut buffer = whole.as_bytes()[..end].to_vec();
            let before = buffer.clone();
            let Some(part) = take_part(&mut buffer) else {
                assert_eq!(buffer, before);
                continue;
            };
            buffer.extend_from_slice(&whole.as_bytes()[end..]);
            let parts = [ids(&part), ids(&buffer)];
            assert!(parts.iter().all(|part| !part.is_empty()));
            assert_eq!(parts.concat(), [1, 3, 5], "cut at {end}");
        }
        assert!(take_part(&mut whole.clone().into_bytes()).is_none(), "it is complete");
        assert!(take_part(&mut b"*-1\r\n".to_vec()).is_none());
    }

    #[test]
    fn odd_replies_are_errors() {
        let good = reply(&[("1-2", &["a", "b"])]);
        for end in 0..good.len() {
            assert!(page(&good.as_bytes()[..end]).is_err(), "{end}");
        }
        for odd in
            ["+OK\r\n", "*2\r\n", "*1\r\n$1\r\na\r\n", "*1\r\n*2\r\n$1\r\nk\r\n*999999999999\r\n"]
        {
            assert!(page(odd.as_bytes()).is_err(), "{odd:?}");
        }
        assert!(page(reply(&[("x", &[])]).as_bytes()).is_err());
    }
}
