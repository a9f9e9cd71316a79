//! The settings of `tag-pii`.

use std::collections::BTreeMap;

use pft_ner::service::{ApiVersion, Connection};
use pft_ner::transformer::TransformerOptions;
use pft_pii::consistency::ConsistencyConfig;
use pft_pii::rules::UserPattern;
use pft_stage::{OutsidePath, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shard::Shard;

/// A tagger to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Backend {
    /// Regular expressions with checksums, and word lists.
    Rules {
        /// Whose label wins where spans overlap: the highest. Without it, the earlier in the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<i32>,
        /// Labels whose built-in patterns are left out.
        #[serde(default)]
        disable: Vec<String>,
        /// Further patterns.
        #[serde(default)]
        patterns: Vec<UserPattern>,
        /// Further words and phrases.
        #[serde(default)]
        words: Vec<WordList>,
    },
    /// A spaCy 3 pipeline for English, such as en_core_web_sm.
    Spacy {
        /// Whose label wins where spans overlap: the highest. Without it, the earlier in the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<i32>,
        /// The pipeline's folder, which holds `config.cfg`.
        #[schemars(extend("x-reads" = ["config.cfg", "meta.json", "tokenizer", "vocab/*", "ner/*", "tok2vec/*"]))]
        model: OutsidePath,
        /// The labels, in pft's own names, that this one is heard for; empty for all that count.
        #[serde(default)]
        labels: Vec<String>,
    },
    /// A token-classification checkpoint in Hugging Face layout: BERT, DistilBERT, RoBERTa, XLM-RoBERTa, DeBERTa.
    Transformer {
        /// Whose label wins where spans overlap: the highest. Without it, the earlier in the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<i32>,
        /// The checkpoint's folder, with weights in safetensors, pytorch_model.bin, model.onnx or onnx/model.onnx.
        #[schemars(extend("x-reads" = ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "*.index.json", ["model.safetensors", "*.safetensors", "pytorch_model.bin", "*.bin", "model.onnx", "onnx/model.onnx"]]))]
        model: OutsidePath,
        /// The labels, in pft's own names, that this one is heard for; empty for all that count.
        #[serde(default)]
        labels: Vec<String>,
        /// Most tokens that the model reads at once; bounded by what the checkpoint allows.
        #[serde(default = "max_tokens")]
        max_tokens: usize,
        /// Word pieces of context on each side of what a window of a long text answers for.
        #[serde(default = "context")]
        context: usize,
    },
    /// A SequenceTagger of Flair, such as ner-english-ontonotes-large.
    Flair {
        /// Whose label wins where spans overlap: the highest. Without it, the earlier in the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<i32>,
        /// The model file, or a folder that holds it as `pytorch_model.bin`.
        #[schemars(extend("x-reads" = ["pytorch_model.bin"]))]
        model: OutsidePath,
        /// The labels, in pft's own names, that this one is heard for; empty for all that count.
        #[serde(default)]
        labels: Vec<String>,
        /// The tokenizer.json of the transformer that a model saved before Flair 0.12 is based on, or
        /// the folder that holds it. Later files have their own.
        #[schemars(extend("x-reads" = ["tokenizer.json", "tokenizer_config.json"]))]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokenizer: Option<OutsidePath>,
    },
    /// An analyzer service of Presidio, to which every text is sent. Kinds of recognizers of your own
    /// count once `label_map` says what they mean, or `labels` names them. Presidio ranks what it takes for a
    /// date above bare identifiers, with scores of 0.05 to 0.4 for these: a threshold hides them. An analyzer
    /// built from Presidio's own YAML finds no organizations.
    Presidio {
        /// Whose label wins where spans overlap: the highest. Without it, the earlier in the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<i32>,
        /// The root of the service, http or https; texts are sent to `analyze` below it and nowhere else.
        url: String,
        /// The language of the texts.
        #[serde(default = "english")]
        language: String,
        /// Presidio's names of the kinds to look for; empty for all that the service knows.
        #[serde(default)]
        entities: Vec<String>,
        /// The score that an entity needs; without it the service's own. Above 0.05 it leaves out what bare
        /// numbers may be besides dates.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        score_threshold: Option<f32>,
        /// A name for what the service runs. What it answered is kept and used again until this or
        /// another setting here changes: change it when the service's models or recognizers do.
        #[serde(default)]
        version: String,
        /// The environment variable that holds the value of the `Authorization` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authorization_variable: Option<String>,
        /// How the service is talked to.
        #[serde(default)]
        connection: Connection,
    },
    /// A service of Private AI (Limina), to which every text is sent.
    PrivateAi {
        /// Whose label wins where spans overlap: the highest. Without it, the earlier in the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<i32>,
        /// The root of the service, http or https: what comes before `v3/process/text` or
        /// `process/text`. Texts are sent there and nowhere else.
        url: String,
        /// The version of the service's interface.
        #[serde(default)]
        api_version: ApiVersion,
        /// The environment variable that holds the key; without it none is sent. The key itself
        /// belongs in no config.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_variable: Option<String>,
        /// The service's detection model, such as `high`; without it the service's own choice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accuracy: Option<String>,
        /// The service's names of the kinds to look for; empty for all.
        #[serde(default)]
        entities: Vec<String>,
        /// A name for what the service runs. What it answered is kept and used again until this or
        /// another setting here changes: change it when the service's models do.
        #[serde(default)]
        version: String,
        /// How the service is talked to.
        #[serde(default)]
        connection: Connection,
    },
}

impl Backend {
    /// The labels that it is heard for; empty for all that count.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::Spacy { labels, .. }
            | Self::Transformer { labels, .. }
            | Self::Flair { labels, .. } => labels,
            Self::Rules { .. } | Self::Presidio { .. } | Self::PrivateAi { .. } => &[],
        }
    }
}

fn max_tokens() -> usize {
    TransformerOptions::default().max_tokens
}

fn context() -> usize {
    TransformerOptions::default().context
}

fn english() -> String {
    "en".to_string()
}

/// Words and phrases, in the config or in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WordList {
    /// The label of what it finds.
    pub label: String,
    /// The words and phrases.
    #[serde(default)]
    pub words: Vec<String>,
    /// A file with one of them a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<OutsidePath>,
    /// Whether `smith` also finds `SMITH` (ASCII letters only).
    #[serde(default)]
    pub ignore_case: bool,
}

/// Texts that are never personal information.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Ignored {
    /// A regular expression, for spans of any label.
    Pattern(String),
    /// One for spans of some labels only.
    OfLabels {
        /// The regular expression.
        pattern: String,
        /// The labels: a statute may be called as a person is.
        labels: Vec<String>,
    },
}

impl Ignored {
    /// The pattern, and the labels that it is for; none for all.
    pub fn parts(&self) -> (&str, &[String]) {
        match self {
            Self::Pattern(pattern) => (pattern, &[]),
            Self::OfLabels { pattern, labels } => (pattern, labels),
        }
    }
}

/// What to do with a document that could not be tagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Stop and name the document.
    Stop,
    /// Leave it out of the tags and count it. The stages that read the tags then
    /// refuse the document or leave it out as well: it never passes as clean.
    Drop,
}

/// Settings of the stage.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The taggers. Where their spans overlap, the union is tagged with the label of the one with
    /// the highest priority.
    pub backends: Vec<Backend>,
    /// The labels that count as personal information. By default OntoNotes' 18, MISC, and the rules'
    /// own: EMAIL, PHONE, URL, IP_ADDRESS, IBAN, CREDIT_CARD, US_SSN, CASE_NUMBER, AGE. Labels of the user's own patterns
    /// and word lists always count.
    pub labels: Vec<String>,
    /// The score that a span needs.
    pub min_score: f32,
    /// The score that a span of a label needs, instead of `min_score`.
    pub thresholds: BTreeMap<String, f32>,
    /// Further names for labels: a backend's label → the label to use.
    pub label_map: BTreeMap<String, String>,
    /// A file of further label names, in the form of pft-ner's data/labels.json.
    pub label_file: Option<OutsidePath>,
    /// Regular expressions of texts that are never personal information; each must match a whole span.
    /// `{ pattern: REGEX, labels: [ORG, LAW] }` is for spans of these labels only.
    pub ignore: Vec<Ignored>,
    /// Labels whose spans grow over capitalised words that touch them or that `of`, `for`, `de` … link to them:
    /// `Ministry` in `Ministry of Social Affairs`.
    pub widen: Vec<String>,
    /// The consistency pass: a name found once in a unit is found everywhere in that unit.
    pub consistency: ConsistencyConfig,
    /// What to do with a document that could not be tagged.
    pub on_error: OnError,
    /// `I/N` tags only the I-th of N parts of the corpus; empty for all of it.
    pub shard: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backends: vec![Backend::Rules {
                priority: None,
                disable: Vec::new(),
                patterns: Vec::new(),
                words: Vec::new(),
            }],
            labels: pft_pii::labels::default_pii(),
            min_score: 0.0,
            thresholds: BTreeMap::new(),
            label_map: BTreeMap::new(),
            label_file: None,
            ignore: Vec::new(),
            widen: Vec::new(),
            consistency: ConsistencyConfig::default(),
            on_error: OnError::Stop,
            shard: String::new(),
        }
    }
}

impl Config {
    /// The labels that the user's own patterns and lists bring.
    pub(crate) fn own_labels(&self) -> impl Iterator<Item = &String> {
        self.backends.iter().flat_map(|backend| {
            let (patterns, words) = match backend {
                Backend::Rules { patterns, words, .. } => (patterns.as_slice(), words.as_slice()),
                _ => (&[][..], &[][..]),
            };
            patterns.iter().map(|p| &p.label).chain(words.iter().map(|w| &w.label))
        })
    }

    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// Names the key.
    pub fn validate(&self) -> Result<(), StageError> {
        if self.backends.is_empty() {
            return Err(StageError::config("backends: the list is empty")
                .with_help("name at least one, such as `backends: [{kind: rules}]`"));
        }
        let counts = |label: &String| {
            self.labels.contains(label) || self.own_labels().any(|own| own == label)
        };
        if let Some(label) = self.label_map.values().find(|label| !counts(label)) {
            return Err(StageError::config(format!(
                "label_map: {label:?} is not among the labels that count, so what is mapped to it \
                 would not be found"
            ))
            .with_help(format!("the labels are {}", self.labels.join(", "))));
        }
        let known = pft_pii::labels::default_pii();
        for ignored in &self.ignore {
            let Ignored::OfLabels { pattern, labels } = ignored else { continue };
            let unknown = labels.iter().find(|label| !counts(label) && !known.contains(label));
            if labels.is_empty() {
                return Err(StageError::config(format!(
                    "ignore: the pattern {pattern:?} has an empty list of labels"
                ))
                .with_help("name some, or give the pattern alone for spans of any label"));
            } else if let Some(label) = unknown {
                return Err(StageError::config(format!("ignore: there is no label {label:?}"))
                    .with_help(format!("the labels are {}", self.labels.join(", "))));
            }
        }
        let scores =
            self.thresholds.iter().map(|(label, score)| (format!("thresholds.{label}"), *score));
        for (key, score) in scores.chain([
            ("min_score".to_string(), self.min_score),
            ("consistency.min_score".to_string(), self.consistency.min_score),
        ]) {
            if !(0.0..=1.0).contains(&score) {
                return Err(StageError::config(format!("{key}: {score} is not between 0 and 1")));
            }
        }
        for (n, backend) in self.backends.iter().enumerate() {
            if let Some(label) = backend.labels().iter().find(|label| !self.labels.contains(label))
            {
                return Err(StageError::config(format!(
                    "backends.{n}.labels: {label:?} is not among the labels that count"
                ))
                .with_help(format!("add it to `labels`: {}", self.labels.join(", "))));
            }
        }
        Shard::parse(&self.shard)?;
        Ok(())
    }
}
