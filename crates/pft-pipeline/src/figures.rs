//! The figures that the shipped stages leave in the provenance of their artifacts, read by name: what
//! people ask for first. A stage that leaves none of them is shown without.

use pft_artifact::{Kind, Manifest, Store};
use serde::Serialize;
use serde_json::{Value, json};

use crate::privacy::Privacy;

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
    /// What its statement says of the people it was trained on; none where it has none.
    #[serde(flatten)]
    pub(crate) privacy: Option<Privacy>,
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
            privacy: None,
            held_out,
            train,
            before: set("before", "held_out"),
            memorisation_gap: gap.filter(|gap| gap.is_finite()),
            audit: metrics.get("audit").cloned(),
            step_seconds: metrics["step_seconds"].as_f64(),
        }
    }

    /// ε, where a bound holds.
    pub(crate) fn epsilon(&self) -> Option<f64> {
        self.privacy.as_ref()?.bound().map(|(epsilon, _)| epsilon)
    }

    /// Whether it was clipped as in a private training, without noise.
    pub(crate) fn is_clip_only(&self) -> bool {
        self.privacy.as_ref().is_some_and(Privacy::is_clip_only)
    }

    /// ε, δ and whether it is for release, for a table.
    pub(crate) fn privacy_cells(&self) -> [String; 3] {
        match &self.privacy {
            Some(said) => [said.epsilon_cell(), said.delta_cell(), said.release_cell().to_string()],
            None => ["–", "–", "no"].map(str::to_string),
        }
    }

    /// What protects the units, in words.
    pub(crate) fn defence(&self) -> String {
        let none = || "no privacy statement".to_string();
        self.privacy.as_ref().map_or_else(none, |said| said.defence())
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let mut parts = vec![self.defence()];
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
        let figures = ModelFigures { privacy: Privacy::of(&folder), ..ModelFigures::of(metrics) };
        return Some(Figures::Model(Box::new(figures)));
    }
    if metrics["spans_by_label"].is_object() {
        let labels = metrics["spans_by_label"].clone();
        return Some(Figures::Replaced(labels, metrics["spans_replaced"].as_u64()));
    }
    let labels = &metrics["entities_by_label"];
    labels.is_object().then(|| Figures::Found(labels.clone()))
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
            "evaluation": { "after": { "held_out": part(8.0), "train": part(4.0) } },
        });
        let figures = ModelFigures::of(&metrics);
        assert!((figures.memorisation_gap.unwrap() - 2f64.ln()).abs() < 1e-12);
        assert!(
            figures.line().starts_with("no privacy statement, held-out perplexity 5.00 (8.00 in")
        );
    }

    #[test]
    fn only_a_statement_speaks_of_epsilon() {
        let metrics = json!({ "epsilon": 0.1 });
        let figures = ModelFigures::of(&metrics);
        assert_eq!((figures.epsilon(), figures.privacy_cells()[0].as_str()), (None, "–"));
        assert_eq!(json!(figures).get("epsilon"), None);
    }
}
