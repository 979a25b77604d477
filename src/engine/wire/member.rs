//! Heartbeats among nodes of our own kind, as JSON: hello, alive, bye.

use serde::{Deserialize, Serialize};

/// A message on the members channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberMessage {
    /// The node.
    pub(crate) uid: String,
    /// What it says.
    pub(crate) news: MemberNews,
}

/// What a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MemberNews {
    /// It has just come (back): the others answer with [`MemberNews::Alive`].
    Hello,
    /// It is there.
    Alive,
    /// It leaves.
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
