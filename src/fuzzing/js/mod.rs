//! How JS decodes a message: the values that `JSON.parse` and `@msgpack/msgpack` give, and which
//! clients get a broadcast by them. This code is written to be plainly right, and shares nothing
//! with the decoders that are compared with it.

mod broadcast;
mod json;
mod msgpack;

pub(crate) use broadcast::Broadcast;
pub(crate) use json::parse_json;
pub(crate) use msgpack::{parse_msgpack, to_msgpack};

/// Messages that are nested deeper are not judged: nodes refuse to write more than 100 levels, and
/// the decoders may leave such messages to JS.
const DEEPEST: usize = 90;

/// The result of decoding a message in JS.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parsed {
    Value(Js),
    /// JS throws.
    Throws,
    /// This module does not know how JS decodes it.
    Unjudged,
}

impl Parsed {
    /// The value, if there is one.
    pub(crate) fn value(self) -> Option<Js> {
        if let Parsed::Value(value) = self { Some(value) } else { None }
    }
}

/// A JS value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Js {
    /// `null`, also for msgpack's nil.
    Null,
    Bool(bool),
    Number(f64),
    /// A string, in UTF-16 units.
    Text(Vec<u16>),
    Bytes(Vec<u8>),
    /// An object without properties that matter: a date, an extension.
    Odd,
    Array(Vec<Js>),
    /// An object's properties. A doubled property is there twice: the last one counts.
    Object(Vec<(Vec<u16>, Js)>),
}

impl Js {
    /// A string.
    pub(crate) fn text(text: &str) -> Self {
        Js::Text(text.encode_utf16().collect())
    }

    /// A property; `None` is `undefined`.
    pub(crate) fn get(&self, name: &str) -> Option<&Js> {
        let Js::Object(fields) = self else { return None };
        let name: Vec<u16> = name.encode_utf16().collect();
        fields.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The elements of an array.
    pub(crate) fn elements(&self) -> Option<&[Js]> {
        if let Js::Array(elements) = self { Some(elements) } else { None }
    }

    /// The text of a string that is well-formed Unicode.
    pub(crate) fn as_text(&self) -> Option<String> {
        if let Js::Text(units) = self { String::from_utf16(units).ok() } else { None }
    }

    /// Whether `typeof` gives "object" and the value is not null.
    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Js::Bytes(_) | Js::Odd | Js::Array(_) | Js::Object(_))
    }

    /// Whether a `Map` or a `Set` takes both for the same key, when they come from two messages.
    pub(crate) fn same(&self, other: &Js) -> bool {
        match (self, other) {
            (Js::Number(a), Js::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
            (a, b) => !a.is_object() && a == b,
        }
    }

    /// How many byte strings are in it.
    pub(crate) fn count_bytes(&self) -> usize {
        match self {
            Js::Bytes(_) => 1,
            Js::Array(elements) => elements.iter().map(Js::count_bytes).sum(),
            Js::Object(fields) => fields.iter().map(|(_, value)| value.count_bytes()).sum(),
            _ => 0,
        }
    }

    /// Whether every decoder must read it: no doubled property, no lone surrogate, no infinity, no
    /// extension, and no name that may have been a number in msgpack.
    pub(crate) fn is_plain(&self) -> bool {
        let is_unicode =
            |units: &[u16]| char::decode_utf16(units.iter().copied()).all(|c| c.is_ok());
        match self {
            Js::Null | Js::Bool(_) | Js::Bytes(_) => true,
            Js::Odd => false,
            Js::Number(number) => number.is_finite(),
            Js::Text(units) => is_unicode(units),
            Js::Array(elements) => elements.iter().all(Js::is_plain),
            Js::Object(fields) => {
                let is_number =
                    |name: &[u16]| String::from_utf16_lossy(name).parse::<f64>().is_ok();
                let mut names: Vec<&[u16]> = fields.iter().map(|(name, _)| &name[..]).collect();
                names.sort_unstable();
                names.dedup();
                names.len() == fields.len()
                    && fields.iter().all(|(name, value)| {
                        is_unicode(name) && !is_number(name) && value.is_plain()
                    })
            }
        }
    }
}
