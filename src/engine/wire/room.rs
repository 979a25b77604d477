//! Rooms as messages hold them. Nearly all are names, but users can also join a number, such as 5.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::engine::memory::buffer;

/// The rooms that a message names. All names are in one string, since there may be thousands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms {
    names: String,
    /// Where each name ends in `names`.
    ends: Vec<u32>,
    /// Some rooms are [`Room::Unreadable`].
    has_unreadable: bool,
    /// Some rooms are [`Room::Other`].
    has_other: bool,
}

impl Rooms {
    /// Those that are names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().filter_map(move |end| {
            let end = *end as usize;
            self.names.get(std::mem::replace(&mut start, end)..end)
        })
    }

    /// How many of them are names.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.are_names()
    }

    /// True if there are only names.
    pub(crate) fn are_names(&self) -> bool {
        !self.has_unreadable && !self.has_other
    }

    /// True if there are some that JS may read a name from.
    pub(crate) fn has_unreadable(&self) -> bool {
        self.has_unreadable
    }

    /// True if there are some that are no names.
    pub(crate) fn has_other(&self) -> bool {
        self.has_other
    }

    /// The bytes that it takes on the heap.
    pub(crate) fn heap(&self) -> usize {
        buffer::<u8>(self.names.capacity()) + buffer::<u32>(self.ends.capacity())
    }
}

impl<'de> Deserialize<'de> for Rooms {
    /// Reads what is an array in JS.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // Not `deserialize_seq`: with that, the msgpack decoder makes a sequence of bytes.
        from.deserialize_any(RoomsVisitor)
    }
}

struct RoomsVisitor;

impl<'de> Visitor<'de> for RoomsVisitor {
    type Value = Rooms;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Rooms, A::Error> {
        let mut rooms = Rooms::default();
        while seq.next_element_seed(AddTo(&mut rooms))?.is_some() {}
        rooms.names.shrink_to_fit();
        rooms.ends.shrink_to_fit();
        Ok(rooms)
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Room {
    /// A name, or a socket's ID.
    Name(Box<str>),
    /// Bytes, or a msgpack string that is not UTF-8. JS may read a name from it.
    Unreadable,
    /// Anything else. It is not a name, and only JS can compare it.
    Other,
}

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RoomVisitor(Single))
    }
}

/// What is made of a room that is read.
trait Take: Sized {
    type Taken;

    fn name<E: Error>(self, name: &str) -> Result<Self::Taken, E>;

    fn unreadable(self) -> Self::Taken;

    fn other(self) -> Self::Taken;
}

/// Makes a [`Room`] of it.
struct Single;

impl Take for Single {
    type Taken = Room;

    fn name<E: Error>(self, name: &str) -> Result<Room, E> {
        Ok(Room::Name(name.into()))
    }

    fn unreadable(self) -> Room {
        Room::Unreadable
    }

    fn other(self) -> Room {
        Room::Other
    }
}

/// Adds it to others.
struct AddTo<'a>(&'a mut Rooms);

impl Take for AddTo<'_> {
    type Taken = ();

    fn name<E: Error>(self, name: &str) -> Result<(), E> {
        self.0.names.push_str(name);
        self.0.ends.push(u32::try_from(self.0.names.len()).map_err(E::custom)?);
        Ok(())
    }

    fn unreadable(self) {
        self.0.has_unreadable = true;
    }

    fn other(self) {
        self.0.has_other = true;
    }
}

impl<'de> DeserializeSeed<'de> for AddTo<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(RoomVisitor(self))
    }
}

/// Only a string is a name. serde's way of trying one variant after the other would also take
/// msgpack's bytes for a name, and would copy each room.
struct RoomVisitor<T>(T);

impl<'de, T: Take> Visitor<'de> for RoomVisitor<T> {
    type Value = T::Taken;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a room")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T::Taken, E> {
        self.0.name(name)
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<T::Taken, E> {
        Ok(self.0.unreadable())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T::Taken, E> {
        Ok(self.0.other())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T::Taken, E> {
        Ok(self.0.other())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<T::Taken, E> {
        Ok(self.0.other())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T::Taken, E> {
        Ok(self.0.other())
    }

    fn visit_unit<E: Error>(self) -> Result<T::Taken, E> {
        Ok(self.0.other())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<T::Taken, A::Error> {
        IgnoredAny.visit_seq(elements).map(|_| self.0.other())
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T::Taken, A::Error> {
        IgnoredAny.visit_map(fields).map(|_| self.0.other())
    }
}
