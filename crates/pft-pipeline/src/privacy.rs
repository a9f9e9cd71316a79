//! What the runner shows of a model's privacy statement, `privacy.json` (its schema is
//! `crates/pft-dp/privacy.schema.json`): ε never stands without its δ, nor without whether the model
//! may be given away as private.

use std::path::Path;

use pft_rounding::{delta_rounded_up, rounded_up};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// The file of a model or bundle that holds the statement.
const FILE: &str = "privacy.json";

/// The reason of a model that was clipped and got no noise.
const WITHOUT_NOISE: &str = "without_noise";

/// A privacy statement, as far as the runner shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Privacy {
    /// In sentences.
    pub(crate) statement: String,
    /// Whether the model may be given away as private.
    pub(crate) fit_for_release: bool,
    not_for_release: Vec<Value>,
    epsilon: Vec<Accounted>,
    delta: Option<f64>,
    /// What made units decide about each other, in words.
    #[serde(default)]
    pub(crate) couplings: Vec<String>,
    /// What else touched the data, in words.
    #[serde(default)]
    pub(crate) other_uses: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Accounted {
    epsilon: f64,
}

/// What a program wants of it: the bound, and whether it may be relied on outside.
impl Serialize for Privacy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            epsilon: Option<f64>,
            delta: Option<f64>,
            clip_only: bool,
            fit_for_release: bool,
            not_for_release: &'a [Value],
        }
        let (epsilon, delta) = self.bound().unzip();
        let (clip_only, fit_for_release) = (self.is_clip_only(), self.fit_for_release);
        let not_for_release = &self.not_for_release;
        Shown { epsilon, delta, clip_only, fit_for_release, not_for_release }.serialize(serializer)
    }
}

impl Privacy {
    /// The statement beside a model's weights; none where there is none that this version reads.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let text = std::fs::read(folder.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// (ε, δ), where a bound holds; ε is the first accountant's, which the statement quotes.
    pub(crate) fn bound(&self) -> Option<(f64, f64)> {
        Some((self.epsilon.first()?.epsilon, self.delta?))
    }

    /// Whether units were sampled and clipped as in a private training, and no noise was added: ε is
    /// infinite.
    pub(crate) fn is_clip_only(&self) -> bool {
        self.not_for_release.iter().any(|reason| reason == WITHOUT_NOISE)
    }

    /// ε for a table: `∞` after clipping without noise, `none` without either.
    pub(crate) fn epsilon_cell(&self) -> String {
        match self.bound() {
            Some((epsilon, _)) => rounded_up(epsilon),
            None if self.is_clip_only() => "∞".to_string(),
            None => "none".to_string(),
        }
    }

    /// δ for a table.
    pub(crate) fn delta_cell(&self) -> String {
        self.bound().map_or("–".to_string(), |(_, delta)| delta_rounded_up(delta))
    }

    /// Whether the model may be given away as private, for a table.
    pub(crate) fn release_cell(&self) -> &'static str {
        if self.fit_for_release { "yes" } else { "no" }
    }

    /// What protects the units, in words.
    pub(crate) fn defence(&self) -> String {
        match self.bound() {
            Some((epsilon, delta)) => {
                let bound = format!("ε = {}", rounded_up(epsilon));
                let release = if self.fit_for_release { "" } else { ", not for release" };
                format!("{bound} at δ = {}{release}", delta_rounded_up(delta))
            }
            None if self.is_clip_only() => "clipped, no noise: ε = ∞".to_string(),
            None => "no differential privacy".to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn statement(epsilon: Value, reasons: Value) -> Privacy {
        let fit = reasons == json!([]);
        serde_json::from_value(json!({
            "statement": "", "fit_for_release": fit, "not_for_release": reasons,
            "epsilon": epsilon, "delta": 1e-3,
        }))
        .unwrap()
    }

    #[test]
    fn no_epsilon_stands_alone() {
        let bound = json!([{ "accountant": "pld", "epsilon": 7.99751, "is_bound": true }]);
        let fit = statement(bound.clone(), json!([]));
        assert_eq!(fit.defence(), "ε = 7.9976 at δ = 1.000e-3");
        let unfit = statement(bound, json!(["units_counted"]));
        assert_eq!(unfit.defence(), "ε = 7.9976 at δ = 1.000e-3, not for release");
        let clipped = statement(json!([]), json!(["without_noise"]));
        assert_eq!(clipped.defence(), "clipped, no noise: ε = ∞");
        let none = statement(json!([]), json!(["not_private"]));
        assert_eq!(none.defence(), "no differential privacy");
        let cells = [&fit, &clipped, &none].map(|one| one.epsilon_cell());
        assert_eq!(cells, ["7.9976", "∞", "none"]);
        assert_eq!([&fit, &none].map(Privacy::delta_cell), ["1.000e-3", "–"]);
    }
}
