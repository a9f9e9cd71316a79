//! Adapters of every kind against peft: which layers get them, logits and gradients, and what is
//! written of them.

#![allow(clippy::unwrap_used)]

mod fixtures;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::{Fixture, MODELS};
use pft_lm::batch::Batch;
use pft_lm::checkpoint::{
    Checkpoint, SavedType, load_adapter, read_adapter_config, save_adapter, save_model,
};
use pft_lm::config::ModelConfig;
use pft_lm::gradient::GradientSum;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::layers::targets::TargetModules;
use pft_lm::model::{LanguageModel, init};
use pft_lm::parameters::{ParameterKind, Precision, TensorData};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

/// Moves A and B off where they start.
fn perturb(model: &mut LanguageModel) {
    let mut state = 1u32;
    let adapters = model.parameters_mut().iter_mut().filter(|(_, parameter)| {
        matches!(parameter.spec.kind, ParameterKind::LoraA | ParameterKind::LoraB)
    });
    for (_, parameter) in adapters {
        if let TensorData::F32(values) = &mut parameter.tensor.data {
            for value in values {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value += 0.2 * (state as f32 / 2_147_483_648.0 - 1.0);
            }
        }
    }
}

fn pattern(text: &str) -> TargetModules {
    TargetModules::Pattern(text.to_owned())
}

/// Adapters on every linear layer of every family, scaled and frozen in turn, and some by name and
/// pattern.
fn cases() -> Vec<(&'static str, LoraConfig)> {
    let families = MODELS.into_iter().filter(|name| !name.ends_with("-lora"));
    let mut cases: Vec<_> = families
        .enumerate()
        .map(|(index, name)| {
            let lora = LoraConfig {
                rank: 4,
                alpha: 6.0,
                use_rslora: index % 2 == 0,
                target_modules: TargetModules::all_linear(),
                freeze_a: index % 3 == 0,
                ..LoraConfig::default()
            };
            (name, lora)
        })
        .collect();
    for (name, target_modules) in [
        ("llama-untied", pattern(r".*\.0\.self_attn\.(q|v)_proj")),
        ("families/qwen3", pattern(r"model\.layers\.(?!0\.)\d+\.mlp\.(up|down)_proj")),
        ("gpt2-tied", pattern(r"transformer\.h\.\d\.attn\.c_(attn|proj)")),
        ("gpt2-untied", TargetModules::names(["attn.c_proj"])),
        // Heads that are no embeddings, with a bias and without.
        ("gpt2-untied", TargetModules::names(["lm_head"])),
        ("llama-untied", TargetModules::names(["lm_head", "q_proj", "down_proj"])),
        ("families/qwen3", pattern(r"lm_head|.*\.v_proj")),
        ("families/granite", TargetModules::names(["lm_head", "up_proj"])),
        ("families/phi", TargetModules::names(["lm_head", "dense"])),
        ("families/phi3", TargetModules::names(["layers.1.mlp.gate_up_proj", "qkv_proj"])),
    ] {
        cases.push((name, LoraConfig { rank: 2, target_modules, ..LoraConfig::default() }));
    }
    cases
}

/// The model of a fixture under adapters of its own.
fn adapted(fixture: &Fixture, lora: &LoraConfig) -> LanguageModel {
    let base = fixture.model().parameters().clone();
    let mut model =
        LanguageModel::new(fixture.config.clone(), base, Some(lora.clone()), 3).unwrap();
    perturb(&mut model);
    model
}

/// Writes base, adapters, logits and gradients, for peft to compare with.
fn write(folder: &Path, fixture: &Fixture, lora: &LoraConfig) {
    let mut model = adapted(fixture, lora);
    let [base, adapter] = ["base", "adapter"].map(|name| folder.join(name));
    [&base, &adapter].into_iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
    save_model(&base, &fixture.config, model.parameters(), SavedType::F32).unwrap();
    save_adapter(&adapter, &fixture.config, lora, model.parameters(), "base").unwrap();

    let sequences = fixture.sequences();
    let vocabulary = fixture.config.vocab_size;
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for (index, ids) in sequences.iter().enumerate() {
        let logits = model.logits(&Batch::new(std::slice::from_ref(ids)).unwrap()).unwrap();
        tensors.push((format!("logits/{index}"), vec![ids.len(), vocabulary], logits));
    }
    let mut sum = GradientSum::new(model.parameters());
    model.forward_backward(&Batch::new(&sequences).unwrap(), 0, &mut sum).unwrap();
    for (id, gradient) in sum.iter_mut() {
        let spec = &model.parameters().get(id).spec;
        tensors.push((format!("grad/{}", spec.name), spec.shape.clone(), gradient.to_vec()));
    }
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let settings = json!({ "r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": 0.0,
        "use_rslora": lora.use_rslora, "target_modules": lora.target_modules });
    let metadata = HashMap::from([
        ("sequences".to_owned(), json!(sequences).to_string()),
        ("settings".to_owned(), settings.to_string()),
        ("freeze_a".to_owned(), json!(lora.freeze_a).to_string()),
    ]);
    let path = folder.join("expected.safetensors");
    safetensors::serialize_to_file(views, Some(metadata), &path).unwrap();
}

#[test]
fn peft_has_the_same_adapters_logits_and_gradients() {
    let house = tempfile::tempdir().unwrap();
    let mut folders = Vec::new();
    for (index, (name, lora)) in cases().iter().enumerate() {
        let folder = house.path().join(format!("{index}-{}", name.replace('/', "-")));
        write(&folder, &Fixture::read(name), lora);
        folders.push(folder);
    }
    let Some(python) = std::env::var_os("PFT_PYTHON").map(PathBuf::from) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/adapters.py");
    let newer = python.parent().unwrap().parent().unwrap().join("transformers5");
    assert!(newer.is_dir(), "{} is not there; run `make python`", newer.display());
    for path in [None, Some(&newer)] {
        let mut command = Command::new(&python);
        command.arg(&script).args(&folders).env("HF_HUB_OFFLINE", "1");
        if let Some(path) = path {
            command.env("PYTHONPATH", path);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_is_written_is_read_back_the_same() {
    for (name, lora) in cases() {
        let fixture = Fixture::read(name);
        let model = adapted(&fixture, &lora);
        let folder = tempfile::tempdir().unwrap();
        let (folder, base) = (folder.path(), folder.path().join("base"));
        std::fs::create_dir_all(&base).unwrap();
        save_model(&base, &fixture.config, model.parameters(), SavedType::F32).unwrap();
        save_adapter(folder, &fixture.config, &lora, model.parameters(), "base").unwrap();
        let checkpoint = Checkpoint::open(&base).unwrap();
        let mut parameters = checkpoint.parameters(Precision::F32).unwrap();
        let read = load_adapter(folder, checkpoint.config(), &mut parameters).unwrap();
        assert_eq!(read.scale(), lora.scale(), "{name}");
        let again = LanguageModel::new(fixture.config.clone(), parameters, Some(read), 9).unwrap();
        let values = |model: &LanguageModel| -> HashMap<String, Vec<f32>> {
            let all = model.parameters().iter();
            all.map(|(_, p)| (p.spec.name.clone(), p.tensor.to_f32())).collect()
        };
        assert_eq!(values(&again), values(&model), "{name}");
    }
}

#[test]
fn frozen_a_stays_as_it_was_drawn_and_gets_no_gradient() {
    let fixture = Fixture::read("families/qwen3");
    let lora = |freeze_a| LoraConfig { freeze_a, ..LoraConfig::default() };
    let of = |freeze_a| {
        let base = fixture.model().parameters().clone();
        LanguageModel::new(fixture.config.clone(), base, Some(lora(freeze_a)), 5).unwrap()
    };
    let (frozen, free) = (of(true), of(false));
    let kinds = |model: &LanguageModel| -> Vec<ParameterKind> {
        model.parameters().trainable().map(|(_, p)| p.spec.kind).collect()
    };
    assert!(kinds(&frozen).iter().all(|kind| *kind == ParameterKind::LoraB));
    assert_eq!(2 * kinds(&frozen).len(), kinds(&free).len());
    for ((_, frozen), (_, free)) in frozen.parameters().iter().zip(free.parameters().iter()) {
        assert_eq!(frozen.tensor, free.tensor);
    }
}

#[test]
fn targets_that_mean_nothing_or_too_much_are_refused_by_name() {
    for (name, targets, expected) in [
        ("llama-tied", pattern("q_proj"), "`q_proj` matches no linear layer"),
        ("llama-tied", pattern(".*_proj("), "`.*_proj(` is no regular expression"),
        ("llama-tied", pattern("a)|(.*_proj"), "is no regular expression"),
        ("llama-untied", pattern(".*"), "matches `model`"),
        // Tied heads are embeddings, and GPT-NeoX's has two names.
        ("llama-tied", pattern("lm_head"), "`lm_head` matches no linear layer"),
        ("llama-tied", TargetModules::names(["q_proj", "lm_head"]), "`lm_head` matches no"),
        ("llama-untied", TargetModules::names(["embed_tokens"]), "`embed_tokens` matches no"),
        ("gpt2-tied", TargetModules::names(["wte"]), "`wte` matches no linear layer"),
        ("families/gpt-neox", TargetModules::names(["embed_out"]), "`embed_out` matches no"),
        ("families/gpt-neox", pattern(r"embed_out|.*\.dense"), "matches `embed_out`"),
        ("llama-untied", pattern(".*embed_tokens|.*q_proj"), "matches `model.embed_tokens`"),
        ("llama-untied", pattern(r".*\.mlp.*"), "matches `model.layers.0.mlp`"),
        ("families/qwen3", pattern(r".*\.q_(proj|norm)"), "self_attn.q_norm`"),
        ("llama-untied", TargetModules::names(["q_proj", "mlp"]), "`mlp` matches no linear layer"),
        ("llama-untied", TargetModules::names(["proj"]), "`proj` matches no linear layer"),
        ("llama-untied", TargetModules::names::<&str>([]), "names no target module"),
    ] {
        let fixture = Fixture::read(name);
        let lora = LoraConfig { target_modules: targets, ..LoraConfig::default() };
        let base = fixture.model().parameters().clone();
        let error = LanguageModel::new(fixture.config, base, Some(lora), 0).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// What another program asks for is read as peft reads it, or refused by name.
#[test]
fn adapter_configs_are_read_as_peft_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let read = |changes: &[(&str, serde_json::Value)]| {
        let mut config = json!({ "peft_type": "LORA", "r": 4, "lora_alpha": 6,
            "target_modules": ["v_proj", "q_proj"] });
        for (key, value) in changes {
            config[*key] = value.clone();
        }
        std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        read_adapter_config(folder.path())
    };
    assert_eq!(read(&[]).unwrap().target_modules, TargetModules::names(["q_proj", "v_proj"]));
    assert_eq!(read(&[]).unwrap().scale(), 1.5);
    assert_eq!(read(&[("use_rslora", json!(true))]).unwrap().scale(), 3.0);
    let config = ModelConfig::from_json(
        r#"{"model_type":"llama","vocab_size":8,"hidden_size":8,"num_hidden_layers":1,
            "num_attention_heads":2,"intermediate_size":8}"#,
    );
    let base = init::random(&config.unwrap(), 1).unwrap();
    let base: Vec<_> = base.iter().map(|(_, parameter)| parameter.spec.clone()).collect();
    for (targets, adapters) in [("All-Linear", 14), (r".*\.[kv]_proj", 4)] {
        let lora = read(&[("target_modules", json!(targets))]).unwrap();
        assert_eq!(lora.specs(&base).unwrap().len(), adapters, "{targets}");
    }
    for (key, value) in [
        ("exclude_modules", json!(["v_proj"])),
        ("target_parameters", json!(["mlp.experts.gate_up_proj"])),
        ("layer_replication", json!([[0, 1]])),
        ("alora_invocation_tokens", json!([1, 2])),
        ("use_qalora", json!(true)),
        ("use_rslora", json!("yes")),
        ("target_modules", json!(7)),
        ("target_modules", json!(null)),
    ] {
        let error = read(&[(key, value)]).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
