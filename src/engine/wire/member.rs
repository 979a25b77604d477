//! Heartbeats between our nodes, as JSON: hello, alive, bye.

use serde::{Deserialize, Serialize};

/// A message on the members channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberMessage {
    /// The `uid` of the node that sends the message.
    pub(crate) uid: String,
    pub(crate) news: MemberNews,
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
        let message = MemberMessage { uid: "ab".into(), news: MemberNews::Hello };
        let json = serde_json::to_string(&message).unwrap();
        assert_eq!(json, r#"{"uid":"ab","news":"hello"}"#);
        let newer = r#"{"uid":"ab","news":"alive","extra":1}"#;
        assert!(serde_json::from_str::<MemberMessage>(newer).is_ok());
    }
}
