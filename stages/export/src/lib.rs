//! The `export` stage: a trained model becomes a folder that others can load.
//!
//! The folder is read back before the stage ends, and the model in it must have the perplexity
//! that training reported. What was computed on private data without protection stays behind
//! unless config says otherwise. Depends on the artifact and contract crates, on `pft-lm` for
//! models, on `pft-gguf` for its file format, and on `pft-dp` for the privacy statement.

mod card;
mod config;
mod moved;
mod tokenizer;
mod trained;
mod verify;
mod written;

use std::path::Path;

use pft_artifact::Manifest;
use pft_artifact::kinds::{bundle, model as files};
use pft_dp::RECORD_KEY;
use pft_lm::checkpoint::{
    Notes, SavedType, check_gguf, save_adapter_with_notes, save_gguf, save_model_with_notes,
};
use pft_lm::model::LanguageModel;
use pft_lm::parameters::{HEADS, Parameters, Precision, Tensor};
use pft_stage::{Context, Kind, Port, Stage, StageError};
use serde_json::Value;

pub use config::{Config, Dtype, Format, GgufType};

use tokenizer::Tokenizer;
use trained::{Trained, load_adapted, load_whole, not_written};
use verify::Reference;

/// The stage.
#[derive(Debug)]
pub struct Export;

impl Stage for Export {
    const NAME: &'static str = "export";
    const REVISION: u32 = 8;
    const ABOUT: &'static str = "Turns a trained model into a folder that others can load";
    type Config = Config;

    fn inputs() -> Vec<Port> {
        vec![Port::required("model", Kind::Model)]
    }

    fn outputs() -> Vec<Port> {
        vec![Port::required("bundle", Kind::Bundle)]
    }

    fn validate(config: &Config) -> Result<(), StageError> {
        config.validate()
    }

    fn run(config: Config, context: &Context) -> Result<(), StageError> {
        let folder = context.input("model")?;
        let output = context.output("bundle");
        let manifest = Manifest::open(folder)?;
        manifest.expect_kind(folder, Kind::Model)?;
        let progress = context.progress();

        let bar = progress.start("writing the bundle", Some(1), "models");
        let lineage = manifest.lineage()?;
        let (mut model, trained) = Trained::load(folder, &lineage, &config)?;
        let tokenizer = Tokenizer::read(folder, model.config())?;
        if let Some(note) = tokenizer.left_out() {
            progress.note(note);
        }
        if config.gguf.is_some() {
            check_gguf(model.config()).map_err(|error| StageError::config(error.to_string()))?;
            tokenizer.check_gguf()?;
        }
        let reference = Reference::of(&trained, &mut model)?;
        context.check_interrupted()?;

        tokenizer.write(output, model.config())?;
        // The model is gone by the time that it is read back: large ones fit the memory once.
        write_weights(&config, model, &trained, &tokenizer, output)?;
        let privacy = serde_json::to_value(trained.privacy.published())
            .map_err(|error| StageError::bug(error.to_string()))?;
        write_json(&output.join(files::PRIVACY.name), &privacy)?;
        write_text(&output.join(bundle::CARD), &card::model_card(&config, &trained, &lineage))?;
        if config.include_diagnostics {
            copy_diagnostics(folder, &output.join(bundle::DIAGNOSTICS))?;
        }
        bundle::check(output, config.include_diagnostics)
            .map_err(|error| StageError::bug(error.to_string()))?;
        bar.advance(1);
        bar.finish();
        context.check_interrupted()?;

        let bar = progress.start("reading back", Some(1), "models");
        let difference = read_back(&config, &trained, reference, output)?;
        bar.advance(1);
        bar.finish();
        // What was held out is private data, and the last digits of a loss on it are its own.
        if matches!(reference, Reference::FixedTokens { .. }) || config.include_diagnostics {
            context.metric("perplexity_difference", difference);
        }
        progress.note(match reference {
            Reference::HeldOut { .. } => {
                "read back: the held-out perplexity is the one that training reported"
            }
            Reference::FixedTokens { .. } => {
                "read back: the model gives what the trained one does (training left no held-out \
                 sequences to compare on)"
            }
        });
        Ok(())
    }
}

fn write_weights(
    config: &Config,
    model: LanguageModel,
    trained: &Trained,
    tokenizer: &Tokenizer,
    output: &Path,
) -> Result<(), StageError> {
    // Whoever trains on a file of the bundle later must know what it went through.
    let record = trained.privacy.history().to_json();
    let notes = Notes::from([(RECORD_KEY.to_string(), record.clone())]);
    match (config.format, model.lora()) {
        (Format::Peft, Some(lora)) => {
            let base = trained.base.as_ref().map_or("", |base| base.name.as_str());
            let parameters = model.parameters();
            save_adapter_with_notes(output, model.config(), lora, parameters, base, &notes)
                .map_err(not_written)?;
            let adapters = named(model.parameters()).filter(|(name, _)| name.contains(".lora_"));
            let path = output.join("adapter_model.safetensors");
            written::check(&path, adapters, SavedType::F32)?;
        }
        (Format::Peft, None) => {
            return Err(StageError::config(
                "format: peft is for adapters, but this model was trained as a whole",
            )
            .with_help("use format: hf"));
        }
        (Format::Hf, _) => {}
    }
    if config.format == Format::Peft && config.gguf.is_none() {
        return Ok(());
    }
    let model_config = model.config().clone();
    let merged = model
        .into_merged()
        .map_err(|error| StageError::input(format!("cannot merge the adapters: {error}")))?;
    if config.format == Format::Hf {
        let saved = config.dtype.into();
        save_model_with_notes(output, &model_config, &merged, saved, &notes)
            .map_err(not_written)?;
        written::check(&output.join("model.safetensors"), named(&merged), saved)?;
        let own_head = HEADS.iter().any(|head| merged.id(head).is_some());
        written::check_config(output, own_head, saved)?;
    }
    if let Some(kind) = config.gguf {
        let path = output.join(bundle::GGUF);
        save_gguf(&path, &model_config, &merged, kind.into(), |writer| {
            for (key, value) in card::licence(config, trained) {
                writer.string(&format!("general.{}", key.replace('_', ".")), value);
            }
            tokenizer.write_gguf(writer);
            writer.string(RECORD_KEY, &record);
        })
        .map_err(not_written)?;
    }
    Ok(())
}

/// The tensors of a table by name.
fn named(parameters: &Parameters) -> impl Iterator<Item = (&str, &Tensor)> {
    parameters.iter().map(|(_, entry)| (entry.spec.name.as_str(), &entry.tensor))
}

/// Loads what was written and compares it with the trained model; the largest difference.
fn read_back(
    config: &Config,
    trained: &Trained,
    reference: Reference,
    output: &Path,
) -> Result<f64, StageError> {
    let tolerance = config.perplexity_tolerance;
    let (mut reloaded, what) = match (config.format, &trained.base) {
        (Format::Peft, Some(base)) => (load_adapted(base, output)?, "adapter_model.safetensors"),
        _ => (load_whole(output, config.dtype.precision())?, "model.safetensors"),
    };
    let mut difference = reference.check(trained, &mut reloaded, what, tolerance)?;
    drop(reloaded);
    if let Some(kind) = config.gguf {
        let mut reloaded = load_whole(&output.join(bundle::GGUF), Precision::F32)?;
        let factor = if kind == GgufType::Q8 { 5.0 } else { 1.0 };
        let other = reference.check(trained, &mut reloaded, "model.gguf", factor * tolerance)?;
        difference = difference.max(other);
    }
    Ok(difference)
}

fn copy_diagnostics(folder: &Path, target: &Path) -> Result<(), StageError> {
    let failed = |error: std::io::Error| StageError::failed_write(target, &error);
    std::fs::create_dir_all(target).map_err(failed)?;
    for name in bundle::DIAGNOSTIC_FILES.map(|file| file.name) {
        if folder.join(name).is_file() {
            std::fs::copy(folder.join(name), target.join(name)).map_err(failed)?;
        }
    }
    Ok(())
}

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), StageError> {
    write_text(path, &format!("{value:#}\n"))
}

fn write_text(path: &Path, text: &str) -> Result<(), StageError> {
    std::fs::write(path, text).map_err(|error| StageError::failed_write(path, &error))
}
