//! Broadcasts, and everything that uses their heads: which clients get them now, which clients get
//! them when they come back, and the packet that clients get.

use super::dice;
use super::js::{Broadcast, Js, Parsed, parse_json, parse_msgpack, to_msgpack};
use crate::engine::namespaces::Namespace;
use crate::engine::wire::{
    BroadcastHead, Data, EntryId, Flags, Judgement, Memberships, Packet, SessionHead,
};

const ID: EntryId = EntryId { ms: 5, seq: 1 };

/// The input is the data of a broadcast: JSON, or msgpack without its base64.
pub(crate) fn run(input: &[u8]) {
    let (data, parsed) = if input.first() == Some(&b'{') {
        let Ok(text) = std::str::from_utf8(input) else { return };
        (Data::Json(text.into()), parse_json(text))
    } else {
        (Data::Msgpack(input.into()), parse_msgpack(input))
    };
    let head = BroadcastHead::decode(data.view());
    let (Parsed::Value(_) | Parsed::Throws) = &parsed else { return };
    let parsed = parsed.value();
    let broadcast = parsed.as_ref().and_then(Broadcast::new);
    let is_usual = broadcast.as_ref().is_some_and(Broadcast::is_usual);
    assert!(head.is_some() || !is_usual, "a usual broadcast was not read");
    let Some(head) = head else { return };
    if let Some(broadcast) = &broadcast {
        recovered(&head, broadcast, is_usual, input);
        wanted(&head, broadcast, is_usual, input);
    }
    packet(&head, &data, broadcast.as_ref(), is_usual);
}

/// JS looks only at broadcasts that Rust judges as [`Judgement::Unknown`].
fn recovered(head: &BroadcastHead, broadcast: &Broadcast<'_>, is_usual: bool, input: &[u8]) {
    let memberships = memberships(broadcast, input);
    let js = broadcast.missed_by(ID, &memberships);
    let ours = head.missed_by(ID, &as_in_a_session(&memberships));
    assert_eq!(broadcast.is_sent_again(), head.is_sent_again());
    let expected = if js { Judgement::Yes } else { Judgement::No };
    let may_be_left_to_js = !is_usual && ours == Judgement::Unknown;
    assert!(ours == expected || may_be_left_to_js, "{ours:?}, JS says {js}: {memberships:?}");
}

/// Some of the rooms that the broadcast names, and others, each joined before or after it.
fn memberships(broadcast: &Broadcast<'_>, input: &[u8]) -> Vec<(Js, EntryId)> {
    let mut dice = dice(input);
    let others = [Js::text("r"), Js::text("s1"), Js::Number(5.0)];
    let mut memberships: Vec<(Js, EntryId)> = Vec::new();
    for room in broadcast.rooms.iter().chain(broadcast.except).chain(&others) {
        let is_known = memberships.iter().any(|(known, _)| known.same(room));
        // Sessions do not hold rooms that msgpack cannot tell from others, such as a lone
        // surrogate.
        if !is_known && !room.is_object() && room.is_plain() && dice.u8(..3) == 0 {
            let since = EntryId { ms: if dice.u8(..3) == 0 { 9 } else { 3 }, seq: 0 };
            memberships.push((room.clone(), since));
        }
    }
    memberships
}

/// The memberships as the engine decodes them from a session's msgpack.
fn as_in_a_session(memberships: &[(Js, EntryId)]) -> Memberships {
    let rooms = memberships.iter().map(|(room, _)| room.clone()).collect();
    let since = memberships.iter().map(|(_, since)| Js::text(&since.to_string())).collect();
    let name = |name: &str| name.encode_utf16().collect();
    let session =
        Js::Object(vec![(name("rooms"), Js::Array(rooms)), (name("since"), Js::Array(since))]);
    let head = SessionHead::decode(&to_msgpack(&session).expect("plain rooms"));
    head.expect("a session").rooms
}

/// The engine keeps from JS only broadcasts without a recipient here.
fn wanted(head: &BroadcastHead, broadcast: &Broadcast<'_>, is_usual: bool, input: &[u8]) {
    let mut dice = dice(input);
    let namespace = Namespace::new(0, "/n", false, true);
    let has_sockets = dice.bool();
    namespace.set_has_sockets(has_sockets);
    let names = broadcast.rooms.iter().filter_map(Js::as_text);
    let local: Vec<String> = names.filter(|_| dice.u8(..3) == 0).collect();
    for room in &local {
        namespace.set_room(room, true);
    }
    // Rooms other than strings never get into the engine's set: their broadcasts go to JS.
    let is_local = |room: &Js| match room {
        Js::Text(_) => room.as_text().is_some_and(|name| local.contains(&name)),
        _ => true,
    };
    let js =
        if broadcast.rooms.is_empty() { has_sockets } else { broadcast.rooms.iter().any(is_local) };
    let ours = namespace.check_interest(ID, head);
    assert!(ours || !js, "somebody here wants it");
    assert!(!is_usual || ours == js, "wanted: {ours}, though usual");
}

/// The packet that clients get if JS does not look at the broadcast.
fn packet(head: &BroadcastHead, data: &Data, broadcast: Option<&Broadcast<'_>>, is_usual: bool) {
    let packet = Packet::of(head, data.view(), "/n", Some(ID));
    let is_event = broadcast.is_some_and(Broadcast::is_plain_event);
    assert!(!is_usual || packet.is_some() == is_event, "{packet:?}, though usual");
    let Some(packet) = packet else { return };
    let broadcast = broadcast.expect("JS takes it for a broadcast");
    assert!(is_event, "JS would do something else with it");
    assert_eq!(broadcast.is_volatile(), head.flags().is_some_and(Flags::is_volatile));

    let is_json = matches!(data, Data::Json(_));
    let expected: Vec<Js> =
        broadcast.payload.iter().cloned().chain([Js::text(&ID.to_string())]).collect();
    arrives(&packet, Js::Array(expected), is_json);
    let without = Packet::of(head, data.view(), "/", None).expect("a packet");
    arrives(&without, Js::Array(broadcast.payload.to_vec()), is_json);
}

/// Checks that a client decodes the packet to this payload.
fn arrives(packet: &Packet, mut payload: Js, is_json: bool) {
    let mut attachments = Vec::new();
    take_out(&mut payload, is_json, &mut attachments);
    assert_eq!(packet.attachments, attachments);

    let (head, _) = packet.text.split_once('[').expect("an array");
    let nsp = match attachments.len() {
        0 => head.strip_prefix('2'),
        count => head.strip_prefix(&format!("5{count}-")),
    };
    assert!(matches!(nsp, Some("" | "/n,")), "{head:?}");
    assert_eq!(parse_json(&packet.text[head.len()..]), Parsed::Value(payload));
}

/// Replaces bytes by placeholders, in their order. Numbers that JSON does not have become null.
fn take_out(value: &mut Js, is_json: bool, attachments: &mut Vec<Box<[u8]>>) {
    let name = |name: &str| name.encode_utf16().collect();
    match value {
        Js::Number(number) if !is_json && !number.is_finite() => *value = Js::Null,
        Js::Bytes(bytes) => {
            let number = Js::Number(attachments.len() as f64);
            attachments.push(bytes.as_slice().into());
            let is = Js::Bool(true);
            *value = Js::Object(vec![(name("_placeholder"), is), (name("num"), number)]);
        }
        Js::Array(elements) => {
            elements.iter_mut().for_each(|element| take_out(element, is_json, attachments));
        }
        Js::Object(fields) => {
            fields.iter_mut().for_each(|(_, value)| take_out(value, is_json, attachments));
        }
        _ => {}
    }
}
