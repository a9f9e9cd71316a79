//! A place to export from: models trained "elsewhere" (tests/fixtures/checkpoints), sealed with statements.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use export::{Config, Export};
use pft_artifact::{Kind, Manifest};
use pft_dp::accounting::Phase;
use pft_dp::{
    Base, BaseCheckpoint, BaseFile, BaseHasSeen, BaseUnits, Clipping, Ledger, LedgerHeader,
    Mechanism, Origin, Plan, PrivacyStatement, RECORD_KEY, Randomness, Record, RunSecret,
    TrainingData,
};
use pft_lm::batch::Batch;
use pft_lm::checkpoint::{
    Checkpoint, DIGEST_KEY, EvaluationProbe, Precision, load_adapter, weights_digest,
};
use pft_lm::model::LanguageModel;
use pft_stage::{Context, Stage as _, StageError};
use safetensors::Dtype as SafeDtype;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

pub(crate) const IDS: [u32; 12] = [3, 17, 5, 90, 41, 2, 64, 33, 8, 77, 12, 50];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn fixtures() -> PathBuf {
    root().join("tests/fixtures/checkpoints")
}

/// A byte-level tokenizer of the 96 tokens that the fixtures know.
pub(crate) fn tokenizer() -> Value {
    let mut vocab = serde_json::Map::new();
    vocab.insert("<|end|>".into(), json!(0));
    vocab.insert("Ġ".into(), json!(1));
    for (index, letter) in (b'!'..=b'~').enumerate() {
        vocab.insert(char::from(letter).to_string(), json!(index + 2));
    }
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({
        "version": "1.0",
        "added_tokens": [{ "id": 0, "content": "<|end|>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true }],
        "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    })
}

pub(crate) fn model(checkpoint: &str, adapter: Option<&str>) -> LanguageModel {
    let checkpoint = Checkpoint::open(&fixtures().join(checkpoint)).unwrap();
    let mut parameters = checkpoint.parameters(Precision::F32).unwrap();
    let lora = adapter.map(|adapter| {
        load_adapter(&fixtures().join(adapter), checkpoint.config(), &mut parameters).unwrap()
    });
    LanguageModel::new(checkpoint.config().clone(), parameters, lora, 0).unwrap()
}

pub(crate) fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// `base.json` of adapters on a checkpoint.
pub(crate) fn base(name: &str, folder: &Path, precision: &str) -> Value {
    let files = Checkpoint::open(folder).unwrap().files();
    let hashes: Vec<String> =
        files.iter().map(|file| pft_artifact::hash_file(file).unwrap()).collect();
    json!({ "name": name, "origin": "checkpoint", "blake3": hashes, "seed": 7,
        "precision": precision })
}

/// The statement of five private steps on the model "tiny-llama", with what it went through before.
pub(crate) fn private(base_has_seen: BaseHasSeen, earlier: &Record) -> PrivacyStatement {
    let plan = Plan {
        declared_units: 1000,
        units_were_counted: false,
        phase: Phase { sample_rate: 0.02, noise_multiplier: 0.8, steps: 5 },
        delta: 1e-5,
        clipping: Clipping::default(),
        max_examples_per_unit: 4,
        noise_draws: 4,
    };
    let mechanism = Mechanism::new(plan, false).unwrap();
    let secret = RunSecret::new(Randomness::OperatingSystem).unwrap();
    let file = BaseFile { name: "model.safetensors".into(), blake3: "4567cdef".into() };
    let data = TrainingData {
        unit: "case".into(),
        inputs: BTreeMap::from([("tokens".into(), "0123abcd".into())]),
        base: Base::Checkpoint(BaseCheckpoint {
            name: "tiny-llama".into(),
            files: vec![file],
            base_has_seen,
            base_units: BaseUnits::Same,
        }),
        earlier: earlier.clone(),
        ..TrainingData::default()
    };
    let header =
        LedgerHeader::new(&mechanism, Randomness::OperatingSystem, secret.commitment(), data);
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(&folder.path().join("ledger.jsonl"), &header).unwrap();
    for step in 0..5 {
        ledger.record(&mechanism, step).unwrap();
    }
    PrivacyStatement::from_ledger(ledger.contents(), vec!["Units were counted".into()]).unwrap()
}

/// A weights file written anew with this record, or with none.
pub(crate) fn mark(weights: &Path, record: Option<&str>) {
    let bytes = std::fs::read(weights).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    metadata.insert(DIGEST_KEY.to_string(), weights_digest(weights).unwrap());
    metadata.extend(record.map(|text| (RECORD_KEY.to_string(), text.to_string())));
    std::fs::remove_file(weights).unwrap();
    safetensors::serialize_to_file(tensors.tensors(), Some(metadata), weights).unwrap();
}

/// A workplace with a model artifact in `model` and an empty `bundle`.
pub(crate) struct Workplace(pub(crate) tempfile::TempDir);

impl Workplace {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn common(adapter: bool) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let folder = place.path("model");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, value: Value| {
            std::fs::write(folder.join(name), value.to_string()).unwrap();
        };
        write("tokenizer.json", tokenizer());
        write(
            "tokenizer_config.json",
            json!({ "eos_token": "<|end|>", "bos_token": null, "add_bos_token": false }),
        );
        write("train.json", json!({ "private_setting": "SECRET" }));
        std::fs::write(folder.join("metrics.parquet"), "SECRET").unwrap();
        if adapter {
            write("base.json", base("tiny-llama", &fixtures().join("llama"), "f32"));
        }
        place
    }

    pub(crate) fn whole(name: &str) -> Self {
        let place = Self::common(false);
        copy(&fixtures().join("gpt2"), &place.path("model"), &["config.json", "model.safetensors"]);
        place.seal(model(name, None))
    }

    pub(crate) fn adapted() -> Self {
        let place = Self::common(true);
        let files = ["adapter_config.json", "adapter_model.safetensors"];
        copy(&fixtures().join("llama-adapter"), &place.path("model"), &files);
        place.seal(model("llama", Some("llama-adapter")))
    }

    pub(crate) fn seal(self, mut model: LanguageModel) -> Self {
        let sequences = vec![IDS.to_vec(), vec![9, 8, 7]];
        EvaluationProbe::measure(&mut model, sequences).unwrap().save(&self.path("model")).unwrap();
        self.say(&private(
            BaseHasSeen::Nothing,
            &Record::of(Origin::Checkpoint("tiny-llama".into())),
        ));
        self.reseal();
        self
    }

    /// Puts a privacy statement beside the weights, and its record into them.
    pub(crate) fn say(&self, statement: &PrivacyStatement) {
        let folder = self.path("model");
        let text = serde_json::to_string(statement).unwrap();
        std::fs::write(folder.join("privacy.json"), text).unwrap();
        for name in ["model.safetensors", "adapter_model.safetensors"] {
            if folder.join(name).is_file() {
                mark(&folder.join(name), Some(&statement.history().to_json()));
            }
        }
    }

    pub(crate) fn reseal(&self) {
        let config = json!({ "base_model": fixtures().join("llama") });
        self.seal_with(config);
    }

    /// Seals the model as a stage with this config would.
    pub(crate) fn seal_with(&self, config: Value) {
        self.seal_with_steps(&[
            json!({ "stage": "ingest", "revision": 1, "content_hash": "0123abcd" }),
            json!({ "stage": "train", "revision": 2, "config": config }),
        ]);
    }

    /// Seals the model as the last of these steps would.
    pub(crate) fn seal_with_steps(&self, steps: &[Value]) {
        let provenance = json!({ "lineage": steps });
        Manifest::seal(&self.path("model"), Kind::Model, 0, provenance).unwrap();
    }

    pub(crate) fn export(&self, config: Config) -> Result<PathBuf, StageError> {
        let bundle = self.path("bundle");
        let _ = std::fs::remove_dir_all(&bundle);
        std::fs::create_dir_all(&bundle).unwrap();
        Export::validate(&config)?;
        let context = Context::for_tests(
            BTreeMap::from([("model".into(), self.path("model"))]),
            BTreeMap::from([("bundle".into(), bundle.clone())]),
            self.0.path(),
            2,
        );
        Export::run(config, &context).map(|()| bundle)
    }
}

pub(crate) fn logits(model: &mut LanguageModel) -> Vec<f32> {
    model.logits(&Batch::new(&[IDS]).unwrap()).unwrap()
}

pub(crate) fn assert_near(found: &[f32], expected: &[f32], tolerance: f32) {
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(found.len() == expected.len() && worst <= tolerance, "logits differ by {worst}");
}

pub(crate) fn reload(path: &Path) -> LanguageModel {
    let checkpoint = Checkpoint::open(path).unwrap();
    let parameters = checkpoint.parameters(Precision::F32).unwrap();
    LanguageModel::new(checkpoint.config().clone(), parameters, None, 0).unwrap()
}

/// Token ids and the logits that a bundle must give for them, as a file.
pub(crate) fn write_expected(path: &Path, expected: &[f32]) {
    let ids: Vec<u8> = IDS.iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect();
    let numbers: Vec<u8> = expected.iter().flat_map(|number| number.to_le_bytes()).collect();
    let shape = vec![IDS.len(), expected.len() / IDS.len()];
    let views = HashMap::from([
        ("ids", TensorView::new(SafeDtype::I64, vec![IDS.len()], &ids).unwrap()),
        ("logits", TensorView::new(SafeDtype::F32, shape, &numbers).unwrap()),
    ]);
    safetensors::serialize_to_file(views, None, path).unwrap();
}
