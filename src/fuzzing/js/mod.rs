//! What JS makes of a message: the values that `JSON.parse` and `@msgpack/msgpack` give, and who
//! gets a broadcast by them. Written for being plainly right, and apart from the decoders that are
//! measured by it.

mod broadcast;
mod json;
mod msgpack;

pub(crate) use broadcast::Broadcast;
pub(crate) use json::parse_json;
pub(crate) use msgpack::{parse_msgpack, to_msgpack};

/// Messages nested deeper are not judged: nodes refuse to write what is more than 100 levels deep,
/// and the decoders may leave it to JS.
const DEEPEST: usize = 90;

/// What comes of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parsed {
    /// A value.
    Value(Js),
    /// JS throws.
    Throws,
    /// It is not said here what JS makes of it.
    Unjudged,
}

impl Parsed {
    /// The value, when there is one.
    pub(crate) fn value(self) -> Option<Js> {
        if let Parsed::Value(value) = self { Some(value) } else { None }
    }
}

/// A value of JS.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Js {
    /// `null`, also for msgpack's nil.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string, in UTF-16 units.
    Text(Vec<u16>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An object without properties that matter: a date, an extension.
    Odd,
    /// An array.
    Array(Vec<Js>),
    /// An object's properties. A doubled one stands twice: the last one counts.
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

    /// Whether `typeof` says "object" and it is not null.
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

    /// How many times there are bytes in it.
    pub(crate) fn count_bytes(&self) -> usize {
        match self {
            Js::Bytes(_) => 1,
            Js::Array(elements) => elements.iter().map(Js::count_bytes).sum(),
            Js::Object(fields) => fields.iter().map(|(_, value)| value.count_bytes()).sum(),
            _ => 0,
        }
    }

    /// Whether every decoder has to read it: no doubled property, no lone surrogate, no infinity, no
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
