//! How llama.cpp cuts a text before byte-level merges, and what Hugging Face's `tokenizer.json`
//! says for the same.
//!
//! A GGUF file holds only a name (`tokenizer.ggml.pre`); settings and expressions are in llama.cpp
//! (`llm_tokenizer_bpe` and `llama_vocab::impl::load`). A name stands here where llama.cpp gives
//! the ids of the `tokenizers` package for what is written beside it, which tests/reference/
//! llama_cpp.py checks with llama.cpp itself. llama.cpp's expressions for `tekken` and `gpt-4o`
//! leave out combining marks, which the originals keep with their letters: they are not here.

use serde_json::{Value, json};

/// GPT-2's expression, as `ByteLevel` applies it, without its last alternative: what no
/// alternative takes is a piece of its own.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";

/// Llama 3's expression.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen 2's expression: Llama 3's with single digits.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// One of the steps that a text is cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Each digit is a piece.
    Digits,
    /// Matches of an expression, and what is between them, are pieces.
    Split(&'static str),
    /// Bytes become letters, with no space before the text; with GPT-2's expression or without one.
    Bytes { use_regex: bool },
}

/// A way of cutting texts that llama.cpp has a name for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreTokenizer {
    names: &'static [&'static str],
    steps: &'static [Step],
    /// Whether a piece that is a token is taken as it is, whatever merges would make of it.
    pub ignore_merges: bool,
    /// Whether texts begin with BOS in files that do not say.
    pub add_bos: bool,
}

const KNOWN: [PreTokenizer; 6] = [
    PreTokenizer {
        names: &["gpt-2", "phi-2", "olmo", "mpt"],
        steps: &[Step::Bytes { use_regex: true }],
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        names: &["smollm", "starcoder", "refact", "codeshell", "minerva-7b"],
        steps: &[Step::Digits, Step::Bytes { use_regex: true }],
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3"],
        steps: &[Step::Split(LLAMA3), Step::Bytes { use_regex: false }],
        ignore_merges: true,
        add_bos: true,
    },
    PreTokenizer {
        names: &["dbrx", "smaug-bpe"],
        steps: &[Step::Split(LLAMA3), Step::Bytes { use_regex: false }],
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen", "megrez"],
        steps: &[Step::Split(QWEN2), Step::Bytes { use_regex: false }],
        ignore_merges: false,
        add_bos: false,
    },
    // What llama.cpp takes where a converter knew no better; no tokenizer.json is like it.
    PreTokenizer {
        names: &["default"],
        steps: &[
            Step::Split(r"[\p{P}\$\+<=>\^~\|]+"),
            Step::Split(GPT2),
            Step::Split(r"\p{N}+"),
            Step::Split("[0-9][0-9][0-9]"),
            Step::Bytes { use_regex: false },
        ],
        ignore_merges: false,
        add_bos: false,
    },
];

impl PreTokenizer {
    /// The one that llama.cpp means by a name.
    ///
    /// # Errors
    /// Says which names are known here.
    pub fn named(name: &str) -> Result<Self, String> {
        KNOWN.into_iter().find(|known| known.names.contains(&name)).ok_or_else(|| {
            let known: Vec<&str> = KNOWN.iter().map(|known| known.name()).collect();
            format!("its pre-tokenizer is {name:?}; known are {}", known.join(", "))
        })
    }

    /// The name of what a `tokenizer.json` says in `pre_tokenizer` and in its model.
    ///
    /// # Errors
    /// Says what llama.cpp has no name for.
    pub fn of(pre_tokenizer: &Value, ignore_merges: bool) -> Result<Self, String> {
        let steps = steps(pre_tokenizer);
        let same = |known: &&PreTokenizer| {
            known.ignore_merges == ignore_merges
                && known.steps.len() == steps.len()
                && known.steps.iter().zip(&steps).all(|(known, step)| known.is(step))
        };
        KNOWN.iter().find(same).copied().ok_or_else(|| {
            let steps: Vec<String> = steps.iter().map(|step| describe(step)).collect();
            let merges = if ignore_merges { ", and ignore_merges" } else { "" };
            format!(
                "llama.cpp has no name for the way in which it cuts texts: {}{merges}",
                if steps.is_empty() { "no pre-tokenizer".to_owned() } else { steps.join(", ") }
            )
        })
    }

    /// The name to write.
    pub fn name(&self) -> &'static str {
        self.names[0]
    }

    /// `pre_tokenizer` of a `tokenizer.json`.
    pub fn to_json(&self) -> Value {
        let mut steps: Vec<Value> = self.steps.iter().map(|step| step.to_json()).collect();
        match steps.len() {
            1 => steps.remove(0),
            _ => json!({ "type": "Sequence", "pretokenizers": steps }),
        }
    }
}

impl Step {
    /// Whether a part of a `tokenizer.json` does the same.
    fn is(self, part: &Value) -> bool {
        match self {
            Self::Digits => part["type"] == "Digits" && part["individual_digits"] == true,
            Self::Split(expression) => {
                // Keeping nothing but the matches is the same: these expressions leave nothing out.
                let whole = (part["behavior"] == "Isolated" && part["invert"] == false)
                    || (part["behavior"] == "Removed" && part["invert"] == true);
                part["type"] == "Split" && part["pattern"]["Regex"] == expression && whole
            }
            Self::Bytes { use_regex } => {
                // Files from before there was the switch do not have it: they use the expression.
                let uses = part["use_regex"].as_bool().unwrap_or(true);
                part["type"] == "ByteLevel"
                    && part["add_prefix_space"] == false
                    && uses == use_regex
            }
        }
    }

    fn to_json(self) -> Value {
        match self {
            Self::Digits => json!({ "type": "Digits", "individual_digits": true }),
            Self::Split(expression) => json!({
                "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated",
                "invert": false,
            }),
            Self::Bytes { use_regex } => json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": use_regex,
            }),
        }
    }
}

/// The parts of a pre-tokenizer, sequences within sequences laid flat.
fn steps(pre_tokenizer: &Value) -> Vec<&Value> {
    match &pre_tokenizer["pretokenizers"] {
        Value::Array(parts) => parts.iter().flat_map(steps).collect(),
        _ if pre_tokenizer.is_null() => Vec::new(),
        _ => vec![pre_tokenizer],
    }
}

/// A part with those of its settings that decide about ids.
fn describe(part: &Value) -> String {
    let kind = part["type"].as_str().unwrap_or("?");
    let settings = part.as_object().into_iter().flatten();
    let settings: Vec<String> = settings
        .filter(|(key, _)| !matches!(key.as_str(), "type" | "trim_offsets"))
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    format!("{kind} ({})", settings.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_for_a_name_is_known_by_that_name() {
        for known in KNOWN {
            assert_eq!(PreTokenizer::of(&known.to_json(), known.ignore_merges), Ok(known));
            for name in known.names {
                assert_eq!(PreTokenizer::named(name), Ok(known));
            }
        }
        assert!(PreTokenizer::named("tekken").unwrap_err().contains("smollm"));
    }

    #[test]
    fn every_setting_that_changes_ids_is_refused_by_name() {
        for (name, setting, value) in [
            ("gpt-2", "add_prefix_space", json!(true)),
            ("gpt-2", "use_regex", json!(false)),
            ("smollm", "individual_digits", json!(false)),
            ("llama-bpe", "behavior", json!("MergedWithNext")),
            ("qwen2", "pattern", json!({ "Regex": r"\p{L}+" })),
        ] {
            let mut json = PreTokenizer::named(name).unwrap().to_json();
            let ignore_merges = PreTokenizer::named(name).unwrap().ignore_merges;
            let parts = match json["pretokenizers"].as_array_mut() {
                Some(parts) => parts.iter_mut().collect(),
                None => vec![&mut json],
            };
            for part in parts.into_iter().filter(|part| !part[setting].is_null()) {
                part[setting] = value.clone();
            }
            let problem = PreTokenizer::of(&json, ignore_merges).unwrap_err();
            assert!(problem.contains(setting), "{problem}");
        }
        let llama3 = PreTokenizer::named("llama-bpe").unwrap().to_json();
        assert_eq!(PreTokenizer::of(&llama3, false).unwrap().name(), "dbrx");
        assert!(PreTokenizer::of(&Value::Null, false).unwrap_err().contains("no pre-tokenizer"));
    }
}
