//! Which clients get a broadcast, by the rules of JS: `isWellFormed` (`lib/message-shape.js`) and
//! `isMissed` (`lib/missed.js`), written again.

use super::Js;
use crate::engine::wire::EntryId;

/// A broadcast that JS accepts as well-formed.
pub(crate) struct Broadcast<'a> {
    data: &'a Js,
    /// The rooms that it is for.
    pub(crate) rooms: &'a [Js],
    /// The rooms whose members do not get it.
    pub(crate) except: &'a [Js],
    /// The packet's data.
    pub(crate) payload: &'a [Js],
    kind: f64,
}

impl<'a> Broadcast<'a> {
    /// `None` if it is not well-formed: JS skips it.
    pub(crate) fn new(data: &'a Js) -> Option<Self> {
        let (opts, packet) = (data.get("opts")?, data.get("packet")?);
        let Some(Js::Number(kind)) = packet.get("type") else { return None };
        if !kind.is_finite() || kind.fract() != 0.0 {
            return None;
        }
        Some(Self {
            data,
            rooms: opts.get("rooms")?.elements()?,
            except: opts.get("except")?.elements()?,
            payload: packet.get("data")?.elements()?,
            kind: *kind,
        })
    }

    fn flag(&self, name: &str) -> Option<&'a Js> {
        self.data.get("opts")?.get("flags")?.get(name)
    }

    /// Whether it is an event that wants no acknowledgement.
    pub(crate) fn is_plain_event(&self) -> bool {
        let id = self.data.get("packet").and_then(|packet| packet.get("id"));
        self.kind == 2.0 && id.is_none() && self.data.get("requestId").is_none()
    }

    /// Whether a client that was away gets it when it comes back.
    pub(crate) fn is_sent_again(&self) -> bool {
        self.is_plain_event() && self.flag("volatile").is_none()
    }

    /// Whether it may be dropped for clients that cannot take it at once.
    pub(crate) fn is_volatile(&self) -> bool {
        match self.flag("volatile") {
            None | Some(Js::Null | Js::Bool(false)) => false,
            Some(Js::Number(number)) => *number != 0.0 && !number.is_nan(),
            Some(Js::Text(units)) => !units.is_empty(),
            Some(_) => true,
        }
    }

    /// Whether a client that was away, in these rooms since these entries, gets the entry `id`.
    pub(crate) fn missed_by(&self, id: EntryId, memberships: &[(Js, EntryId)]) -> bool {
        let was_in = |room: &Js| {
            let joined = memberships.iter().rev().find(|(name, _)| name.same(room));
            joined.is_some_and(|(_, since)| *since < id)
        };
        let is_included = self.rooms.is_empty() || self.rooms.iter().any(was_in);
        is_included && self.is_sent_again() && !self.except.iter().any(was_in)
    }

    /// Whether nothing in it is odd, so that it can be judged without JS.
    pub(crate) fn is_usual(&self) -> bool {
        let is_name = |room: &Js| matches!(room, Js::Text(_));
        let flags = self.data.get("opts").and_then(|opts| opts.get("flags"));
        let is_switch = |name| matches!(self.flag(name), None | Some(Js::Bool(_)));
        let in_payload: usize = self.payload.iter().map(Js::count_bytes).sum();
        self.data.is_plain()
            && self.data.count_bytes() == in_payload
            && self.rooms.iter().chain(self.except).all(is_name)
            && matches!(flags, None | Some(Js::Object(_)))
            && is_switch("volatile")
            && is_switch("compress")
    }
}
