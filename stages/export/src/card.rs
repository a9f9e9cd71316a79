//! The model card: what a reader must know before using the model, in the hub's format.

use std::fmt::Write;

use pft_artifact::{Lineage, Step};
use pft_dp::{
    Base, BaseHasSeen, Origin, PrivacyReport, PrivacyStatement, delta_rounded_up, rounded_up,
};
use serde_json::Value;

use crate::config::{Config, Format};
use crate::trained::Trained;

/// `README.md` of a bundle.
pub(crate) fn model_card(config: &Config, trained: &Trained, lineage: &Lineage) -> String {
    let base = base_name(config, trained);
    let (defence, tag) = defence(&trained.privacy, lineage);
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
    line("tags", format!("[pft, {}]", quoted(tag)));
    card.push_str("---\n\n");

    let title = config.model_name.as_deref().unwrap_or(match &trained.privacy {
        PrivacyStatement::Private(_) if trained.privacy.fit_for_release() => {
            "A privately fine-tuned language model"
        }
        _ => "A fine-tuned language model",
    });
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
    privacy_section(&mut card, &trained.privacy, defence, &lineage.units().uses);
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
    for step in lineage.steps() {
        let _ = writeln!(card, "| {} | {} |", step.stage, step.revision);
    }
    card.push_str(
        "\nSettings and hashes of the private data stay with the model artifact that this folder \
         was made from.\n",
    );
    card
}

/// What the card calls the base model; a model that began at random has none.
fn base_name(config: &Config, trained: &Trained) -> Option<String> {
    let adapted = trained.base.as_ref().map(|base| base.name.clone());
    adapted.or_else(|| match trained.privacy.base() {
        Base::Checkpoint(base) => {
            Some(config.base_model_name.clone().unwrap_or_else(|| base.name.clone()))
        }
        Base::Random => None,
    })
}

/// The licence of the settings, or else the one that the base model's own files name.
pub(crate) fn licence<'a>(
    config: &'a Config,
    trained: &'a Trained,
) -> Vec<(&'static str, &'a str)> {
    if let Some(license) = &config.license {
        return vec![("license", license)];
    }
    let published = &trained.published;
    [
        ("license", &published.license),
        ("license_name", &published.license_name),
        ("license_link", &published.license_link),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value.as_deref()?)))
    .collect()
}

/// A YAML double-quoted scalar, which JSON's strings are.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// What stands between the data and the model's readers, as words and as a tag of the hub.
fn defence(privacy: &PrivacyStatement, lineage: &Lineage) -> (&'static str, &'static str) {
    let scrubbed = lineage.steps().iter().any(replaces);
    match (privacy, privacy.fit_for_release(), scrubbed) {
        (PrivacyStatement::Private(_), true, false) => {
            ("differential privacy", "differential-privacy")
        }
        (PrivacyStatement::Private(_), true, true) => {
            ("differential privacy and scrubbing", "differential-privacy-and-scrubbing")
        }
        (PrivacyStatement::Private(_), false, false) => {
            ("differential privacy, not for release", "differential-privacy-not-for-release")
        }
        (PrivacyStatement::Private(_), false, true) => (
            "scrubbing, and differential privacy that is not for release",
            "scrubbing-and-differential-privacy-not-for-release",
        ),
        (PrivacyStatement::NotPrivate(none), _, true) if none.history.trainings.len() > 1 => {
            ("scrubbing, of what it was trained on last alone", "scrubbing-of-the-last-training")
        }
        (PrivacyStatement::NotPrivate(_), _, true) => ("scrubbing", "scrubbing"),
        (PrivacyStatement::NotPrivate(_), _, false) => ("none", "none"),
    }
}

/// Whether a step is a scrubbing that puts something in the place of anything.
fn replaces(step: &Step) -> bool {
    if step.stage != "scrub" {
        return false;
    }
    let (modes, all) = (&step.config["label_modes"], &step.config["mode"]);
    let mode_of = |label: &str| modes.get(label).unwrap_or(all);
    match step.config["labels"].as_array() {
        Some(labels) => {
            labels.iter().filter_map(Value::as_str).any(|label| mode_of(label) != "keep")
        }
        None => {
            modes.as_object().into_iter().flat_map(|m| m.values()).chain([all]).any(|m| m != "keep")
        }
    }
}

/// `earlier_uses` are what the stages before training said, which a statement of a bound has in it.
fn privacy_section(
    card: &mut String,
    privacy: &PrivacyStatement,
    defence: &str,
    earlier_uses: &[String],
) {
    let _ = writeln!(card, "{}\n", privacy.statement());
    let mut rows = vec![("Defence", defence.to_string())];
    let (unit, uses) = match privacy {
        PrivacyStatement::Private(report) => {
            rows.extend(bound(report));
            (&report.unit[..], &report.other_uses[..])
        }
        PrivacyStatement::NotPrivate(_) => {
            card.push_str(
                "It may have memorised passages of its training data, personal data among them, and \
                 may give them out.\n\n",
            );
            rows.push(("ε", "none: no bound holds".to_string()));
            ("unit", earlier_uses)
        }
    };
    if !privacy.fit_for_release() {
        card.push_str("**Not for release as a private model**:\n\n");
        for reason in privacy.not_for_release() {
            let _ = writeln!(card, "- {}", reason.sentence(unit));
        }
        card.push('\n');
    }
    card.push_str("| | |\n|---|---|\n");
    for (name, value) in rows {
        let value = value.replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(card, "| {name} | {value} |");
    }
    if !uses.is_empty() {
        card.push_str(match privacy {
            PrivacyStatement::Private(_) => {
                "\nAlso done with the private data, and not covered by ε:\n\n"
            }
            PrivacyStatement::NotPrivate(_) => "\nDone with the private data before training:\n\n",
        });
        for text in uses {
            let _ = writeln!(card, "- {text}");
        }
    }
}

const EXAMPLES: &str = "Examples per unit and step, at most";

/// The lines of the privacy table, where a bound holds.
fn bound(report: &PrivacyReport) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(first) = report.epsilon.first() {
        rows.push(("ε", rounded_up(first.epsilon.epsilon)));
        rows.push(("δ", delta_rounded_up(report.delta)));
        rows.push(("Accountant", first.accountant.to_string()));
    }
    rows.push(("Privacy unit", report.unit.clone()));
    rows.push((
        "Trainings of these weights, all private",
        report.history.trainings.len().to_string(),
    ));
    if let Origin::Checkpoint(base) = &report.history.origin {
        let declared = match report.history.base_has_seen() {
            BaseHasSeen::Nothing => "no unit of the training set, as declared",
            BaseHasSeen::Unknown => "not known",
        };
        rows.push(("What the base model had seen", format!("{base}: {declared}")));
    }
    // What is said from here on is of this training, not of those that the weights went through before.
    if let Some(own) = &report.own_epsilon {
        rows.push(("ε of the last training alone", rounded_up(own.epsilon.epsilon)));
    }
    let names = match report.own_epsilon {
        None => ["Sampling", "Sample rate", "Steps", "Noise multiplier", EXAMPLES],
        Some(_) => [
            "Sampling of the last training",
            "Its sample rate",
            "Its steps",
            "Its noise multiplier",
            "Its examples per unit and step, at most",
        ],
    };
    let values = [
        report.sampling.clone(),
        report.sample_rate.to_string(),
        report.steps.to_string(),
        report.noise_multiplier.to_string(),
        report.max_examples_per_unit.to_string(),
    ];
    rows.extend(names.into_iter().zip(values));
    rows
}
