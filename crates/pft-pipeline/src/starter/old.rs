//! A config of LLM-PFT or pii-leakage, to look settings up in.

use pft_stage::yaml::Node;
use serde_json::Value;

/// The settings of the old config that have to be looked at together.
pub(super) struct Old<'a>(pub(super) &'a Node);

impl Old<'_> {
    pub(super) fn value(&self, section: &str, key: &str) -> Option<Value> {
        let value = self.0.get(section)?.get(key)?.to_json();
        (!value.is_null()).then_some(value)
    }

    pub(super) fn text(&self, section: &str, key: &str) -> Option<String> {
        self.value(section, key)?.as_str().map(str::to_string)
    }

    pub(super) fn number(&self, section: &str, key: &str) -> Option<f64> {
        self.value(section, key)?.as_f64()
    }

    pub(super) fn is_true(&self, section: &str, key: &str) -> bool {
        self.value(section, key) == Some(Value::Bool(true))
    }

    pub(super) fn epsilon(&self) -> Option<f64> {
        self.number("privacy_args", "target_epsilon").filter(|epsilon| *epsilon > 0.0)
    }

    pub(super) fn is_private(&self) -> bool {
        self.epsilon().is_some() || self.number("privacy_args", "noise_multiplier").is_some()
    }

    pub(super) fn is_llama(&self) -> bool {
        self.text("model_args", "architecture")
            .is_some_and(|name| name.to_lowercase().contains("llama"))
    }
}

/// The schedule in pft's words, where there is one.
pub(super) fn schedule(old: &Old<'_>) -> Option<String> {
    let named = old.text("trainer_args", "lr_scheduler_type");
    match named.as_deref() {
        Some(known @ ("linear" | "cosine" | "constant")) => Some(known.to_string()),
        Some(_) => None,
        // Its private training keeps the rate.
        None => old.is_private().then(|| "constant".to_string()),
    }
}
