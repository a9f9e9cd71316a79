//! Makes taggers from the config.

use std::path::Path;
use std::sync::Arc;

use pft_ner::flair::{FlairOptions, FlairTagger};
use pft_ner::service::{PresidioOptions, PresidioTagger, PrivateAiOptions, PrivateAiTagger};
use pft_ner::spacy::SpacyTagger;
use pft_ner::transformer::{TransformerOptions, TransformerTagger};
use pft_pii::combine::Policy;
use pft_pii::rules::{RulesConfig, RulesTagger, WordList};
use pft_pii::{LoadError, Tagger};
use pft_stage::StageError;

use crate::{Backend, Config, config};

/// What counts of a tagger's answers, and how much.
pub(crate) struct Rank {
    /// The label of the higher wins where spans overlap.
    pub(crate) priority: i32,
    /// The labels that it is heard for; empty for all that count.
    labels: Vec<String>,
}

impl Rank {
    /// Whether it is heard for what it calls `label`.
    pub(crate) fn is_heard(&self, label: &Arc<str>, policy: &Policy) -> bool {
        let label = policy.labels.canonical(label);
        self.labels.is_empty() || self.labels.iter().any(|heard| **heard == *label)
    }
}

/// A tagger and its rank.
pub(crate) type Ranked = (Arc<dyn Tagger>, Rank);

/// The config's taggers with their ranks, in its order.
///
/// # Errors
/// When a setting is wrong (exit code 2) or a model cannot be read (3).
pub(crate) fn load(config: &Config) -> Result<Vec<Ranked>, StageError> {
    config
        .backends
        .iter()
        .enumerate()
        .map(|(n, backend)| {
            let rank = -i32::try_from(n).unwrap_or(i32::MAX);
            load_one(backend, rank).map_err(|error| {
                let message = format!("backends.{n}: {}", error.message());
                match error.exit_code() {
                    2 => StageError::config(message),
                    _ => StageError::input(message),
                }
            })
        })
        .collect()
}

fn load_one(backend: &Backend, rank: i32) -> Result<Ranked, StageError> {
    let ranked = |tagger: Arc<dyn Tagger>, priority: &Option<i32>| {
        let labels = backend.labels().to_vec();
        (tagger, Rank { priority: priority.unwrap_or(rank), labels })
    };
    match backend {
        Backend::Rules { priority, disable, patterns, words } => {
            let words = words.iter().map(word_list).collect::<Result<_, StageError>>()?;
            let rules = RulesConfig { disable: disable.clone(), patterns: patterns.clone(), words };
            Ok(ranked(Arc::new(RulesTagger::new(&rules).map_err(unloadable)?), priority))
        }
        Backend::Spacy { priority, model, .. } => {
            let tagger = SpacyTagger::load(model.as_path()).map_err(unloadable)?;
            Ok(ranked(Arc::new(tagger), priority))
        }
        Backend::Transformer { priority, model, max_tokens, context, .. } => {
            let options = TransformerOptions { max_tokens: *max_tokens, context: *context };
            let tagger = TransformerTagger::load(model.as_path(), options).map_err(unloadable)?;
            Ok(ranked(Arc::new(tagger), priority))
        }
        Backend::Flair { priority, model, tokenizer, .. } => {
            let tokenizer = tokenizer.as_ref().map(|path| path.as_path().to_path_buf());
            let tagger = FlairTagger::load(model.as_path(), &FlairOptions { tokenizer });
            Ok(ranked(Arc::new(tagger.map_err(unloadable)?), priority))
        }
        Backend::Presidio {
            priority,
            url,
            language,
            entities,
            score_threshold,
            version,
            authorization_variable,
            connection,
        } => {
            let options = PresidioOptions {
                url: url.clone(),
                language: language.clone(),
                entities: entities.clone(),
                score_threshold: *score_threshold,
                version: version.clone(),
                authorization: secret("authorization_variable", authorization_variable)?,
                connection: connection.clone(),
            };
            Ok(ranked(Arc::new(PresidioTagger::new(options).map_err(unloadable)?), priority))
        }
        Backend::PrivateAi {
            priority,
            url,
            api_version,
            key_variable,
            accuracy,
            entities,
            version,
            connection,
        } => {
            let options = PrivateAiOptions {
                url: url.clone(),
                api_version: *api_version,
                key: secret("key_variable", key_variable)?,
                accuracy: accuracy.clone(),
                entities: entities.clone(),
                version: version.clone(),
                connection: connection.clone(),
            };
            Ok(ranked(Arc::new(PrivateAiTagger::new(options).map_err(unloadable)?), priority))
        }
    }
}

/// What an environment variable holds, where a config names one.
fn secret(key: &str, variable: &Option<String>) -> Result<Option<String>, StageError> {
    let Some(variable) = variable else { return Ok(None) };
    match std::env::var(variable) {
        Ok(value) if !value.trim().is_empty() => Ok(Some(value.trim().to_string())),
        // The name is not repeated: somebody may have written the secret itself here.
        _ => Err(StageError::config(format!(
            "{key}: the environment variable of that name is not set or empty"
        ))),
    }
}

fn unloadable(error: LoadError) -> StageError {
    match error {
        LoadError::Config(message) => StageError::config(message),
        LoadError::Model(message) => StageError::input(message),
    }
}

/// A config's list of words, with those of the file that it names.
fn word_list(list: &config::WordList) -> Result<WordList, StageError> {
    let mut words = list.words.clone();
    if let Some(file) = &list.file {
        words.extend(read_words(file.as_path())?);
    }
    Ok(WordList { label: list.label.clone(), words, ignore_case: list.ignore_case })
}

fn read_words(path: &Path) -> Result<Vec<String>, StageError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        StageError::input(format!("{}: cannot read the word list: {error}", path.display()))
    })?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect())
}
