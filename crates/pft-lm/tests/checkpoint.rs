//! Checkpoints made by transformers, peft and the `gguf` package (tests/reference/logits.py):
//! the logits that come out of them, what is written back, and what is refused.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use pft_gguf::WriteType;
use pft_lm::batch::Batch;
use pft_lm::checkpoint::{
    Checkpoint, CheckpointError, Precision, SavedType, load_adapter, save_adapter, save_gguf,
    save_model,
};
use pft_lm::config::{ModelConfig, RopeScaling};
use pft_lm::model::{LanguageModel, init};
use pft_lm::parameters::{Parameters, TensorData};
use safetensors::SafeTensors;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/checkpoints")
}

/// Token ids, and the logits that transformers gives for them.
fn reference(path: &Path) -> (Vec<u32>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let ids = file.tensor("ids").unwrap().data().as_chunks::<8>().0.to_vec();
    let logits = file.tensor("logits").unwrap().data().as_chunks::<4>().0.to_vec();
    (
        ids.into_iter().map(|id| i64::from_le_bytes(id) as u32).collect(),
        logits.into_iter().map(f32::from_le_bytes).collect(),
    )
}

fn logits(checkpoint: &Checkpoint, parameters: Parameters, ids: &[u32]) -> Vec<f32> {
    let mut model = LanguageModel::new(checkpoint.config().clone(), parameters, None, 0).unwrap();
    model.logits(&Batch::new(&[ids]).unwrap()).unwrap()
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: logits differ by {worst}");
}

fn check(path: &str, logits_of: &str) {
    let checkpoint = Checkpoint::open(&fixtures().join(path)).unwrap();
    let (ids, expected) = reference(&fixtures().join(logits_of).join("logits.safetensors"));
    let parameters = checkpoint.parameters(Precision::F32).unwrap();
    assert_near(&logits(&checkpoint, parameters, &ids), &expected, 1e-4, path);
}

#[test]
fn logits_agree_with_transformers_from_folders_and_gguf() {
    for (path, logits) in
        [("llama", "llama"), ("llama.gguf", "llama"), ("gpt2", "gpt2"), ("gpt2.gguf", "gpt2")]
    {
        check(path, logits);
    }
}

#[test]
fn gguf_and_folder_say_the_same_of_the_model() {
    for name in ["llama", "gpt2"] {
        let folder = Checkpoint::open(&fixtures().join(name)).unwrap();
        let gguf = Checkpoint::open(&fixtures().join(format!("{name}.gguf"))).unwrap();
        let strip = |checkpoint: &Checkpoint| {
            let mut config = checkpoint.config().clone();
            config.other.clear();
            config
        };
        assert_eq!(strip(&folder), strip(&gguf));
    }
    let llama = Checkpoint::open(&fixtures().join("llama.gguf")).unwrap();
    assert!(matches!(llama.config().rope_scaling, Some(RopeScaling::Llama3 { .. })));
}

#[test]
fn smollm2_agrees_with_transformers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    let (ids, expected) = reference(&fixtures().join("smollm2-logits.safetensors"));
    if !path.is_file() {
        // `make models` fetches it; a checkout without it still has the fixture to be whole.
        assert_eq!(expected.len(), ids.len() * 49_152usize.div_ceil(61));
        return;
    }
    let checkpoint = Checkpoint::open(&path).unwrap();
    let parameters = checkpoint.parameters(Precision::F32).unwrap();
    assert_eq!(parameters.count().0, 134_515_008);
    let all = logits(&checkpoint, parameters, &ids);
    let found: Vec<f32> =
        all.chunks(49_152).flat_map(|row| row.iter().step_by(61)).copied().collect();
    assert_near(&found, &expected, 1e-4, "SmolLM2-135M");
}

#[test]
fn an_adapter_of_peft_gives_its_logits_and_survives_a_round_trip() {
    let base = Checkpoint::open(&fixtures().join("llama")).unwrap();
    let (ids, expected) = reference(&fixtures().join("llama-adapter/logits.safetensors"));
    let mut folder = fixtures().join("llama-adapter");
    let copy = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut parameters = base.parameters(Precision::F32).unwrap();
        let lora = load_adapter(&folder, base.config(), &mut parameters).unwrap();
        assert_eq!((lora.rank, lora.alpha), (3, 6.0));
        let config = base.config().clone();
        let mut model = LanguageModel::new(config, parameters, Some(lora.clone()), 0).unwrap();
        let found = model.logits(&Batch::new(&[&ids]).unwrap()).unwrap();
        assert_near(&found, &expected, 1e-4, "adapter");
        save_adapter(copy.path(), base.config(), &lora, model.parameters(), "base").unwrap();
        let merged = model.into_merged().unwrap();
        assert_near(&logits(&base, merged, &ids), &expected, 1e-4, "merged adapter");
        folder = copy.path().to_path_buf();
    }
}

#[test]
fn what_is_saved_loads_again() {
    for name in ["llama", "gpt2"] {
        let original = Checkpoint::open(&fixtures().join(name)).unwrap();
        let parameters = original.parameters(Precision::F32).unwrap();
        let (ids, expected) = reference(&fixtures().join(name).join("logits.safetensors"));
        // The GPT-2's values need all 32 bits, and 8 or 16 bits change the logits a little.
        for (saved, tolerance) in
            [(SavedType::F32, 0.0), (SavedType::Bf16, 0.2), (SavedType::F16, 0.02)]
        {
            let folder = tempfile::tempdir().unwrap();
            save_model(folder.path(), original.config(), &parameters, saved).unwrap();
            let again = Checkpoint::open(folder.path()).unwrap();
            let reloaded = again.parameters(Precision::F32).unwrap();
            assert!(saved != SavedType::F32 || reloaded == parameters);
            assert_near(&logits(&again, reloaded, &ids), &expected, 1e-4 + tolerance, name);
        }
        for (kind, tolerance) in
            [(WriteType::F32, 1e-6), (WriteType::F16, 0.02), (WriteType::Q8_0, 0.3)]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.gguf");
            save_gguf(&path, original.config(), &parameters, kind, |_| ()).unwrap();
            let again = Checkpoint::open(&path).unwrap();
            assert_eq!(again.config().rope_scaling, original.config().rope_scaling);
            let reloaded = again.parameters(Precision::F32).unwrap();
            assert!(kind != WriteType::F32 || reloaded == parameters);
            assert_near(&logits(&again, reloaded, &ids), &expected, 1e-4 + tolerance, name);
        }
    }
}

#[test]
fn a_frozen_base_is_kept_in_half_the_memory() {
    let checkpoint = Checkpoint::open(&fixtures().join("llama")).unwrap();
    let (ids, expected) = reference(&fixtures().join("llama/logits.safetensors"));
    let parameters = checkpoint.parameters(Precision::Bf16).unwrap();
    let narrow = |name: &str| {
        let id = parameters.id(name).unwrap();
        matches!(parameters.get(id).tensor.data, TensorData::Bf16(_))
    };
    assert!(narrow("model.layers.0.mlp.up_proj.weight") && !narrow("model.norm.weight"));
    let mut model = LanguageModel::new(
        checkpoint.config().clone(),
        {
            let mut frozen = parameters;
            frozen.set_trainable(|_| false);
            frozen
        },
        None,
        0,
    )
    .unwrap();
    let found = model.logits(&Batch::new(&[&ids]).unwrap()).unwrap();
    assert_near(&found, &expected, 1e-4, "bf16 base");
}

/// The same numbers in blocks, whether they come from a folder or a GGUF file.
#[test]
fn a_frozen_base_is_kept_in_blocks() {
    let text = r#"{"model_type":"llama","vocab_size":40,"hidden_size":64,"num_hidden_layers":2,
        "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":96,
        "max_position_embeddings":32,"initializer_range":0.2}"#;
    let config = ModelConfig::from_json(text).unwrap();
    let wide = init::random(&config, 5).unwrap();
    let place = tempfile::tempdir().unwrap();
    let (folder, file) = (place.path().join("model"), place.path().join("model.gguf"));
    std::fs::create_dir(&folder).unwrap();
    save_model(&folder, &config, &wide, SavedType::F32).unwrap();
    save_gguf(&file, &config, &wide, WriteType::F32, |_| ()).unwrap();
    for (precision, most) in [(Precision::Q8_0, 0.01), (Precision::Q4_0, 0.15)] {
        let drawn = init::random_in(&config, 5, precision).unwrap();
        for path in [&folder, &file] {
            let read = Checkpoint::open(path).unwrap().parameters(precision).unwrap();
            assert!(read == drawn, "{}", path.display());
        }
        for ((_, narrow), (_, wide)) in drawn.iter().zip(wide.iter()) {
            let (narrow, wide) = (&narrow.tensor, &wide.tensor);
            let kept = if wide.shape.len() == 2 { precision } else { Precision::F32 };
            assert_eq!(narrow.precision(), kept);
            let [found, expected] = [narrow.to_f32(), wide.to_f32()];
            let off: f32 = found.iter().zip(&expected).map(|(f, e)| (f - e).powi(2)).sum();
            let norm: f32 = expected.iter().map(|e| e.powi(2)).sum();
            assert!(off.sqrt() <= most * norm.sqrt(), "{off} of {norm}");
        }
        // What is written of it is what it holds.
        save_model(&folder, &config, &drawn, SavedType::F32).unwrap();
        let again = Checkpoint::open(&folder).unwrap().parameters(Precision::F32).unwrap();
        for ((_, again), (_, drawn)) in again.iter().zip(drawn.iter()) {
            assert_eq!(again.tensor.to_f32(), drawn.tensor.to_f32());
        }
        save_model(&folder, &config, &wide, SavedType::F32).unwrap();
    }

    let odd = ModelConfig::from_json(&text.replace("96", "100")).unwrap();
    let error = init::random_in(&odd, 5, Precision::Q4_0).unwrap_err().to_string();
    assert!(error.contains("down_proj") && error.contains("rows of 100"), "{error}");
    save_model(&folder, &odd, &init::random(&odd, 5).unwrap(), SavedType::F32).unwrap();
    let error = Checkpoint::open(&folder).unwrap().parameters(Precision::Q8_0).unwrap_err();
    assert!(error.to_string().contains("q8_0 keeps blocks of 32"), "{error}");
}

fn copy_of(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    std::fs::remove_file(folder.path().join("logits.safetensors")).unwrap();
    folder
}

fn refusal(folder: &Path) -> String {
    let loaded = Checkpoint::open(folder).and_then(|c| c.parameters(Precision::F32));
    loaded.err().map(|error: CheckpointError| error.to_string()).unwrap_or_default()
}

#[test]
fn config_and_weights_of_different_models_are_refused_by_tensor() {
    let cases = [
        ("\"intermediate_size\": 48", "\"intermediate_size\": 64", "mlp.gate_proj.weight"),
        ("\"vocab_size\": 96", "\"vocab_size\": 97", "model.embed_tokens.weight"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "model.layers.1."),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "model.layers.2."),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 200000000", "200000000 layers"),
    ];
    for (from, to, expected) in cases {
        let folder = copy_of("llama");
        let path = folder.path().join("config.json");
        let config = std::fs::read_to_string(&path).unwrap();
        assert!(config.contains(from));
        std::fs::write(&path, config.replace(from, to)).unwrap();
        let message = refusal(folder.path());
        assert!(message.contains(expected), "{message:?} does not name {expected}");
    }
    let folder = copy_of("llama");
    let path = folder.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("\"intermediate_size\": 48", "\"intermediate_size\": 64"))
        .unwrap();
    let message = refusal(folder.path());
    for part in ["[48, 32]", "[64, 32]", ".safetensors"] {
        assert!(message.contains(part), "{message:?} does not say {part}");
    }
}

#[test]
fn damaged_and_dangerous_checkpoints_are_refused() {
    let gpt2 = std::fs::read(fixtures().join("gpt2/model.safetensors")).unwrap();
    for cut in [0, 7, 100, 5000, gpt2.len() / 2, gpt2.len() - 1] {
        let folder = copy_of("gpt2");
        std::fs::write(folder.path().join("model.safetensors"), &gpt2[..cut]).unwrap();
        let message = refusal(folder.path());
        assert!(message.contains("model.safetensors"), "cut at {cut}: {message:?}");
        assert!(message.contains("cut short") || cut == 0, "cut at {cut}: {message:?}");
    }
    let mut huge = gpt2.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let folder = copy_of("gpt2");
    std::fs::write(folder.path().join("model.safetensors"), huge).unwrap();
    assert!(refusal(folder.path()).contains("not a whole safetensors file"));

    let folder = copy_of("gpt2");
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(refusal(folder.path()).contains("neither model.safetensors nor"));
    std::fs::write(folder.path().join("pytorch_model.bin"), b"\x80\x02").unwrap();
    assert!(refusal(folder.path()).contains("pickled"));
    assert!(refusal(&folder.path().join("pytorch_model.bin")).contains("pickled"));

    let folder = copy_of("llama");
    std::fs::remove_file(folder.path().join("model-00002-of-00004.safetensors")).unwrap();
    assert!(refusal(folder.path()).contains("model-00002-of-00004.safetensors"));
    let index = folder.path().join("model.safetensors.index.json");
    std::fs::write(&index, r#"{"weight_map": {"a": "../secret.safetensors"}}"#).unwrap();
    assert!(refusal(folder.path()).contains("not a file of this folder"));

    let empty = tempfile::tempdir().unwrap();
    assert!(refusal(empty.path()).contains("neither config.json nor"));
    assert!(refusal(&empty.path().join("nothing")).contains("no such file"));
}

#[test]
fn a_gguf_that_lies_about_its_model_is_refused() {
    let bytes = std::fs::read(fixtures().join("llama.gguf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    // Each number of the metadata in turn: key, type u32 (4), value.
    for (key, value, expected) in [
        ("llama.block_count", 200_000_000u32, "200000000 layers"),
        ("llama.block_count", 0, "num_hidden_layers"),
        ("llama.embedding_length", 33, "shape"),
        ("llama.attention.head_count", 0, "num_attention_heads"),
        ("llama.attention.head_count", 3, "num_key_value_heads"),
        ("llama.feed_forward_length", 64, "blk.0.ffn_gate.weight"),
        ("llama.rope.dimension_count", 4, "rotates a part"),
    ] {
        let mut changed = bytes.clone();
        let at = changed.windows(key.len()).position(|w| w == key.as_bytes()).unwrap();
        let at = at + key.len() + 4;
        changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
        std::fs::write(&path, changed).unwrap();
        let message = refusal(&path);
        assert!(!message.is_empty(), "{key} = {value} was accepted");
        assert!(
            message.contains(expected) || message.contains("rotates a part"),
            "{key} = {value}: {message:?} does not say {expected:?}"
        );
    }
}
