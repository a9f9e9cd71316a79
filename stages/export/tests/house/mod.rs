//! A small model and byte-level tokenizers of its size, exported, and Python to look at what came out.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use export::{Config, Export};
use pft_artifact::{Kind, Manifest};
use pft_dp::{Base, NoPrivacy, PrivacyStatement, RECORD_KEY, Record};
use pft_lm::batch::Batch;
use pft_lm::checkpoint::{Checkpoint, Precision, SavedType, save_model_with_notes};
use pft_lm::config::ModelConfig;
use pft_lm::model::{LanguageModel, init};
use pft_lm::parameters::{Parameters, TensorData};
use pft_stage::{Context, Stage, StageError};
use serde_json::{Map, Value, json};

/// Rows of the model, of which the last is the end of a text.
pub(crate) const ROWS: usize = 512;

/// What the merges are learned from: texts on which tokenizers part ways, often enough to be merged.
const LEARNED: &str = "The applicant lived in the city in 1961 and 1984, and 123456 days more. \
    I'll say they'll, THEY'LL, I'd, it's, IT'S.  double   spaces  \n\nlines\r\n  indented \
    हिन्दी में एक वाक्य है और दूसरा भी वाक्य है हिन्दी camelCase HTTPServer naïve café e\u{301} \
    path/to/file\n/// !!!\n 漢字 the privacy of the documents in the pipeline ";

/// Whole words that no merges make.
const WHOLE: [&str; 3] = ["Ġwithin", "Ġpipeline", "Ġdocuments"];

/// The config of a small LLaMA; `scaled` has Llama 3's rotary scaling with constants of its own.
pub(crate) fn model(scaled: bool) -> ModelConfig {
    let scaling = json!({ "rope_type": "llama3", "factor": 5.0, "low_freq_factor": 1.5,
        "high_freq_factor": 3.0, "original_max_position_embeddings": 48 });
    let json = json!({
        "architectures": ["LlamaForCausalLM"], "vocab_size": ROWS, "hidden_size": 64,
        "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "rope_theta": 500000.0,
        "tie_word_embeddings": scaled, "initializer_range": 0.2, "bos_token_id": ROWS - 1,
        "eos_token_id": ROWS - 1, "rope_scaling": if scaled { scaling } else { Value::Null },
        // What a base may leave behind.
        "quantization_config": { "quant_method": "fp8" }, "dtype": "bfloat16",
    });
    ModelConfig::from_json(&json.to_string()).unwrap()
}

pub(crate) fn byte_level(add_prefix_space: bool, use_regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true,
        "use_regex": use_regex })
}

/// GPT-2's stand-in for a byte.
fn stand_in(byte: u8) -> char {
    let printable = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(256 + before).unwrap()
}

/// A byte-level tokenizer that cuts texts so. Its merges are learned from text that was not cut:
/// which of them apply is left to the cutting.
pub(crate) fn tokenizer(pre_tokenizer: Value) -> Value {
    let mut tokens: Vec<String> = (0..=255u8).map(|byte| stand_in(byte).to_string()).collect();
    let mut text: Vec<String> = LEARNED.bytes().map(|byte| stand_in(byte).to_string()).collect();
    let mut merges: Vec<String> = Vec::new();
    while tokens.len() + WHOLE.len() + 1 < ROWS {
        let mut counts: HashMap<(&String, &String), usize> = HashMap::new();
        for pair in text.windows(2) {
            *counts.entry((&pair[0], &pair[1])).or_default() += 1;
        }
        let best = counts.into_iter().max_by_key(|(pair, count)| (*count, *pair)).unwrap().0;
        let (left, right) = (best.0.clone(), best.1.clone());
        let token = format!("{left}{right}");
        let mut merged = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let both = text[at] == left && text.get(at + 1) == Some(&right);
            merged.push(if both { token.clone() } else { text[at].clone() });
            at += 1 + usize::from(both);
        }
        text = merged;
        merges.push(format!("{left} {right}"));
        if !tokens.contains(&token) && !WHOLE.contains(&token.as_str()) {
            tokens.push(token);
        }
    }
    tokens.extend(WHOLE.map(str::to_owned));
    let vocab: Map<String, Value> =
        tokens.into_iter().zip(0u32..).map(|(token, id)| (token, json!(id))).collect();
    json!({
        "version": "1.0",
        "added_tokens": [{ "id": ROWS - 1, "content": "<|end|>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true }],
        "normalizer": null, "pre_tokenizer": pre_tokenizer, "post_processor": null,
        "decoder": byte_level(true, true),
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    })
}

/// Norms and biases other than those of a fresh model, which would hide where they went.
fn spread(parameters: &mut Parameters) {
    let ids: Vec<_> = parameters.iter().map(|(id, _)| id).collect();
    for id in ids {
        let parameter = parameters.get_mut(id);
        let vector = parameter.spec.shape.len() == 1;
        if let (true, TensorData::F32(values)) = (vector, &mut parameter.tensor.data) {
            for (at, value) in values.iter_mut().enumerate() {
                *value += ((at * 7919 + 13) % 101) as f32 / 404.0 - 0.125;
            }
        }
    }
}

/// An exported model.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) root: tempfile::TempDir,
}

impl Bundle {
    /// Exports a model with random weights and this tokenizer.
    pub(crate) fn export(
        model: ModelConfig,
        tokenizer: &Value,
        settings: Value,
        config: Config,
    ) -> Result<Self, StageError> {
        let root = tempfile::tempdir().unwrap();
        let (folder, bundle) = (root.path().join("model"), root.path().join("bundle"));
        for folder in [&folder, &bundle] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let mut parameters = init::random(&model, 11).unwrap();
        spread(&mut parameters);
        let statement = PrivacyStatement::NotPrivate(NoPrivacy::of_plain_training(
            Base::Random,
            &Record::default(),
        ));
        let notes = BTreeMap::from([(RECORD_KEY.to_string(), statement.history().to_json())]);
        save_model_with_notes(&folder, &model, &parameters, SavedType::F32, &notes).unwrap();
        std::fs::write(folder.join("config.json"), model.to_json()).unwrap();
        let mut all = json!({ "eos_token": "<|end|>", "bos_token": null, "add_bos_token": false });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        for (name, value) in [
            ("tokenizer.json", tokenizer),
            ("tokenizer_config.json", &all),
            (
                "train.json",
                &json!({ "base_origin": { "license": "other", "license_name": "some" } }),
            ),
            ("privacy.json", &json!(statement)),
        ] {
            std::fs::write(folder.join(name), value.to_string()).unwrap();
        }
        Manifest::seal(&folder, Kind::Model, 0, json!({ "config": {}, "lineage": [] })).unwrap();
        let context = Context::for_tests(
            BTreeMap::from([("model".into(), folder)]),
            BTreeMap::from([("bundle".into(), bundle)]),
            root.path(),
            2,
        );
        Export::validate(&config)?;
        Export::run(config, &context).map(|()| Self { root })
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("bundle")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// What the bundle's weights give.
    pub(crate) fn logits(&self, ids: &[u32]) -> Vec<f32> {
        let checkpoint = Checkpoint::open(&self.folder()).unwrap();
        let parameters = checkpoint.parameters(Precision::F32).unwrap();
        let config = checkpoint.config().clone();
        let mut model = LanguageModel::new(config, parameters, None, 0).unwrap();
        model.logits(&Batch::new(&[ids]).unwrap()).unwrap()
    }
}

/// The folder of transformers 5, beside the environment that `PFT_PYTHON` is of (`make python`).
pub(crate) fn transformers5() -> PathBuf {
    let python = std::env::var_os("PFT_PYTHON").map(PathBuf::from).unwrap_or_default();
    let folder = std::env::var_os("PFT_TRANSFORMERS5").map(PathBuf::from);
    folder.unwrap_or_else(|| python.parent().unwrap_or(&python).join("../transformers5"))
}

/// Runs a script of tests/reference where `PFT_PYTHON` names a Python (`make test` sets it), with the
/// packages of `first` before all others.
pub(crate) fn python(script: &str, arguments: &[PathBuf], first: Option<&Path>) {
    let Some(python) = std::env::var_os("PFT_PYTHON") else { return };
    assert!(first.is_none_or(Path::is_dir), "{first:?} is not there; run `make python`");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference").join(script);
    let mut command = Command::new(python);
    command.arg(script).args(arguments).env("HF_HUB_OFFLINE", "1");
    if let Some(folder) = first {
        command.env("PYTHONPATH", folder);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
