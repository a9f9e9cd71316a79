//! What a key made, as it is written in the store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{canonical_json, hash_bytes};

/// What a key made: the content hash of every output port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Content hash by output port.
    pub outputs: BTreeMap<String, String>,
    /// What the key was computed from, to explain a miss by the difference of two keys.
    pub key_parts: Value,
    /// How long the stage ran, in seconds.
    pub seconds: f64,
    /// BLAKE3 of the key and of the fields above: which content a key stands for is as worth
    /// protecting as the content. Actions of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

impl Action {
    /// What `key` made, sealed.
    pub(crate) fn sealed(
        key: &str,
        outputs: BTreeMap<String, String>,
        key_parts: Value,
        seconds: f64,
    ) -> Self {
        let mut action = Self { outputs, key_parts, seconds, seal: None };
        action.seal = Some(action.seal_for(key));
        action
    }

    fn seal_for(&self, key: &str) -> String {
        let sealed = json!([key, self.outputs, self.key_parts, self.seconds]);
        hash_bytes(canonical_json(&sealed).as_bytes())
    }

    pub(crate) fn to_json(&self) -> String {
        // Strings, numbers and maps with string keys always have a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The action of `key` in the text of its file, if every byte is as it was written.
    pub(crate) fn parse(key: &str, text: &str) -> Option<Self> {
        let action: Self = serde_json::from_str(text).ok()?;
        let whole = action.seal.as_ref().is_none_or(|seal| *seal == action.seal_for(key));
        (whole && action.to_json() == text).then_some(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_found() {
        let outputs = BTreeMap::from([("corpus".to_string(), "ab".repeat(32))]);
        let parts = json!({ "stage": "ingest", "config": { "path": "x", "share": 0.1 } });
        let text = Action::sealed("key", outputs, parts, 1.25).to_json();
        assert!(Action::parse("key", &text).is_some());
        assert!(Action::parse("other", &text).is_none(), "another key's action");
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = String::from_utf8(bytes).is_ok_and(|t| Action::parse("key", &t).is_some());
            assert!(!found, "bit {bit}");
        }
    }
}
