//! Socket.IO packets as clients get them, cut out of entries. The engine copies the JSON of a
//! packet's data as it is.

use super::{BroadcastHead, DataView, EntryId, to_json};
use crate::engine::memory::{allocated, buffer};

/// An encoded event packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    /// `2[/nsp,]["event",…]`, or `5<attachments>-…` if there is binary.
    pub(crate) text: String,
    /// The binary for the placeholders in the text.
    pub(crate) attachments: Vec<Box<[u8]>>,
}

impl Packet {
    /// The packet of a broadcast. With `offset`, the entry's ID becomes its last argument. `None`
    /// if the broadcast is not an event, asks for an acknowledgement, or holds something that only
    /// JS can encode.
    pub(crate) fn of(
        head: &BroadcastHead,
        data: DataView<'_>,
        nsp: &str,
        offset: Option<EntryId>,
    ) -> Option<Self> {
        if !head.is_plain_event() {
            return None;
        }
        match data {
            DataView::Json(json) => {
                let text = event_packet(nsp, head.event_data(json)?, 0, offset)?;
                Some(Self { text, attachments: Vec::new() })
            }
            DataView::Msgpack(bytes) => {
                let (json, attachments) = to_json(bytes)?;
                let head = BroadcastHead::from_json(&json)?;
                let place = head.data_place()?;
                if !attachments.iter().all(|binary| place.contains(&binary.place)) {
                    // Some binary is elsewhere in the message. JS decides what clients get of it.
                    return None;
                }
                let attachments: Vec<_> = attachments.into_iter().map(|a| a.bytes).collect();
                let text = event_packet(nsp, head.event_data(&json)?, attachments.len(), offset)?;
                Some(Self { text, attachments })
            }
        }
    }

    /// The bytes that it takes on the heap.
    pub(crate) fn heap(&self) -> usize {
        let attachments = self.attachments.iter().map(|bytes| allocated(bytes.len()));
        let list = buffer::<Box<[u8]>>(self.attachments.capacity());
        allocated(self.text.capacity()) + list + attachments.sum::<usize>()
    }
}

/// `data` is the packet's data, a JSON array.
fn event_packet(
    nsp: &str,
    data: &str,
    attachments: usize,
    offset: Option<EntryId>,
) -> Option<String> {
    let elements = data.strip_prefix('[')?.strip_suffix(']')?;
    let mut packet = String::with_capacity(data.len() + nsp.len() + 64);
    if attachments == 0 {
        packet.push('2');
    } else {
        packet.push('5');
        packet.push_str(&attachments.to_string());
        packet.push('-');
    }
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

    const ID: EntryId = EntryId { ms: 7, seq: 1 };

    #[test]
    fn as_socket_io_parser_writes_them() {
        let packet = |nsp, data, offset| event_packet(nsp, data, 0, offset).unwrap();
        assert_eq!(packet("/", r#"["a",1]"#, None), r#"2["a",1]"#);
        assert_eq!(packet("/chat", r#"["a",1]"#, None), r#"2/chat,["a",1]"#);
        assert_eq!(packet("/", r#"["a"]"#, Some(ID)), r#"2["a","7-1"]"#);
        assert_eq!(packet("/", "[]", Some(ID)), r#"2["7-1"]"#);
        assert_eq!(event_packet("/", r#"{"a":1}"#, 0, None), None);
        assert_eq!(event_packet("/a", "[]", 2, None).unwrap(), "52-/a,[]");
    }

    #[test]
    fn the_binary_of_msgpack_becomes_attachments() {
        // {opts:{rooms:[],except:[]},packet:{type:2,data:["e",<bin 0102>],nsp:"/"}}
        let bytes = [
            &[0x82][..],
            b"\xa4opts\x82\xa5rooms\x90\xa6except\x90",
            b"\xa6packet\x83\xa4type\x02\xa4data\x92\xa1e\xc4\x02\x01\x02\xa3nsp\xa1/",
        ]
        .concat();
        let data = DataView::Msgpack(&bytes);
        let head = BroadcastHead::decode(data).unwrap();
        let packet = Packet::of(&head, data, "/", Some(ID)).unwrap();
        assert_eq!(packet.text, r#"51-["e",{"_placeholder":true,"num":0},"7-1"]"#);
        assert_eq!(packet.attachments, [Box::from([1u8, 2])]);
    }

    #[test]
    fn what_wants_an_acknowledgement_is_left_to_js() {
        let json = r#"{"opts":{"rooms":[],"except":[]},"packet":{"type":2,"id":1,"data":["e"]}}"#;
        let head = BroadcastHead::from_json(json).unwrap();
        assert_eq!(Packet::of(&head, DataView::Json(json), "/", None), None);
    }
}
