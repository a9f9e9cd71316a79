//! Nothing of a checkpoint goes unread without a word: heads beside a tied embedding, tensors without a
//! place, and things that are no checkpoint.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use pft_gguf::{GgufWriter, WriteType};
use pft_lm::checkpoint::{Checkpoint, Origin, Precision, SavedType, load_adapter, save_model};
use pft_lm::config::ModelConfig;
use pft_lm::model::init;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

const LLAMA: &str = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":96,
    "hidden_size":32,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
    "intermediate_size":48,"max_position_embeddings":64,"rms_norm_eps":1e-6,
    "tie_word_embeddings":true}"#;
const GPT2: &str = r#"{"architectures":["GPT2LMHeadModel"],"model_type":"gpt2","vocab_size":96,
    "n_embd":32,"n_layer":2,"n_head":4,"n_positions":32}"#;

/// A folder with a model of the config, written by the crate safetensors with further tensors.
fn folder(config: &str, more: &[(&str, Vec<usize>, Vec<f32>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let parameters = init::random(&ModelConfig::from_json(config).unwrap(), 3).unwrap();
    let own = parameters.iter().map(|(_, parameter)| {
        let name = parameter.spec.name.as_str();
        (name, parameter.spec.shape.clone(), parameter.tensor.to_f32())
    });
    let all: Vec<(&str, Vec<usize>, Vec<u8>)> = own
        .chain(more.iter().cloned())
        .map(|(name, shape, values)| {
            (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let views: HashMap<&str, TensorView> = all
        .iter()
        .map(|(name, shape, bytes)| {
            (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    let metadata = Some(HashMap::from([("format".to_owned(), "pt".to_owned())]));
    let path = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(views, metadata, &path).unwrap();
    folder
}

fn refusal(path: &Path) -> String {
    let loaded = Checkpoint::open(path).and_then(|c| c.parameters(Precision::F32));
    loaded.err().map(|error| error.to_string()).unwrap_or_default()
}

fn embedding(config: &str) -> Vec<f32> {
    let parameters = init::random(&ModelConfig::from_json(config).unwrap(), 3).unwrap();
    let (_, first) = parameters.iter().next().unwrap();
    first.tensor.to_f32()
}

fn transformers(folders: &[&Path], version_5: bool) -> Option<Vec<String>> {
    let python = PathBuf::from(std::env::var_os("PFT_PYTHON")?);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/tied_heads.py");
    let beside = python.parent()?.join("../transformers5");
    let mut command = Command::new(&python);
    command.arg(script).args(folders).env("HF_HUB_OFFLINE", "1");
    if version_5 {
        let beside = std::env::var_os("PFT_TRANSFORMERS5").map_or(beside, PathBuf::from);
        assert!(beside.is_dir(), "{beside:?} is not there; run `make python`");
        command.env("PYTHONPATH", beside);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(ToOwned::to_owned).collect())
}

/// transformers 4 and 5 differ in such a model, so that there is no right answer but the user's.
#[test]
fn another_head_beside_a_tied_embedding_is_refused_and_the_same_one_is_not() {
    for config in [LLAMA, GPT2] {
        let same = embedding(config);
        let other: Vec<f32> = same.iter().rev().copied().collect();
        let with = |config: &str, head: &[f32]| {
            folder(config, &[("lm_head.weight", vec![96, 32], head.to_vec())])
        };
        assert_eq!(refusal(with(config, &same).path()), "");
        let mut nearly = same.clone();
        *nearly.last_mut().unwrap() += 1e-3;
        for head in [&other, &nearly] {
            let message = refusal(with(config, head).path());
            for part in ["tie_word_embeddings", "lm_head.weight", "transformers 4 and 5", "false"] {
                assert!(message.contains(part), "{message:?} does not say {part}");
            }
        }
        let both = with(config, &other);
        if let Some(found) = transformers(&[both.path()], false) {
            assert_eq!(found, ["embedding"]);
            assert_eq!(transformers(&[both.path()], true).unwrap(), ["own"]);
        }
        // The first way out: the head is another matrix, and read as one.
        let mut untied: Value = serde_json::from_str(config).unwrap();
        untied["tie_word_embeddings"] = json!(false);
        std::fs::write(both.path().join("config.json"), untied.to_string()).unwrap();
        let parameters = Checkpoint::open(both.path()).unwrap().parameters(Precision::F32).unwrap();
        let head = parameters.get(parameters.id("lm_head.weight").unwrap()).tensor.to_f32();
        assert_eq!(head, other);
        if let Some(found) = transformers(&[both.path()], false) {
            assert_eq!(found, ["own"]);
            assert_eq!(transformers(&[both.path()], true).unwrap(), ["own"]);
        }
    }
}

#[test]
fn only_the_buffers_that_follow_from_the_config_are_passed_over() {
    let mask = || vec![0.0; 32 * 32];
    let known = [
        (GPT2, "transformer.h.1.attn.bias", vec![1, 1, 32, 32], mask()),
        (GPT2, "h.0.attn.bias", vec![1, 1, 32, 32], mask()),
        (GPT2, "transformer.h.0.attn.masked_bias", vec![], vec![-1e4]),
        (LLAMA, "model.layers.1.self_attn.rotary_emb.inv_freq", vec![4], vec![1.0; 4]),
        (LLAMA, "model.rotary_emb.inv_freq", vec![4], vec![1.0; 4]),
    ];
    for (config, name, shape, values) in known {
        let message = refusal(folder(config, &[(name, shape, values)]).path());
        assert_eq!(message, "", "{name}");
    }
    let unknown = [
        (GPT2, "transformer.h.2.attn.bias", vec![1, 1, 32, 32], mask()),
        (GPT2, "transformer.h.0.attn.bias", vec![96], vec![0.0; 96]),
        (GPT2, "lm_head.bias", vec![96], vec![0.0; 96]),
        (GPT2, "wte.weight", vec![96, 32], vec![0.0; 96 * 32]),
        (LLAMA, "model.layers.0.self_attn.q_proj.bias", vec![32], vec![0.0; 32]),
        (LLAMA, "model.layers.0.self_attn.bias", vec![32], vec![0.0; 32]),
        (LLAMA, "model.layers.0.self_attn.rotary_emb.inv_freq", vec![8], vec![0.0; 8]),
        (LLAMA, "score.weight", vec![2, 32], vec![0.0; 64]),
    ];
    for (config, name, shape, values) in unknown {
        let message = refusal(folder(config, &[(name, shape, values)]).path());
        assert!(message.contains(&format!("`{name}`")), "{name}: {message:?}");
    }
}

#[test]
fn a_gguf_tensor_without_a_place_is_refused() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/checkpoints");
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("model.gguf");
    for (name, kind) in [("llama.gguf", "llama"), ("gpt2.gguf", "gpt2")] {
        let file = pft_gguf::Gguf::open(&fixture.join(name)).unwrap();
        let mut writer = GgufWriter::new();
        writer.string("general.architecture", kind);
        for (key, value) in file.metadata() {
            if let Some(number) = value.as_u64() {
                writer.u32(key, number as u32);
            } else if let Some(number) = value.as_f64() {
                writer.f32(key, number as f32);
            }
        }
        for info in file.tensors() {
            writer.tensor(&info.name, &info.shape, WriteType::F32);
        }
        writer.tensor("blk.1.attn_q_norm.weight", &[8], WriteType::F32);
        let values = |name: &str| match file.tensor(name) {
            Some(_) => file.dequantize(name),
            None => Ok(vec![1.0; 8]),
        };
        writer.write(&path, values).unwrap();
        let message = refusal(&path);
        assert!(message.contains("blk.1.attn_q_norm.weight"), "{message:?}");
    }
    let mut writer = GgufWriter::new();
    writer.string("general.architecture", "llama");
    writer.u32("split.count", 3);
    writer.write(&path, |_| Ok(Vec::new())).unwrap();
    assert!(refusal(&path).contains("one of 3 parts"));
}

#[test]
fn what_is_no_checkpoint_is_named_with_the_way_out() {
    let place = tempfile::tempdir().unwrap();
    let adapter = place.path().join("adapter");
    std::fs::create_dir_all(&adapter).unwrap();
    std::fs::write(adapter.join("adapter_config.json"), "{}").unwrap();
    std::fs::write(adapter.join("model.gguf"), "GGUF").unwrap();
    let message = refusal(&adapter);
    assert!(message.contains("LoRA adapters") && message.contains("merge"), "{message}");

    let model = place.path().join("models--org--name");
    std::fs::create_dir_all(model.join("snapshots/0123")).unwrap();
    assert!(refusal(&model).contains("snapshots/0123"));
    assert!(refusal(place.path()).contains("many models"));
    assert!(refusal(&place.path().join("org/name")).contains("hf download org/name"));
    assert!(refusal(Path::new("hf://org/name")).contains("read from the disk"));

    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    let folder = folder(LLAMA, &[]);
    for name in ["model.safetensors", "config.json"] {
        let path = folder.path().join(name);
        let kept = std::fs::read(&path).unwrap();
        std::fs::write(&path, pointer).unwrap();
        assert!(refusal(folder.path()).contains("git lfs pull"), "{name}");
        std::fs::write(&path, kept).unwrap();
    }
    let path = place.path().join("model.gguf");
    std::fs::write(&path, pointer).unwrap();
    assert!(refusal(&path).contains("git lfs pull"));
}

/// By the crate safetensors, by what umask leaves, and by the bytes of a second time.
#[cfg(unix)]
#[test]
fn weights_are_written_for_others_to_read_and_the_same_each_time() {
    use std::os::unix::fs::PermissionsExt;
    let config = ModelConfig::from_json(
        &LLAMA
            .replace('{', r#"{"quantization_config":{"bits":4},"auto_map":{},"dtype":"float16","#),
    )
    .unwrap();
    let parameters = init::random(&config, 5).unwrap();
    let written: Vec<(Vec<u8>, String)> = (0..2)
        .map(|_| {
            let folder = tempfile::tempdir().unwrap();
            save_model(folder.path(), &config, &parameters, SavedType::F32).unwrap();
            let mode = |name: &str| {
                folder.path().join(name).metadata().unwrap().permissions().mode() & 0o777
            };
            assert_eq!(mode("model.safetensors"), mode("config.json"));
            let text = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
            (std::fs::read(folder.path().join("model.safetensors")).unwrap(), text)
        })
        .collect();
    assert_eq!(written[0], written[1]);
    let said: Value = serde_json::from_str(&written[0].1).unwrap();
    assert_eq!(said["torch_dtype"], "float32");
    for stale in ["quantization_config", "auto_map", "dtype"] {
        assert!(said[stale].is_null(), "{stale}");
    }
    let file = SafeTensors::deserialize(&written[0].0).unwrap();
    assert_eq!(file.len(), parameters.len());
    for (_, parameter) in parameters.iter() {
        let view = file.tensor(&parameter.spec.name).unwrap();
        assert_eq!((view.dtype(), view.shape()), (Dtype::F32, &parameter.spec.shape[..]));
        let values: Vec<f32> =
            view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(values, parameter.tensor.to_f32());
    }
    let (_, metadata) = SafeTensors::read_metadata(&written[0].0).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
}

/// peft merges adapters of a tied head into the embedding too, and gives other logits. What is kept
/// beside adapters, as a whole head is, has no place here either.
#[test]
fn a_tied_head_is_no_target_and_nothing_is_kept_beside_adapters() {
    let place = tempfile::tempdir().unwrap();
    for tied in [true, false] {
        let text = LLAMA
            .replace("\"tie_word_embeddings\":true", &format!("\"tie_word_embeddings\":{tied}"));
        let config = ModelConfig::from_json(&text).unwrap();
        for (setting, target) in [
            ("target_modules", json!(["q_proj", "lm_head"])),
            ("target_modules", json!(["embed_tokens"])),
            ("modules_to_save", json!(["lm_head"])),
        ] {
            let mut adapter = json!({ "peft_type": "LORA", "r": 2, "lora_alpha": 4,
                "target_modules": ["q_proj"] });
            if !tied && target == json!(["q_proj", "lm_head"]) {
                continue;
            }
            adapter[setting] = target.clone();
            std::fs::write(place.path().join("adapter_config.json"), adapter.to_string()).unwrap();
            let weights: HashMap<&str, TensorView> = HashMap::new();
            let path = place.path().join("adapter_model.safetensors");
            safetensors::serialize_to_file(weights, None, &path).unwrap();
            let mut parameters = init::random(&config, 1).unwrap();
            let error = load_adapter(place.path(), &config, &mut parameters).unwrap_err();
            let named = ["lm_head", "embed_tokens", "modules_to_save"];
            let message = error.to_string();
            assert!(named.iter().any(|name| message.contains(name)), "{message}");
        }
    }
}

#[test]
fn a_model_says_where_it_comes_from() {
    let folder = folder(LLAMA, &[]);
    let card = "---\nlicense: other\nlicense_name: some-licence\n---\n";
    std::fs::write(folder.path().join("README.md"), card).unwrap();
    let origin = Checkpoint::open(folder.path()).unwrap().origin();
    assert_eq!(origin.license.as_deref(), Some("other"));
    assert_eq!(origin.license_name.as_deref(), Some("some-licence"));

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    if path.is_file() {
        let origin = Checkpoint::open(&path).unwrap().origin();
        let expected = Origin { license: Some("apache-2.0".into()), ..Origin::default() };
        assert_eq!(origin, expected);
    }
}
