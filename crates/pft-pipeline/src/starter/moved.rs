//! Configs of LLM-PFT and of pii-leakage, its parent, as pipelines: each key is used, is so already, or has
//! no counterpart for a reason.

use std::fmt::Write;
use std::path::Path;

use pft_stage::ConfigSource;
use pft_stage::yaml::Data;
use serde_json::json;

use super::choice::Choice;
use super::fates::fate;
use super::files::relative;
use super::old::{Old, schedule};
use super::quoted;
use crate::RunError;

/// The sections of such a config.
const SECTIONS: [&str; 10] = [
    "env_args",
    "dataset_args",
    "model_args",
    "outdir_args",
    "trainer_args",
    "sampling_args",
    "ner_args",
    "privacy_args",
    "attack_args",
    "eval_args",
];

/// A key of the old config, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MovedKey {
    pub(crate) name: String,
    pub(crate) fate: String,
}

/// A config in its new form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moved {
    name: String,
    from: String,
    pub(crate) keys: Vec<MovedKey>,
    is_scrubbed: bool,
    ingest: Vec<(&'static str, String)>,
    scrub: Vec<(&'static str, String)>,
    tokenize: Vec<(&'static str, String)>,
    train: Vec<(&'static str, String)>,
}

/// Reads a config and turns it into a pipeline called `name` for `folder`.
///
/// # Errors
/// When it cannot be read, is no such config, or does not tell its corpus.
pub(crate) fn read(
    file: &Path,
    name: &str,
    folder: &Path,
    corpus: Option<&(String, Choice)>,
    model: Option<&Path>,
) -> Result<Moved, RunError> {
    let source = ConfigSource::read(file).map_err(RunError::config)?;
    let Data::Mapping(sections) = &source.node.data else { return Ok(Moved::default()) };
    if !sections.iter().any(|(key, _)| SECTIONS.contains(&&key.name[..])) {
        return Err(RunError::config(format!(
            "{}: is no config of LLM-PFT or pii-leakage: it has none of their sections ({})",
            file.display(),
            SECTIONS.join(", ")
        )));
    }
    let old = Old(&source.node);
    let is_scrubbed = old.text("dataset_args", "dataset_mode").as_deref() == Some("scrubbed");
    let from = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut moved = Moved { name: name.to_string(), from, is_scrubbed, ..Moved::default() };
    let units = moved.corpus(&old, file, folder, corpus)?;
    moved.model(&old, folder, model);
    moved.training(&old);
    moved.privacy(&old, units);
    for (section, settings) in sections {
        let Data::Mapping(entries) = &settings.data else { continue };
        for (key, value) in entries {
            let name = format!("{}.{}", section.name, key.name);
            let fate = fate(&name, &value.to_json(), &old, corpus.is_some());
            moved.keys.push(MovedKey { name, fate });
        }
    }
    Ok(moved)
}

impl Moved {
    /// Where the texts come from; returns a number of units that
    /// training does not reach, where it is known of a public data set.
    fn corpus(
        &mut self,
        old: &Old<'_>,
        file: &Path,
        folder: &Path,
        corpus: Option<&(String, Choice)>,
    ) -> Result<Option<u64>, RunError> {
        let limit = old.number("dataset_args", "limit_dataset_size").filter(|limit| *limit < 1e6);
        let limit = limit.map(|limit| limit.max(1.0) as u64);
        let path = old.text("dataset_args", "dataset_path").unwrap_or("echr".to_string());
        let units = if let Some((corpus, choice)) = corpus {
            let path = match corpus.contains("://") {
                true => corpus.clone(),
                false => relative(folder, Path::new(corpus)).to_string_lossy().into_owned(),
            };
            self.ingest.extend([("source", choice.source.clone()), ("path", quoted(&path))]);
            let columns = [
                ("text_column", &choice.text),
                ("id_column", &choice.id),
                ("unit_column", &choice.unit),
            ];
            for (key, column) in columns {
                self.ingest.extend(column.iter().map(|column| (key, quoted(column))));
            }
            // What was counted is no declaration.
            None
        } else {
            let (source, path, units) = match path.to_lowercase() {
                path if path.contains("echr") => (
                    "ecthr",
                    "hf://datasets/AUEB-NLP/ecthr_cases@refs/convert/parquet/alleged-violation-prediction",
                    120_000,
                ),
                path if path.contains("enron") => {
                    ("hf", "hf://datasets/LLM-PBE/enron-email", 240_000)
                }
                _ => {
                    return Err(RunError::config(format!(
                        "{}: dataset_args.dataset_path: {path:?} is a script of its own data set\n  help: name \
                         your corpus: pft-pipeline init CORPUS --from {}",
                        file.display(),
                        file.display()
                    )));
                }
            };
            self.ingest.extend([("source", source.to_string()), ("path", quoted(path))]);
            // As there: each paragraph or mail is a unit, divided by its position.
            self.ingest.extend([("unit", "document".into()), ("split.by", "llm-pft".into())]);
            Some(limit.unwrap_or(units).min(units))
        };
        self.ingest.extend(limit.map(|limit| ("limit", limit.to_string())));
        let copies = old.number("dataset_args", "sample_duplication_rate").filter(|n| *n > 1.0);
        self.ingest.extend(copies.map(|n| ("sample_duplication_rate", format!("{n:.0}"))));
        Ok(units)
    }

    fn model(&mut self, old: &Old<'_>, folder: &Path, model: Option<&Path>) {
        let named = match model {
            Some(model) => relative(folder, model).to_string_lossy().into_owned(),
            None => old
                .text("model_args", "model_ckpt")
                .filter(|path| !path.contains("://"))
                .unwrap_or_else(|| match old.is_llama() {
                    true => "data/models/llama-2-7b".to_string(),
                    false => "data/models/gpt2".to_string(),
                }),
        };
        let length = old.number("model_args", "tokenizer_max_length").unwrap_or(1024.0);
        self.tokenize.extend([
            ("tokenizer", quoted(&named)),
            ("mode", "truncate".to_string()),
            ("max_length", format!("{length:.0}")),
        ]);
        self.train.push(("base_model", quoted(&named)));
        if old.text("model_args", "peft").as_deref() == Some("lora") {
            let number = |key: &str, default: f64| old.number("model_args", key).unwrap_or(default);
            let dropout = if old.is_private() { 0.0 } else { number("lora_dropout", 0.0) };
            let targets =
                if old.is_llama() { "[q_proj, k_proj, v_proj, o_proj]" } else { "[c_attn]" };
            self.train.push((
                "lora",
                format!(
                    "{{ rank: {:.0}, alpha: {}, dropout: {dropout}, target_modules: {targets} }}",
                    number("lora_r", 4.0),
                    number("lora_alpha", 32.0)
                ),
            ));
        }
    }

    fn training(&mut self, old: &Old<'_>) {
        let number = |key: &str| old.number("trainer_args", key);
        let batch = number("per_device_train_batch_size").unwrap_or(16.0)
            * number("gradient_accumulation_steps").unwrap_or(4.0);
        self.train.push(("batch_size", format!("{batch:.0}")));
        let or = |key: &str, default: f64| json!(number(key).unwrap_or(default)).to_string();
        self.train.push(("learning_rate", or("learning_rate", 5e-5)));
        match number("max_steps").filter(|steps| *steps > 0.0) {
            Some(steps) => self.train.push(("max_steps", format!("{steps:.0}"))),
            None => self.train.push(("epochs", or("num_train_epochs", 4.0))),
        }
        for (old_key, key) in [
            ("seed", "seed"),
            ("warmup_steps", "warmup_steps"),
            ("save_total_limit", "checkpoints.save_total_limit"),
        ] {
            self.train.extend(number(old_key).map(|value| (key, format!("{value:.0}"))));
        }
        for (old_key, key) in
            [("weight_decay", "optimizer.weight_decay"), ("max_grad_norm", "max_grad_norm")]
        {
            self.train.extend(number(old_key).map(|value| (key, json!(value).to_string())));
        }
        let steps = number("eval_steps").filter(|steps| *steps >= 1.0);
        self.train.extend(steps.map(|steps| ("evaluation.every_steps", format!("{steps:.0}"))));
        let most = number("limit_eval_dataset").unwrap_or(5000.0).max(1.0);
        self.train.push(("evaluation.max_examples", format!("{most:.0}")));
        if let Some(schedule) = schedule(old) {
            self.train.push(("schedule", schedule));
        }
        if old.is_true("trainer_args", "dry_run") {
            self.train.push(("dry_run", "true".to_string()));
        }
        if let Some(token) = old.text("ner_args", "anon_token").filter(|_| self.is_scrubbed) {
            self.scrub.push(("mask_token", quoted(&token)));
        }
    }

    fn privacy(&mut self, old: &Old<'_>, units: Option<u64>) {
        if !old.is_private() {
            return;
        }
        let number = |key: &str| old.number("privacy_args", key);
        match number("noise_multiplier") {
            Some(noise) => self.train.push(("privacy.noise_multiplier", json!(noise).to_string())),
            None => self
                .train
                .extend(old.epsilon().map(|e| ("privacy.target_epsilon", json!(e).to_string()))),
        }
        self.train.extend(units.map(|units| ("privacy.units", units.to_string())));
        for (old_key, key) in [
            ("target_delta", "privacy.target_delta"),
            ("max_grad_norm_dp", "privacy.max_grad_norm"),
        ] {
            self.train.extend(number(old_key).map(|value| (key, json!(value).to_string())));
        }
    }

    /// The pipeline file, with what became of each key at its end.
    pub(crate) fn pipeline(&self) -> String {
        let mut text = format!(
            "# Made from {} of LLM-PFT or pii-leakage; the end of this file says what became of its keys.\n\
             pipeline: {}\nstages:\n",
            self.from,
            quoted(&self.name)
        );
        let mut stage = |name: &str, stage: &str, inputs: &str, set: &[(&str, String)]| {
            let _ = writeln!(text, "  {name}:\n    stage: {stage}");
            if !inputs.is_empty() {
                let _ = writeln!(text, "    inputs: {{ {inputs} }}");
            }
            if !set.is_empty() {
                text += "    set:\n";
            }
            for (key, value) in set {
                let _ = writeln!(text, "      {key}: {value}");
            }
        };
        stage("corpus", "ingest", "", &self.ingest);
        // All of its classes, by rules; a recognizer of names goes here too.
        stage(
            "tags",
            "tag-pii",
            "corpus: corpus.corpus",
            &[("backends", "[{ kind: rules }]".into())],
        );
        let mut evaluation = "";
        let mut from = ("corpus.corpus", "tags");
        if self.is_scrubbed {
            let set = [vec![("mode", "mask".to_string())], self.scrub.clone()].concat();
            stage("clean", "scrub", "corpus: corpus.corpus, tags: tags", &set);
            let splits = ("splits", "[validation, test]".to_string());
            let set = [self.tokenize.clone(), vec![splits]].concat();
            stage("held_out", "tokenize", "corpus: corpus.corpus, tags: tags", &set);
            (from, evaluation) = (("clean.corpus", "clean.tags"), ", evaluation: held_out");
        }
        stage(
            "tokens",
            "tokenize",
            &format!("corpus: {}, tags: {}", from.0, from.1),
            &self.tokenize,
        );
        stage("model", "train", &format!("tokens: tokens{evaluation}"), &self.train);
        stage("release", "export", "model: model", &[("format", "hf".to_string())]);
        text += "\n# What became of the keys:\n";
        for key in &self.keys {
            let _ = writeln!(text, "# {}: {}", key.name, key.fate);
        }
        text
    }
}
