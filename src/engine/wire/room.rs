//! Rooms as messages hold them. Nearly all are names, but users can also join a number, such as 5.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

#[derive(Debug, Clone)]
pub(crate) enum Room {
    /// A name, or a socket's ID.
    Name(Box<str>),
    /// Bytes, or a msgpack string that is not UTF-8. JS may read a name from it.
    Unreadable,
    /// Anything else. It is not a name, and only JS can compare it.
    Other,
}

impl Room {
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Room::Name(name) => Some(name),
            Room::Unreadable | Room::Other => None,
        }
    }

    /// Whether both are the same room; `None` if only JS can tell.
    pub(crate) fn same(&self, other: &Room) -> Option<bool> {
        match (self, other) {
            (Room::Name(a), Room::Name(b)) => Some(a == b),
            (Room::Name(_), Room::Other) | (Room::Other, Room::Name(_)) => Some(false),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RoomVisitor)
    }
}

/// Only a string is a name. serde's way of trying one variant after the other would also take
/// msgpack's bytes for a name, and would copy each room.
struct RoomVisitor;

impl<'de> Visitor<'de> for RoomVisitor {
    type Value = Room;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a room")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Room, E> {
        Ok(Room::Name(name.into()))
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Room, E> {
        Ok(Room::Unreadable)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Room, E> {
        Ok(Room::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Room, E> {
        Ok(Room::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Room, E> {
        Ok(Room::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Room, E> {
        Ok(Room::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Room, E> {
        Ok(Room::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Room, A::Error> {
        IgnoredAny.visit_seq(elements).map(|_| Room::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Room, A::Error> {
        IgnoredAny.visit_map(fields).map(|_| Room::Other)
    }
}
