//! Heartbeats among nodes of this package.

use super::js::{Js, Parsed, parse_json};
use crate::engine::wire::{MemberMessage, MemberNews};

/// The input is a message on the members channel.
pub(crate) fn run(input: &[u8]) {
    let ours: Option<MemberMessage> = serde_json::from_slice(input).ok();
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parsed = parse_json(text);
    assert!(ours.is_none() || parsed != Parsed::Throws, "no JSON");
    if let Some(ours) = &ours {
        let again = serde_json::to_vec(ours).expect("JSON");
        assert_eq!(serde_json::from_slice::<MemberMessage>(&again).ok().as_ref(), Some(ours));
    }
    let Some(message) = parsed.value().filter(Js::is_plain) else { return };
    let uid = message.get("uid").and_then(Js::as_text);
    let news = message.get("news").and_then(Js::as_text);
    let news = match news.as_deref() {
        Some("hello") => MemberNews::Hello,
        Some("alive") => MemberNews::Alive,
        Some("bye") => MemberNews::Bye,
        _ => return,
    };
    let stream = match message.get("stream") {
        None | Some(Js::Null) => None,
        Some(stream) => match stream.as_text() {
            Some(stream) => Some(stream),
            None => return assert_eq!(ours, None),
        },
    };
    assert_eq!(ours, uid.map(|uid| MemberMessage { uid, news, stream }));
}
