//! The head of a broadcast: who gets it, and whether it may be sent again to a client that was
//! away. The packet's data is not looked at.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Data, Room};

/// Packet type 2 of the Socket.IO protocol.
const EVENT: f64 = 2.0;

/// What of a broadcast decides where it goes.
#[derive(Debug, Clone, Deserialize)]
pub struct BroadcastHead {
    opts: TargetOptions,
    packet: PacketHead,
    #[serde(rename = "requestId")]
    request_id: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Deserialize)]
struct TargetOptions {
    rooms: Vec<Room>,
    except: Vec<Room>,
    #[serde(default)]
    flags: Option<Flags>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Flags {
    volatile: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Deserialize)]
struct PacketHead {
    #[serde(rename = "type")]
    kind: f64,
    id: Option<IgnoredAny>,
}

/// Whether a client that comes back gets a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// JS has to look: the head holds what cannot be judged here.
    Unknown,
}

impl BroadcastHead {
    /// Reads the head; `None` when the data cannot be read here. JS may still be able to (a
    /// doubled key, a lone surrogate), or not.
    pub fn decode(data: &Data) -> Option<Self> {
        match data {
            Data::Json(text) => serde_json::from_str(text).ok(),
            Data::Msgpack(bytes) => rmp_serde::from_slice(bytes).ok(),
        }
    }

    /// Whether a client in `rooms` that was away gets this broadcast when it comes back: not when
    /// it was volatile, or wanted an acknowledgement, or was no event.
    pub fn missed_by(&self, rooms: &[Room]) -> Judgement {
        let flags = self.opts.flags.as_ref();
        if self.request_id.is_some()
            || self.packet.id.is_some()
            || self.packet.kind != EVENT
            || flags.is_some_and(|flags| flags.volatile.is_some())
        {
            return Judgement::No;
        }
        let included = if self.opts.rooms.is_empty() {
            Judgement::Yes
        } else {
            any_shared(rooms, &self.opts.rooms)
        };
        match (included, any_shared(rooms, &self.opts.except)) {
            (Judgement::No, _) | (_, Judgement::Yes) => Judgement::No,
            (Judgement::Yes, Judgement::No) => Judgement::Yes,
            _ => Judgement::Unknown,
        }
    }
}

/// Whether the two lists share a room.
fn any_shared(a: &[Room], b: &[Room]) -> Judgement {
    let mut judgement = Judgement::No;
    for (left, right) in a.iter().flat_map(|left| b.iter().map(move |right| (left, right))) {
        match left.same(right) {
            Some(true) => return Judgement::Yes,
            Some(false) => {}
            None => judgement = Judgement::Unknown,
        }
    }
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(json: &str, rooms: &[&str]) -> Judgement {
        let rooms: Vec<Room> = rooms.iter().map(|room| Room::Name((*room).into())).collect();
        match BroadcastHead::decode(&Data::Json(json.into())) {
            Some(head) => head.missed_by(&rooms),
            None => Judgement::Unknown,
        }
    }

    #[test]
    fn rooms_decide() {
        let packet = r#""packet":{"type":2,"data":["a",{"rooms":[1]}],"nsp":"/"}"#;
        let all = format!(r#"{{"opts":{{"rooms":[],"except":[],"flags":{{}}}},{packet}}}"#);
        assert_eq!(judge(&all, &["s1"]), Judgement::Yes);
        let some = format!(r#"{{"opts":{{"rooms":["r1","r2"],"except":["x"]}},{packet}}}"#);
        assert_eq!(judge(&some, &["s1", "r2"]), Judgement::Yes);
        assert_eq!(judge(&some, &["s1", "r2", "x"]), Judgement::No);
        assert_eq!(judge(&some, &["s1"]), Judgement::No);
        let number = format!(r#"{{"opts":{{"rooms":[5],"except":[]}},{packet}}}"#);
        assert_eq!(judge(&number, &["5"]), Judgement::No);
        let odd = format!(r#"{{"opts":{{"rooms":[[5]],"except":[]}},{packet}}}"#);
        assert_eq!(judge(&odd, &["5"]), Judgement::Unknown);
    }

    #[test]
    fn what_must_not_be_sent_again() {
        let opts = r#""opts":{"rooms":[],"except":[]}"#;
        for json in [
            format!(r#"{{{opts},"packet":{{"type":2,"id":4,"data":["a"]}}}}"#),
            format!(r#"{{{opts},"packet":{{"type":2,"data":["a"]}},"requestId":"r"}}"#),
            format!(r#"{{{opts},"packet":{{"type":4,"data":["a"]}}}}"#),
            r#"{"opts":{"rooms":[],"except":[],"flags":{"volatile":true}},"packet":{"type":2}}"#
                .to_owned(),
        ] {
            assert_eq!(judge(&json, &["s1"]), Judgement::No, "{json}");
        }
    }

    #[test]
    fn what_cannot_be_read_here_is_left_to_js() {
        for json in [
            r#"{"opts":{"rooms":["\ud800"],"except":[]},"packet":{"type":2}}"#,
            r#"{"opts":{"rooms":[],"rooms":["a"],"except":[]},"packet":{"type":2}}"#,
            r#"{"packet":{"type":2}}"#,
            "{",
        ] {
            assert_eq!(judge(json, &["s1"]), Judgement::Unknown, "{json}");
        }
    }

    #[test]
    fn msgpack_heads() {
        // {opts:{rooms:["r"],except:[],flags:{}},packet:{type:2,data:["e",<bin 01>],nsp:"/"}}
        let bytes = [
            &[0x82][..],
            b"\xa4opts\x83\xa5rooms\x91\xa1r\xa6except\x90\xa5flags\x80",
            b"\xa6packet\x83\xa4type\x02\xa4data\x92\xa1e\xc4\x01\x01\xa3nsp\xa1/",
        ]
        .concat();
        let head = BroadcastHead::decode(&Data::Msgpack(bytes.into())).unwrap();
        assert_eq!(head.missed_by(&[Room::Name("r".into())]), Judgement::Yes);
        assert_eq!(head.missed_by(&[Room::Name("q".into())]), Judgement::No);
    }
}
