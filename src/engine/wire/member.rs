//! Heartbeats between our nodes, as JSON: hello, alive, bye.

use serde::{Deserialize, Serialize};

/// A message on the members channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberMessage {
    /// The `uid` of the node that sends the message.
    pub(crate) uid: String,
    pub(crate) news: MemberNews,
    /// The identity of the sender's streams, as in its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MemberNews {
    /// The node has just started or come back. The others answer with [`MemberNews::Alive`].
    Hello,
    /// The node is alive.
    Alive,
    /// The node leaves.
    Bye,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_readable_for_other_versions() {
        let stream = Some("0/socket.io/1".to_owned());
        let message = MemberMessage { uid: "ab".into(), news: MemberNews::Hello, stream };
        let json = serde_json::to_string(&message).unwrap();
        assert_eq!(json, r#"{"uid":"ab","news":"hello","stream":"0/socket.io/1"}"#);
        for other in [r#"{"uid":"ab","news":"alive"}"#, r#"{"uid":"ab","news":"alive","extra":1}"#]
        {
            let message: MemberMessage = serde_json::from_str(other).unwrap();
            assert_eq!((message.news, message.stream), (MemberNews::Alive, None));
        }
    }
}
