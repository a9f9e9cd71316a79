//! The figures that the shipped stages leave in the provenance of their artifacts, read by name: what
//! people ask for first. A stage that leaves none of them is shown without.

use std::path::Path;

use pft_artifact::{Kind, Manifest, Store};
use serde::Serialize;
use serde_json::{Value, json};

/// Perplexities of a model on one set of examples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Perplexities {
    /// Over all tokens.
    pub(crate) all: Option<f64>,
    /// Over tokens in personal data.
    pub(crate) pii: Option<f64>,
    /// Over the others.
    pub(crate) other: Option<f64>,
}

/// What is known of a trained model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ModelFigures {
    /// ε, where training was private.
    pub(crate) epsilon: Option<f64>,
    /// Whether units were sampled and clipped as in a private training, and no noise was added: ε is
    /// infinite.
    pub(crate) clip_only: bool,
    /// On held-out examples, after training.
    pub(crate) held_out: Perplexities,
    /// On examples that it was trained on.
    pub(crate) train: Perplexities,
    /// On held-out examples, before training.
    pub(crate) before: Perplexities,
    /// Mean loss on held-out personal data less that on personal data of training, in nats a token:
    /// what the model knows of the people it saw beyond what it knows of others.
    pub(crate) memorisation_gap: Option<f64>,
    /// Figures of an audit, where there was one.
    pub(crate) audit: Option<Value>,
    /// Time in steps, in seconds.
    pub(crate) step_seconds: Option<f64>,
}

impl ModelFigures {
    fn of(metrics: &Value) -> Self {
        let evaluation = &metrics["evaluation"];
        let set = |when: &str, which: &str| {
            let set = &evaluation[when][which];
            Perplexities {
                all: set["perplexity"].as_f64(),
                pii: set["pii_perplexity"].as_f64(),
                other: set["other_perplexity"].as_f64(),
            }
        };
        let (held_out, train) = (set("after", "held_out"), set("after", "train"));
        let gap = held_out.pii.zip(train.pii).map(|(held, seen)| held.ln() - seen.ln());
        Self {
            epsilon: metrics["epsilon"].as_f64(),
            clip_only: false,
            held_out,
            train,
            before: set("before", "held_out"),
            memorisation_gap: gap.filter(|gap| gap.is_finite()),
            audit: metrics.get("audit").cloned(),
            step_seconds: metrics["step_seconds"].as_f64(),
        }
    }

    /// ε for a table: `∞` after clipping without noise, `none` without either.
    pub(crate) fn epsilon_cell(&self, digits: usize) -> String {
        match self.epsilon {
            Some(epsilon) => upward(epsilon, digits),
            None if self.clip_only => "∞".to_string(),
            None => "none".to_string(),
        }
    }

    /// What protects the units, in words.
    pub(crate) fn defence(&self, digits: usize) -> String {
        match self.epsilon {
            Some(epsilon) => format!("ε = {}", upward(epsilon, digits)),
            None if self.clip_only => "clipped, no noise: ε = ∞".to_string(),
            None => "no differential privacy".to_string(),
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let mut parts = vec![self.defence(4)];
        let show = |name: &str, set: Perplexities| {
            let all = set.all?;
            let pii =
                set.pii.map(|pii| format!(" ({pii:.2} in personal data)")).unwrap_or_default();
            Some(format!("{name} perplexity {all:.2}{pii}"))
        };
        parts.extend(show("held-out", self.held_out));
        parts.extend(show("training", self.train));
        parts.join(", ")
    }
}

/// What an artifact has to say of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Figures {
    /// Of a model.
    Model(Box<ModelFigures>),
    /// What was found, by label.
    Found(Value),
    /// What was replaced, by label, and how many spans in all.
    Replaced(Value, Option<u64>),
}

/// The metrics of an artifact: what its stage recorded.
pub(crate) fn metrics(store: &Store, hash: &str) -> Value {
    let manifest = Manifest::open(&store.artifact_path(hash));
    manifest.map(|manifest| manifest.provenance["metrics"].clone()).unwrap_or_default()
}

/// The figures of an artifact, if it has any.
pub(crate) fn of(store: &Store, hash: &str) -> Option<Figures> {
    let folder = store.artifact_path(hash);
    let manifest = Manifest::open(&folder).ok()?;
    let metrics = &manifest.provenance["metrics"];
    if manifest.kind == Kind::Model && metrics.is_object() {
        let clip_only = is_clip_only(&folder);
        let figures = ModelFigures { clip_only, ..ModelFigures::of(metrics) };
        return Some(Figures::Model(Box::new(figures)));
    }
    if metrics["spans_by_label"].is_object() {
        let labels = metrics["spans_by_label"].clone();
        return Some(Figures::Replaced(labels, metrics["spans_replaced"].as_u64()));
    }
    let labels = &metrics["entities_by_label"];
    labels.is_object().then(|| Figures::Found(labels.clone()))
}

/// An upper bound with so many decimals, none of which make it smaller.
fn upward(bound: f64, digits: usize) -> String {
    let text = format!("{bound:.digits$}");
    if text.parse().is_ok_and(|shown: f64| shown >= bound) || !bound.is_finite() {
        return text;
    }
    format!("{:.digits$}", bound + 0.5 / 10f64.powi(digits as i32))
}

/// Whether a model's privacy statement says that it was clipped and got no noise.
fn is_clip_only(folder: &Path) -> bool {
    let statement = std::fs::read(folder.join("privacy.json")).ok();
    let statement: Option<Value> = statement.and_then(|text| serde_json::from_slice(&text).ok());
    let reasons = statement.as_ref().and_then(|said| said["not_for_release"].as_array());
    reasons.is_some_and(|reasons| reasons.contains(&json!("without_noise")))
}

impl Figures {
    /// One line for people.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Model(figures) => figures.line(),
            Self::Found(labels) => format!("found: {}", counts(labels)),
            Self::Replaced(labels, Some(spans)) => {
                format!("{spans} spans replaced: {}", counts(labels))
            }
            Self::Replaced(labels, None) => format!("replaced: {}", counts(labels)),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Model(figures) => json!(figures),
            Self::Found(labels) => json!({ "found": labels }),
            Self::Replaced(labels, spans) => json!({ "replaced": labels, "spans": spans }),
        }
    }
}

/// `PERSON 12, DATE 3`, the most frequent first.
fn counts(labels: &Value) -> String {
    let mut counts = by_label(labels);
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let parts: Vec<String> =
        counts.iter().map(|(label, count)| format!("{label} {count}")).collect();
    if parts.is_empty() { "nothing".to_string() } else { parts.join(", ") }
}

/// Counts by label. `scrub` counts what it found and what it replaced: the latter is meant.
pub(crate) fn by_label(labels: &Value) -> Vec<(String, u64)> {
    let count = |value: &Value| value.as_u64().or(value["replaced"].as_u64()).unwrap_or(0);
    let all = labels.as_object().into_iter().flatten();
    all.map(|(label, value)| (label.clone(), count(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_in_nats() {
        let part = |pii: f64| json!({ "perplexity": 5.0, "pii_perplexity": pii });
        let metrics = json!({
            "epsilon": 7.9, "evaluation": { "after": { "held_out": part(8.0), "train": part(4.0) } },
        });
        let figures = ModelFigures::of(&metrics);
        assert!((figures.memorisation_gap.unwrap() - 2f64.ln()).abs() < 1e-12);
        assert!(figures.line().starts_with("ε = 7.9000, held-out perplexity 5.00 (8.00 in"));
        let clipped = ModelFigures { epsilon: None, clip_only: true, ..figures.clone() };
        assert!(clipped.line().starts_with("clipped, no noise: ε = ∞, held-out"));
        let cells = [&figures, &clipped, &ModelFigures::default()].map(|one| one.epsilon_cell(2));
        assert_eq!(cells, ["7.90", "∞", "none"]);
        // A bound is never said to be smaller than it is.
        let bounds = [7.9975, 2.99841, 2.9984, 8.0, 0.00001].map(|bound| upward(bound, 3));
        assert_eq!(bounds, ["7.998", "2.999", "2.999", "8.000", "0.001"]);
    }
}
