//! LoRA adapters in PEFT's layout.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::tensors::{TensorFile, read_text};
use super::write::save_tensors;
use super::{CheckpointError, Notes, Precision, SavedType};
use crate::config::{Architecture, ModelConfig};
use crate::layers::lora::LoraConfig;
use crate::layers::targets::TargetModules;
use crate::parameters::{ParameterKind, Parameters, parameter_specs};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Writes `adapter_config.json` and `adapter_model.safetensors` into an existing folder.
/// `base_model` is what users find the base model by: a path or a name on the hub.
///
/// # Errors
/// When the disk refuses, or the settings are of another model.
pub fn save_adapter(
    folder: &Path,
    config: &ModelConfig,
    lora: &LoraConfig,
    parameters: &Parameters,
    base_model: &str,
) -> Result<(), CheckpointError> {
    save_adapter_with_notes(folder, config, lora, parameters, base_model, &Notes::new())
}

/// As [`save_adapter`], with notes in the weights file.
///
/// # Errors
/// When the disk refuses, or the settings are of another model.
pub fn save_adapter_with_notes(
    folder: &Path,
    config: &ModelConfig,
    lora: &LoraConfig,
    parameters: &Parameters,
    base_model: &str,
    notes: &Notes,
) -> Result<(), CheckpointError> {
    let json = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": lora.rank,
        "lora_alpha": number(lora.alpha),
        "lora_dropout": lora.dropout,
        "target_modules": lora.target_modules.written(&parameter_specs(config))?,
        "bias": "none",
        "fan_in_fan_out": config.architecture == Architecture::Gpt2,
        "inference_mode": true,
        "init_lora_weights": true,
        "modules_to_save": null,
        "use_dora": false,
        "use_rslora": lora.use_rslora,
        "rank_pattern": {},
        "alpha_pattern": {},
    });
    let path = folder.join(CONFIG);
    std::fs::write(&path, format!("{json:#}\n")).map_err(CheckpointError::io(&path, "write"))?;
    let adapters = parameters.iter().filter(|(_, parameter)| is_adapter(parameter.spec.kind));
    let tensors = adapters.map(|(_, parameter)| (parameter.spec.name.as_str(), &parameter.tensor));
    save_tensors(&folder.join(WEIGHTS), tensors, SavedType::F32, notes)
}

fn is_adapter(kind: ParameterKind) -> bool {
    matches!(kind, ParameterKind::LoraA | ParameterKind::LoraB)
}

/// PEFT writes a whole alpha as an integer.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 { json!(value as i64) } else { json!(value) }
}

/// Reads `adapter_config.json`.
///
/// # Errors
/// When it is missing, or asks for a variant of LoRA that is not computed here.
pub fn read_adapter_config(folder: &Path) -> Result<LoraConfig, CheckpointError> {
    let path = folder.join(CONFIG);
    let json: Value = serde_json::from_str(&read_text(&path)?)
        .map_err(|error| CheckpointError::unusable(&path, format!("not JSON: {error}")))?;
    let wrong = |problem: String| Err(CheckpointError::unusable(&path, problem));
    if json["peft_type"] != "LORA" {
        return wrong(format!("peft_type is {}; only LORA is supported", json["peft_type"]));
    }
    let bias = &json["bias"];
    if !(bias.is_null() || bias == "none") {
        return wrong(format!("bias is {bias}; only \"none\" is supported"));
    }
    for field in [
        "use_dora",
        "use_qalora",
        "modules_to_save",
        "exclude_modules",
        "target_parameters",
        "rank_pattern",
        "alpha_pattern",
        "layers_to_transform",
        "layer_replication",
        "alora_invocation_tokens",
        "trainable_token_indices",
        "lora_bias",
    ] {
        let value = &json[field];
        let off = value.is_null()
            || value == &json!(false)
            || value.as_object().is_some_and(|object| object.is_empty())
            || value.as_array().is_some_and(|list| list.is_empty());
        if !off {
            return wrong(format!("{field} is set, which is not supported"));
        }
    }
    let Some(rank) = json["r"].as_u64().filter(|rank| (1..=1 << 16).contains(rank)) else {
        return wrong(format!("r is {}, not a rank", json["r"]));
    };
    let Some(alpha) = json["lora_alpha"].as_f64() else {
        return wrong(format!("lora_alpha is {}, not a number", json["lora_alpha"]));
    };
    let targets = TargetModules::deserialize(&json["target_modules"]);
    let Ok(mut target_modules) = targets else {
        return wrong("target_modules is neither a text nor a list of names".to_owned());
    };
    if let TargetModules::Names(names) = &mut target_modules {
        // PEFT keeps a set and writes it in any order.
        names.sort();
    }
    let use_rslora = match &json["use_rslora"] {
        Value::Null => false,
        Value::Bool(on) => *on,
        other => return wrong(format!("use_rslora is {other}, neither true nor false")),
    };
    let dropout = json["lora_dropout"].as_f64().unwrap_or(0.0);
    let freeze_a = false;
    Ok(LoraConfig { rank: rank as usize, alpha, use_rslora, dropout, target_modules, freeze_a })
}

/// Reads a PEFT adapter and adds its tensors to the base model's parameters.
///
/// # Errors
/// When a file is missing or damaged, a tensor is missing, has another shape than the settings
/// say, or does not belong to this model.
pub fn load_adapter(
    folder: &Path,
    config: &ModelConfig,
    parameters: &mut Parameters,
) -> Result<LoraConfig, CheckpointError> {
    let lora = read_adapter_config(folder)?;
    let path = folder.join(WEIGHTS);
    if !path.is_file() && folder.join("adapter_model.bin").is_file() {
        return Err(CheckpointError::Pickle(folder.join("adapter_model.bin")));
    }
    let file = TensorFile::open(&path)?;
    let specs = lora.specs(&parameter_specs(config))?;
    let wanted: std::collections::BTreeSet<&str> =
        specs.iter().map(|spec| spec.name.as_str()).collect();
    if let Some(name) = file.names().find(|name| !wanted.contains(name)) {
        return Err(CheckpointError::unusable(
            &path,
            format!("tensor `{name}` adapts nothing in this model"),
        ));
    }
    for spec in &specs {
        if !file.names().any(|name| name == spec.name) {
            return Err(CheckpointError::unusable(
                &path,
                format!("tensor `{}` is missing", spec.name),
            ));
        }
        let tensor = file.load(&spec.name, spec, Precision::F32)?;
        parameters.insert(spec.clone(), tensor, true)?;
    }
    Ok(lora)
}
