//! The model card: what a reader must know before using the model, in the hub's format.

use std::fmt::Write;

use pft_artifact::Manifest;
use serde_json::Value;

use crate::config::{Config, Format};
use crate::trained::Trained;

/// `README.md` of a bundle.
pub(crate) fn model_card(config: &Config, trained: &Trained, manifest: &Manifest) -> String {
    let base = trained
        .base
        .as_ref()
        .map(|base| base.name.clone())
        .or_else(|| config.base_model_name.clone())
        .or_else(|| trained.train["base_model_name"].as_str().map(str::to_string));
    let defence = defence(&trained.privacy);
    let mut card = String::from("---\n");
    let library = if config.format == Format::Peft { "peft" } else { "transformers" };
    let mut line = |key: &str, value: String| {
        let _ = writeln!(card, "{key}: {value}");
    };
    line("library_name", library.to_string());
    line("pipeline_tag", "text-generation".to_string());
    if let Some(base) = &base {
        line("base_model", quoted(base));
        let relation = if config.format == Format::Peft { "adapter" } else { "finetune" };
        line("base_model_relation", relation.to_string());
    }
    if let Some(license) = &config.license {
        line("license", quoted(license));
    }
    if !config.language.is_empty() {
        let languages: Vec<String> = config.language.iter().map(|name| quoted(name)).collect();
        line("language", format!("[{}]", languages.join(", ")));
    }
    line("tags", format!("[pft, {}]", quoted(&defence.replace(' ', "-"))));
    card.push_str("---\n\n");

    let title = config.model_name.as_deref().unwrap_or("A privately fine-tuned language model");
    let _ = writeln!(card, "# {title}\n");
    let _ = writeln!(
        card,
        "A decoder language model{}, fine-tuned with pft. Defence: **{defence}**.\n",
        base.map(|base| format!(" based on {base}")).unwrap_or_default()
    );
    card.push_str("## Data\n\n");
    let data = config.data.as_deref().unwrap_or(
        "A private corpus, which is not part of this folder. No text of it is quoted here.",
    );
    let _ = writeln!(card, "{data}\n");
    card.push_str("## Privacy\n\n");
    card.push_str(privacy_text(&trained.privacy));
    card.push_str("\n| | |\n|---|---|\n");
    for (name, value) in statements(&trained.privacy) {
        let _ = writeln!(card, "| {name} | {value} |");
    }
    card.push_str("\nThe whole statement is in `privacy.json`.");
    card.push_str(if config.include_diagnostics {
        " `diagnostics/` holds metrics, settings and samples of training. They were computed on \
         private data without protection: do not publish them.\n\n"
    } else {
        " Training losses, gradient norms, metrics on private units and samples are not part of \
         this folder.\n\n"
    });
    card.push_str("## Use\n\n```python\n");
    card.push_str(match config.format {
        Format::Hf => {
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
             model = AutoModelForCausalLM.from_pretrained(\"FOLDER\")\n\
             tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n"
        }
        Format::Peft => {
            "from peft import PeftModel\n\
             from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
             base = AutoModelForCausalLM.from_pretrained(\"BASE\")\n\
             model = PeftModel.from_pretrained(base, \"FOLDER\")\n\
             tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n"
        }
    });
    card.push_str("```\n\n## How it was made\n\n");
    let _ = writeln!(card, "Model artifact `{}`, made by these steps:\n", manifest.content_hash);
    card.push_str("| stage | revision | output |\n|---|---|---|\n");
    let steps = manifest.provenance["lineage"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, step) in steps.iter().enumerate() {
        let hash = match step["content_hash"].as_str() {
            Some(hash) => hash,
            None if index + 1 == steps.len() => &manifest.content_hash,
            None => "",
        };
        let stage = step["stage"].as_str().unwrap_or("?");
        let _ = writeln!(card, "| {stage} | {} | `{hash}` |", step["revision"]);
    }
    if steps.is_empty() {
        let stage = manifest.provenance["stage"].as_str().unwrap_or("unknown");
        let _ = writeln!(card, "| {stage} | | `{}` |", manifest.content_hash);
    }
    card
}

/// A YAML double-quoted scalar, which JSON's strings are.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn epsilon(privacy: &Value) -> Option<f64> {
    privacy["epsilon"].as_f64()
}

/// The defence that `privacy.json` states.
fn defence(privacy: &Value) -> String {
    match privacy["defence"].as_str() {
        Some(defence) => defence.to_string(),
        None if epsilon(privacy).is_some() => "differential privacy".to_string(),
        None => "none".to_string(),
    }
}

fn privacy_text(privacy: &Value) -> &'static str {
    if epsilon(privacy).is_some() {
        "Trained with differential privacy: whoever has the model learns little more about any \
         one unit of the data than if that unit had been left out. The guarantee is for the \
         mechanism below, and not for what was done before it (see `privacy.json`).\n"
    } else {
        "Trained **without** differential privacy: the model may have memorised passages of its \
         training data, personal data among them, and may give them out.\n"
    }
}

/// The single-valued entries of `privacy.json`, those that matter most first.
fn statements(privacy: &Value) -> Vec<(String, String)> {
    const FIRST: [(&str, &str); 6] = [
        ("defence", "Defence"),
        ("epsilon", "ε"),
        ("delta", "δ"),
        ("accountant", "Accountant"),
        ("unit", "Privacy unit"),
        ("sampling", "Sampling"),
    ];
    let shown = |value: &Value| match value {
        Value::String(text) => Some(text.replace('|', "\\|").replace('\n', " ")),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null => Some("none".to_string()),
        Value::Array(_) | Value::Object(_) => None,
    };
    let mut rows: Vec<(String, String)> = FIRST
        .iter()
        .map(|(key, name)| {
            let value = match &privacy[*key] {
                Value::Null if *key == "defence" => Some(defence(privacy)),
                nested @ (Value::Object(_) | Value::Array(_)) => Some(format!("`{nested}`")),
                value => shown(value),
            };
            (name.to_string(), value.unwrap_or_default())
        })
        .collect();
    for (key, value) in privacy.as_object().into_iter().flatten() {
        if FIRST.iter().all(|(first, _)| first != key)
            && let Some(value) = shown(value)
        {
            rows.push((key.replace('_', " "), value));
        }
    }
    rows
}
