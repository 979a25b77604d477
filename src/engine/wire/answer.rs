//! Finds out which request an answer in the stream is for: every node sees all answers.

use std::borrow::Cow;

use serde::Deserialize;

use super::DataView;
use super::shape::{from_json, from_msgpack};

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "requestId", borrow)]
    request_id: Cow<'a, str>,
}

/// The ID of the request; `None` if it cannot be read here.
pub(crate) fn request_of(data: DataView<'_>) -> Option<Cow<'_, str>> {
    let head: Head<'_> = match data {
        DataView::Json(text) => from_json(text),
        DataView::Msgpack(bytes) => from_msgpack(bytes),
    }?;
    Some(head.request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Option<String> {
        request_of(DataView::Json(json)).map(Cow::into_owned)
    }

    #[test]
    fn in_json_and_in_msgpack_wherever_it_stands() {
        assert_eq!(of(r#"{"requestId":"a","packet":{"requestId":"b"}}"#).unwrap(), "a");
        assert_eq!(of(r#"{"packet":"\ud800","requestId":"\u0061"}"#).unwrap(), "a");
        // {packet: <bin 01>, requestId: "a"}
        let bytes = b"\x82\xa6packet\xc4\x01\x01\xa9requestId\xa1a";
        assert_eq!(request_of(DataView::Msgpack(bytes)).unwrap(), "a");
    }

    #[test]
    fn what_is_no_answer_names_no_request() {
        for odd in [r#"{"requestId":5}"#, r#"{"packet":1}"#, r#"["a"]"#, "{"] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }
}
