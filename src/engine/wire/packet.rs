//! Socket.IO packets as clients get them, cut out of entries: nothing is parsed or stringified
//! again.

use crate::engine::stream::EntryId;

/// An event packet without binary: `2[/nsp,]["event",…]`. `data` is the packet's data array as
/// JSON; with `offset`, the entry's ID becomes its last element.
pub fn event_packet(nsp: &str, data: &str, offset: Option<EntryId>) -> Option<String> {
    let elements = data.strip_prefix('[')?.strip_suffix(']')?;
    let mut packet = String::with_capacity(data.len() + nsp.len() + 48);
    packet.push('2');
    if nsp != "/" {
        packet.push_str(nsp);
        packet.push(',');
    }
    packet.push('[');
    packet.push_str(elements);
    if let Some(offset) = offset {
        if !elements.trim().is_empty() {
            packet.push(',');
        }
        packet.push('"');
        packet.push_str(&offset.to_string());
        packet.push('"');
    }
    packet.push(']');
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_socket_io_parser_writes_them() {
        let id = EntryId { ms: 7, seq: 1 };
        let packet = |nsp, data, offset| event_packet(nsp, data, offset).unwrap();
        assert_eq!(packet("/", r#"["a",1]"#, None), r#"2["a",1]"#);
        assert_eq!(packet("/chat", r#"["a",1]"#, None), r#"2/chat,["a",1]"#);
        assert_eq!(packet("/", r#"["a"]"#, Some(id)), r#"2["a","7-1"]"#);
        assert_eq!(packet("/", "[]", Some(id)), r#"2["7-1"]"#);
        assert_eq!(event_packet("/", r#"{"a":1}"#, None), None);
    }
}
