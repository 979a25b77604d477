//! `JSON.parse`. Unlike serde_json, it accepts lone surrogates, doubled properties and numbers
//! without bound, and rounds every number to the nearest double.

use super::{DEEPEST, Js, Parsed};

/// The value of a JSON text, unless it is nested too deeply to be judged.
pub(crate) fn parse_json(text: &str) -> Parsed {
    let mut rest = Rest { text, is_too_deep: false };
    let value = rest.value(0);
    rest.space();
    match value {
        Some(value) if rest.text.is_empty() => Parsed::Value(value),
        None if rest.is_too_deep => Parsed::Unjudged,
        _ => Parsed::Throws,
    }
}

struct Rest<'a> {
    text: &'a str,
    is_too_deep: bool,
}

impl<'a> Rest<'a> {
    fn space(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, token: &str) -> Option<()> {
        self.text = self.text.strip_prefix(token)?;
        Some(())
    }

    /// As many characters as `is` accepts.
    fn take(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        let end = self.text.find(|c| !is(c)).unwrap_or(self.text.len());
        let (taken, rest) = self.text.split_at(end);
        self.text = rest;
        taken
    }

    fn value(&mut self, depth: usize) -> Option<Js> {
        self.space();
        if depth > DEEPEST {
            self.is_too_deep = true;
            return None;
        }
        match self.text.as_bytes().first()? {
            b'n' => self.eat("null").map(|()| Js::Null),
            b't' => self.eat("true").map(|()| Js::Bool(true)),
            b'f' => self.eat("false").map(|()| Js::Bool(false)),
            b'"' => self.string().map(Js::Text),
            b'[' => self.list('[', ']', |rest| rest.value(depth + 1)).map(Js::Array),
            b'{' => {
                let field = |rest: &mut Self| {
                    rest.space();
                    let name = rest.string()?;
                    rest.space();
                    rest.eat(":")?;
                    Some((name, rest.value(depth + 1)?))
                };
                self.list('{', '}', field).map(Js::Object)
            }
            _ => self.number(),
        }
    }

    fn list<T>(
        &mut self,
        open: char,
        close: char,
        item: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (mut items, close) = (Vec::new(), close.to_string());
        self.eat(&open.to_string())?;
        self.space();
        if self.eat(&close).is_some() {
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            self.space();
            if self.eat(&close).is_some() {
                return Some(items);
            }
            self.eat(",")?;
        }
    }

    fn string(&mut self) -> Option<Vec<u16>> {
        self.eat("\"")?;
        let mut units = Vec::new();
        loop {
            units.extend(self.take(|c| c >= ' ' && c != '"' && c != '\\').encode_utf16());
            if self.eat("\"").is_some() {
                return Some(units);
            }
            self.eat("\\")?;
            let escape = self.text.chars().next()?;
            self.text = &self.text[escape.len_utf8()..];
            units.push(match escape {
                '"' | '\\' | '/' => escape as u16,
                'b' => 8,
                'f' => 12,
                'n' => 10,
                'r' => 13,
                't' => 9,
                'u' => {
                    let digits = self.text.get(..4)?;
                    self.text = &self.text[4..];
                    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)?
                }
                _ => return None,
            });
        }
    }

    fn number(&mut self) -> Option<Js> {
        let start = self.text;
        let digit = |c: char| c.is_ascii_digit();
        let _ = self.eat("-");
        let integer = self.take(digit);
        if integer.is_empty() || (integer.len() > 1 && integer.starts_with('0')) {
            return None;
        }
        if self.eat(".").is_some() && self.take(digit).is_empty() {
            return None;
        }
        if self.eat("e").or_else(|| self.eat("E")).is_some() {
            let _ = self.eat("+").or_else(|| self.eat("-"));
            if self.take(digit).is_empty() {
                return None;
            }
        }
        start[..start.len() - self.text.len()].parse().ok().map(Js::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_json_parse_does() {
        let parsed =
            parse_json(r#" {"a":[1,-0.5e1,"x\n\u00e9\ud800"],"a":null} "#).value().unwrap();
        let text = Js::Text(vec![u16::from(b'x'), 10, 0xe9, 0xd800]);
        let array = Js::Array(vec![Js::Number(1.0), Js::Number(-5.0), text]);
        let name = || vec![u16::from(b'a')];
        assert_eq!(parsed, Js::Object(vec![(name(), array), (name(), Js::Null)]));
        assert_eq!(parsed.get("a"), Some(&Js::Null));
        assert_eq!(parse_json("1e999"), Parsed::Value(Js::Number(f64::INFINITY)));
        for bad in ["", "01", "1.", ".1", "+1", "1e", "[1,]", "{\"a\"}", "\"\n\"", "\"\\x\"", "1 2"]
        {
            assert_eq!(parse_json(bad), Parsed::Throws, "{bad:?}");
        }
    }
}
