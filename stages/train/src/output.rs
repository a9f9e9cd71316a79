//! The `model` artifact.

use std::path::Path;

use pft_artifact::kinds::model::{self, BaseModel, BaseOrigin};
use pft_dp::{Base, NoPrivacy, PrivacyStatement};
use pft_lm::checkpoint::{
    CheckpointError, EvaluationProbe, SavedType, save_adapter_with_notes, save_model_with_notes,
};
use pft_stage::{Context, StageError};
use serde_json::{Value, json};

use crate::base;
use crate::config::Config;
use crate::marks;
use crate::samples::Prompts;
use crate::state::Row;
use crate::training::Trained;

/// Held-out sequences that travel with the model, for export to check what it wrote.
const PROBE_SEQUENCES: usize = 8;

/// What every private run does with the data beside its mechanism.
pub(crate) const EVERY_RUN: [&str; 3] = [
    "Losses and gradient norms of training, perplexities on held-out and training units, and up to 8 \
     held-out sequences: kept in the model artifact (metrics.parquet, evaluation.json, \
     evaluation_probe.safetensors), which is not for release; the bundle that export makes of it \
     leaves them out, unless include_diagnostics asks for them",
    "If several settings were tried on the same data and the best was kept, or several of the models \
     are given away, more is revealed than this statement says, which is about one run",
    "The tokenizer, and recognizers that marked personal data, are taken as they are: where they were \
     made from the same texts, what they show of them is not covered",
];

/// Writes weights, tokenizer, metrics and privacy statement.
///
/// # Errors
/// When the disk refuses, or the steps cannot be accounted for.
pub(crate) fn write(
    config: &Config,
    context: &Context,
    prompts: &Prompts,
    mut trained: Trained,
) -> Result<(), StageError> {
    let folder = context.output("model");
    let tokens = context.input("tokens")?;
    let privacy = privacy(config, folder, context, &trained)?;
    write_weights(config, folder, &trained, &privacy)?;
    for name in [model::TOKENIZER, model::TOKENIZER_CONFIG].map(|file| file.name) {
        let from = tokens.join(name);
        if from.is_file() {
            std::fs::copy(&from, folder.join(name))
                .map_err(|error| StageError::failed_write(&from, &error))?;
        }
    }
    // How the base model wants texts to be generated goes with it.
    if let Some(base) = &config.base_model {
        let from = base.as_path().join(model::GENERATION_CONFIG.name);
        if from.is_file() {
            std::fs::copy(&from, folder.join(model::GENERATION_CONFIG.name))
                .map_err(|error| StageError::failed_write(&from, &error))?;
        }
    }
    write_metrics(&folder.join(model::METRICS.name), &trained)?;
    if let Some(probe) = probe(&mut trained)? {
        probe.save(folder).map_err(|error| StageError::bug(error.to_string()).because(&error))?;
    }
    let evaluation = evaluation(&trained.rows);
    write_json(&folder.join(model::EVALUATION.name), &evaluation)?;
    let bug = |error: serde_json::Error| StageError::bug(error.to_string());
    let json = serde_json::to_value(&privacy).map_err(bug)?;
    write_json(&folder.join(model::PRIVACY.name), &json)?;
    let samples = prompts.continuations(config, &mut trained.model)?;
    if !samples.is_empty() {
        write_json(&folder.join(model::SAMPLES.name), &json!(samples))?;
    }
    write_json(&folder.join(model::SUMMARY.name), &summary(config, &trained, &privacy))?;
    context.metric("evaluation", evaluation);
    // Times are no part of the artifact: the same training has the same bits.
    let seconds: f64 = trained.rows.iter().map(|row| row.seconds).sum();
    let tokens: u64 = trained.rows.iter().map(|row| row.tokens).sum();
    context.metric("step_seconds", seconds);
    context.metric("tokens_per_second", tokens as f64 / seconds.max(1e-9));
    if let PrivacyStatement::Private(report) = &privacy {
        context.metric("epsilon", report.epsilon.first().map(|first| first.epsilon.epsilon));
        context.metric("delta", report.delta);
    }
    context.metric("fit_for_release", privacy.fit_for_release());
    context.progress().note(privacy.statement());
    Ok(())
}

fn write_json(path: &Path, value: &Value) -> Result<(), StageError> {
    std::fs::write(path, format!("{value:#}\n"))
        .map_err(|error| StageError::failed_write(path, &error))
}

fn write_weights(
    config: &Config,
    folder: &Path,
    trained: &Trained,
    privacy: &PrivacyStatement,
) -> Result<(), StageError> {
    let notes = marks::note(privacy.history());
    let (model, bug) = (&trained.model, |error: &CheckpointError| {
        StageError::bug(format!("cannot write the weights: {error}")).because(error)
    });
    let Some(lora) = model.lora() else {
        let (config, parameters) = (model.config(), model.parameters());
        return save_model_with_notes(folder, config, parameters, SavedType::F32, &notes)
            .map_err(|error| bug(&error));
    };
    let name = base::name(config);
    save_adapter_with_notes(folder, model.config(), lora, model.parameters(), &name, &notes)
        .map_err(|error| bug(&error))?;
    // The base model stays where it is; its hash says which one it was. What merges the adapters
    // must round it as training did.
    let (origin, blake3) = match &trained.start.base {
        Base::Checkpoint(_) => (BaseOrigin::Checkpoint, trained.start.model_hashes()),
        Base::Random => (BaseOrigin::Random, Vec::new()),
    };
    let precision = config.base_precision.name().to_owned();
    BaseModel { name, origin, blake3, seed: config.seed, precision }.write(folder)?;
    let path = folder.join(model::CONFIG.name);
    std::fs::write(&path, model.config().to_json())
        .map_err(|error| StageError::failed_write(&path, &error))
}

fn write_metrics(path: &Path, trained: &Trained) -> Result<(), StageError> {
    let rows = &trained.rows;
    let spent =
        |row: &Row| row.scores.is_none().then(|| trained.spent.get(&row.step).copied()).flatten();
    let steps = |value: fn(&Row) -> f64| -> Vec<Option<f64>> {
        rows.iter().map(|row| row.scores.is_none().then(|| value(row))).collect()
    };
    let scores = |which: usize, value: fn(&crate::evaluate::Scores) -> Option<f64>| {
        rows.iter().map(|row| row.scores.and_then(|scores| value(&scores[which]))).collect()
    };
    use crate::evaluate::Scores;
    let columns: Vec<(&str, Vec<Option<f64>>)> = vec![
        ("step", rows.iter().map(|row| Some(row.step as f64)).collect()),
        ("loss", steps(|row| row.loss)),
        ("learning_rate", steps(|row| row.learning_rate)),
        ("gradient_norm", steps(|row| row.gradient_norm)),
        ("units", steps(|row| row.units as f64)),
        ("tokens", steps(|row| row.tokens as f64)),
        ("units_not_finite", steps(|row| row.not_finite as f64)),
        ("epsilon", rows.iter().map(spent).collect()),
        ("held_out_perplexity", scores(0, Scores::perplexity)),
        ("held_out_pii_perplexity", scores(0, Scores::pii_perplexity)),
        ("held_out_other_perplexity", scores(0, Scores::other_perplexity)),
        ("train_perplexity", scores(1, Scores::perplexity)),
        ("train_pii_perplexity", scores(1, Scores::pii_perplexity)),
        ("train_other_perplexity", scores(1, Scores::other_perplexity)),
    ];
    Ok(pft_artifact::write_table(path, &columns)?)
}

fn probe(trained: &mut Trained) -> Result<Option<EvaluationProbe>, StageError> {
    let sequences: Vec<Vec<u32>> = trained
        .held_out
        .iter()
        .take(PROBE_SEQUENCES)
        .map(|sequence| sequence.input_ids.clone())
        .collect();
    if sequences.is_empty() {
        return Ok(None);
    }
    EvaluationProbe::measure(&mut trained.model, sequences)
        .map(Some)
        .map_err(|error| StageError::bug(error.to_string()))
}

/// The scores before and after training.
fn evaluation(rows: &[Row]) -> Value {
    let describe = |row: &Row| {
        row.scores.map(|[held_out, seen]| {
            let part = |scores: crate::evaluate::Scores| {
                json!({
                    "tokens": scores.tokens,
                    "pii_tokens": scores.pii_tokens,
                    "perplexity": scores.perplexity(),
                    "pii_perplexity": scores.pii_perplexity(),
                    "other_perplexity": scores.other_perplexity(),
                })
            };
            json!({ "step": row.step, "held_out": part(held_out), "train": part(seen) })
        })
    };
    let mut scored = rows.iter().filter_map(describe);
    let first = scored.next();
    let last = scored.next_back().or_else(|| first.clone());
    json!({ "before": first, "after": last })
}

fn privacy(
    config: &Config,
    folder: &Path,
    context: &Context,
    trained: &Trained,
) -> Result<PrivacyStatement, StageError> {
    let Some(ledger) = &trained.ledger else {
        let (base, earlier) = (trained.start.base.clone(), &trained.start.earlier);
        let none = match trained.clip_only {
            true => NoPrivacy::of_clip_only_training(base, earlier),
            false => NoPrivacy::of_plain_training(base, earlier),
        };
        return Ok(PrivacyStatement::NotPrivate(none));
    };
    let mut other_uses = EVERY_RUN.map(str::to_string).to_vec();
    other_uses.extend(trained.earlier_uses.iter().cloned());
    if ledger.contents().header.plan.units_were_counted {
        other_uses.push(
            "The number of units was counted in the data and decides sample_rate, the default delta \
             and, with epochs, the number of steps and the noise; declare privacy.units to avoid it"
                .to_string(),
        );
    }
    if config.evaluation.max_examples > 0 {
        other_uses.push("Units kept out of training were read to measure the model; training did not react to them".into());
    }
    let statement = PrivacyStatement::from_ledger(ledger.contents(), other_uses)
        .map_err(|error| StageError::bug(error.to_string()))?;
    let from = context.scratch().join(model::LEDGER.name);
    std::fs::copy(&from, folder.join(model::LEDGER.name))
        .map_err(|error| StageError::failed_write(&from, &error))?;
    Ok(statement)
}

/// What the model card says of training.
fn summary(config: &Config, trained: &Trained, privacy: &PrivacyStatement) -> Value {
    let (parameters, trainable) = trained.model.parameters().count();
    json!({
        // A model that began at random has none.
        "base_model": config.base_model.is_some().then(|| base::name(config)),
        "base_origin": base::origin(config),
        "differential_privacy": matches!(privacy, PrivacyStatement::Private(_)),
        "lora": config.lora,
        "optimizer": config.optimizer,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "steps": trained.rows.iter().map(|row| row.step).max(),
        "parameters": parameters,
        "trainable_parameters": trainable,
        "seed": config.seed,
    })
}
