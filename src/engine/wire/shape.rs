//! Reads only what JS takes for an object or an array. serde alone also accepts an array for a
//! struct. In msgpack it accepts a field's number for its name, and bytes for an array. JS would
//! find no such property, and would decide differently who gets a packet.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

/// Deeper msgpack is left to JS. In a debug build the decoder takes some 2 kB of stack per level,
/// and its own limit is 1024 levels.
const DEEPEST: usize = 256;

/// Reads a struct from a msgpack object; `None` if `bytes` are something else.
pub(crate) fn from_msgpack<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    decoder.set_max_depth(DEEPEST);
    object(&mut decoder).ok()
}

/// Reads a struct from a JSON object; `None` if `text` is something else.
pub(crate) fn from_json<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    let mut decoder = serde_json::Deserializer::from_str(text);
    let value = object(&mut decoder).ok()?;
    decoder.end().ok().map(|()| value)
}

/// For `deserialize_with`: a struct that is an object in JS.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    from.deserialize_map(ObjectVisitor(PhantomData))
}

/// Like [`object`], for a property that may be missing or null.
pub(crate) fn object_or_null<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let object: Option<Object<T>> = Option::deserialize(from)?;
    Ok(object.map(|Object(value)| value))
}

/// For `deserialize_with`: an array.
pub(crate) fn array<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    // Not `deserialize_seq`: with that, the msgpack decoder makes a sequence of bytes.
    from.deserialize_any(ArrayVisitor(PhantomData))
}

/// For a property whose presence counts. serde takes null for a missing property, and JS does not.
pub(crate) fn present<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(from).map(Some)
}

/// A struct that is an object in JS.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Object<T>(#[serde(deserialize_with = "object")] T);

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(Named(map)))
    }
}

struct ArrayVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ArrayVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(elements)
    }
}

/// A map whose keys are strings.
struct Named<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Named<A> {
    type Error = A::Error;

    fn next_key_seed<K>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error>
    where
        K: DeserializeSeed<'de>,
    {
        let Some(Name(name)) = self.0.next_key()? else { return Ok(None) };
        seed.deserialize(IntoDeserializer::<A::Error>::into_deserializer(&*name)).map(Some)
    }

    fn next_value_seed<V>(&mut self, seed: V) -> Result<V::Value, A::Error>
    where
        V: DeserializeSeed<'de>,
    {
        self.0.next_value_seed(seed)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
