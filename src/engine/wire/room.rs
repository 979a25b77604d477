//! Rooms as they stand in messages: names nearly always, but nothing stops users from joining 5.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A room.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Room {
    /// A name, or a socket's ID.
    Name(Box<str>),
    /// A room that is a number: JS tells it from the name with the same digits.
    Number(f64),
    /// Anything else: cannot be compared here.
    Other(IgnoredAny),
}

impl Room {
    /// The name, when it has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Room::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Whether both are the same room; `None` when that cannot be told here.
    pub fn same(&self, other: &Room) -> Option<bool> {
        match (self, other) {
            (Room::Name(a), Room::Name(b)) => Some(a == b),
            (Room::Number(a), Room::Number(b)) => Some(a == b),
            (Room::Other(_), _) | (_, Room::Other(_)) => None,
            _ => Some(false),
        }
    }
}
