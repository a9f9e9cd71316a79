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
        .or_else(|| trained.train["base_model"].as_str().map(str::to_string));
    let steps = manifest.provenance["lineage"].as_array().map_or(&[][..], Vec::as_slice);
    let defence = defence(&trained.privacy, steps);
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
    for (key, value) in licence(config, trained) {
        line(key, quoted(value));
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
    privacy_section(&mut card, &trained.privacy, defence);
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
    // No settings and no hashes: see what the contract publishes of a bundle's provenance.
    card.push_str("| stage | revision |\n|---|---|\n");
    for step in steps {
        let stage = step["stage"].as_str().unwrap_or("?");
        let _ = writeln!(card, "| {stage} | {} |", step["revision"]);
    }
    if steps.is_empty() {
        let stage = manifest.provenance["stage"].as_str().unwrap_or("unknown");
        let _ = writeln!(card, "| {stage} | |");
    }
    card.push_str(
        "\nSettings and hashes of the private data stay with the model artifact that this folder \
         was made from.\n",
    );
    card
}

/// The licence of the settings, or else the one that the base model's own files name.
pub(crate) fn licence<'a>(
    config: &'a Config,
    trained: &'a Trained,
) -> Vec<(&'static str, &'a str)> {
    if let Some(license) = &config.license {
        return vec![("license", license)];
    }
    let origin = &trained.train["base_origin"];
    let keys = ["license", "license_name", "license_link"].into_iter();
    keys.filter_map(|key| Some((key, origin[key].as_str()?))).collect()
}

/// A YAML double-quoted scalar, which JSON's strings are.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The ε to quote, and the accountant that it comes from.
fn epsilon(privacy: &Value) -> Option<(f64, &str)> {
    let first = privacy["epsilon"].as_array()?.first()?;
    Some((first["epsilon"].as_f64()?, first["accountant"].as_str().unwrap_or("unknown")))
}

/// What stands between the data and the model's readers.
fn defence(privacy: &Value, steps: &[Value]) -> &'static str {
    let scrubbed = steps.iter().any(|step| step["stage"] == "scrub");
    match (epsilon(privacy).is_some(), scrubbed) {
        (true, false) => "differential privacy",
        (true, true) => "differential privacy and scrubbing",
        (false, true) => "scrubbing",
        (false, false) => "none",
    }
}

fn privacy_section(card: &mut String, privacy: &Value, defence: &str) {
    let private = epsilon(privacy).is_some();
    let statement = privacy["statement"].as_str().unwrap_or(if private {
        "The model was trained with differential privacy."
    } else {
        "The model was trained without differential privacy."
    });
    let _ = writeln!(card, "{statement}\n");
    if !private {
        card.push_str(
            "It may have memorised passages of its training data, personal data among them, and \
             may give them out.\n\n",
        );
    } else if privacy["fit_for_release"] == false {
        card.push_str(
            "**Not for release as a private model**: see `randomness` and `couplings` in \
             `privacy.json`.\n\n",
        );
    }
    card.push_str("| | |\n|---|---|\n");
    for (name, value) in statements(privacy, defence) {
        let _ = writeln!(card, "| {name} | {} |", value.replace('|', "\\|"));
    }
    let uses = privacy["other_uses"].as_array().map_or(&[][..], Vec::as_slice);
    if !uses.is_empty() {
        card.push_str("\nAlso done with the private data, and not covered by ε:\n\n");
        for text in uses.iter().filter_map(Value::as_str) {
            let _ = writeln!(card, "- {text}");
        }
    }
}

/// The lines of the privacy table.
fn statements(privacy: &Value, defence: &str) -> Vec<(&'static str, String)> {
    let mut rows = vec![("Defence", defence.to_string())];
    let Some((epsilon, accountant)) = epsilon(privacy) else {
        rows.push(("ε", "none: no bound holds".to_string()));
        return rows;
    };
    // Rounded up: a guarantee may only be understated.
    rows.push(("ε", format!("{}", (epsilon * 1000.0).ceil() / 1000.0)));
    rows.push((
        "δ",
        privacy["delta"].as_f64().map_or_else(String::new, |delta| format!("{delta:e}")),
    ));
    rows.push(("Accountant", accountant.to_string()));
    for (key, name) in [
        ("unit", "Privacy unit"),
        ("sampling", "Sampling"),
        ("sample_rate", "Sample rate"),
        ("steps", "Steps"),
        ("noise_multiplier", "Noise multiplier"),
        ("max_examples_per_unit", "Examples per unit and step, at most"),
    ] {
        match &privacy[key] {
            Value::Null => {}
            Value::String(text) => rows.push((name, text.replace('\n', " "))),
            other => rows.push((name, other.to_string())),
        }
    }
    rows
}
