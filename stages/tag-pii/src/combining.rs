//! What the taggers found becomes a document's tags.

use pft_pii::Span;
use pft_pii::combine::{Policy, SpanList, combine};
use pft_pii::consistency::{Consistency, NameFinder};
use pft_pii::labels::{LabelMap, default_pii};
use pft_pii::widen::widen;
use pft_stage::StageError;

use crate::Config;
use crate::backends::Rank;
use crate::cache::{Cache, Recalled, TextHash};

/// What counts of the taggers' answers, and the consistency pass.
pub(crate) struct Combining {
    /// The taggers' ranks, in the config's order.
    pub(crate) ranks: Vec<Rank>,
    /// Which spans count, and as what.
    pub(crate) policy: Policy,
    /// The labels whose spans grow over the words that belong to them.
    widen: Vec<String>,
    /// The consistency pass, where it is on.
    pub(crate) consistency: Option<Consistency>,
}

impl Combining {
    /// What the config says of taggers with these ranks.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub(crate) fn new(config: &Config, ranks: Vec<Rank>) -> Result<Self, StageError> {
        let labels = || config.labels.iter().chain(config.own_labels());
        if let Some(label) = labels().find(|label| label.contains('+')) {
            return Err(StageError::config(format!("the label `{label}` has a `+`"))
                .with_help("choose another name: `+` stands between the labels of a span"));
        }
        let mut policy = Policy::new(labels().cloned());
        // A label of the user's own is itself, whatever another tagger means by the word.
        for label in config.own_labels() {
            policy.labels.alias(label, label);
        }
        policy.min_score = config.min_score;
        policy.thresholds = config.thresholds.clone();
        if let Some(file) = &config.label_file {
            let path = file.as_path();
            let wrong = |message: String| {
                StageError::config(format!("label_file {}: {message}", path.display()))
            };
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            policy.labels.extend(LabelMap::parse(&text).map_err(|error| wrong(error.to_string()))?);
        }
        for (foreign, canonical) in &config.label_map {
            policy.labels.alias(foreign, canonical);
        }
        for ignored in &config.ignore {
            let (pattern, labels) = ignored.parts();
            policy
                .ignore(pattern, labels)
                .map_err(|error| StageError::config(error.to_string()))?;
        }
        check_labels(config, &policy)?;
        let consistency = config.consistency.enabled.then(|| Consistency::new(&config.consistency));
        Ok(Self { ranks, policy, widen: config.widen.clone(), consistency })
    }

    /// Combines what the backends found in a text, in their order and as far as they are heard,
    /// with the names of its unit.
    pub(crate) fn combine(
        &self,
        text: &str,
        found: &[impl SpanList],
        names: Option<&NameFinder>,
    ) -> Vec<Span> {
        let extra = names.map(|names| names.find(text)).unwrap_or_default();
        let ranks = self.ranks.iter().map(|rank| rank.priority);
        let found = found.iter().map(|spans| spans as &dyn SpanList);
        let mut ranked: Vec<(i32, &dyn SpanList)> = ranks.zip(found).collect();
        ranked.push((i32::MIN, &extra));
        let spans = combine(text, &ranked, &self.policy);
        if self.widen.is_empty() { spans } else { widen(text, spans, &self.widen) }
    }

    /// What the backends are heard for of their finished work on a text.
    pub(crate) fn recall(
        &self,
        caches: &[Cache],
        hash: &TextHash,
    ) -> Result<Vec<Recalled>, StageError> {
        let answers = self.ranks.iter().zip(caches);
        let answers = answers
            .map(|(rank, cache)| cache.get(hash, |label| rank.is_heard(label, &self.policy)));
        answers.collect()
    }
}

/// A label that no span can have is a mistake that would leave all of its kind readable.
fn check_labels(config: &Config, policy: &Policy) -> Result<(), StageError> {
    if policy.pii.is_empty() {
        return Err(StageError::config("labels: the list is empty, and nothing would be found")
            .with_help("leave `labels` out for all of them"));
    }
    let known = default_pii();
    let is_own = |label: &String| config.own_labels().any(|own| own == label);
    for label in config.labels.iter().filter(|label| !is_own(label)) {
        let meaning = policy.labels.canonical(&label.as_str().into());
        let right = if *meaning == **label {
            let same = known.iter().find(|known| known.eq_ignore_ascii_case(label));
            same.filter(|known| *known != label).map(String::as_str)
        } else {
            Some(&*meaning)
        };
        if let Some(right) = right {
            return Err(StageError::config(format!("labels: {label:?} is called {right:?} here"))
                .with_help(format!(
                    "write {right}; where it is a model's own label, map it: label_map: {{ {label}: \
                     {right} }}"
                )));
        }
    }
    Ok(())
}
