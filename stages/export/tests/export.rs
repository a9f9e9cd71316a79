//! Models trained "elsewhere" (tests/fixtures/checkpoints) through the stage: what comes out loads
//! with transformers and peft, what must stay private stays, and a broken model is told.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use export::{Config, Dtype, Export, Format, GgufType};
use pft_artifact::{Kind, Manifest};
use pft_dp::accounting::Phase;
use pft_dp::{
    Base, BaseCheckpoint, BaseFile, BaseHasSeen, BaseUnits, Clipping, Ledger, LedgerHeader,
    Mechanism, NoPrivacy, Origin, Plan, PrivacyStatement, RECORD_KEY, Randomness, Reason, Record,
    RunSecret, Training, TrainingData, rounded_up,
};
use pft_lm::batch::Batch;
use pft_lm::checkpoint::{
    Checkpoint, DIGEST_KEY, EvaluationProbe, Precision, SavedType, load_adapter, read_note,
    save_model, weights_digest,
};
use pft_lm::layers::lora::adapter_names;
use pft_lm::model::{LanguageModel, init};
use pft_lm::parameters::Parameters;
use pft_stage::{Context, OutsidePath, Stage, StageError};
use safetensors::tensor::TensorView;
use safetensors::{Dtype as SafeDtype, SafeTensors};
use serde_json::{Value, json};

const IDS: [u32; 12] = [3, 17, 5, 90, 41, 2, 64, 33, 8, 77, 12, 50];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixtures() -> PathBuf {
    root().join("tests/fixtures/checkpoints")
}

/// A byte-level tokenizer of the 96 tokens that the fixtures know.
fn tokenizer() -> Value {
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

fn model(checkpoint: &str, adapter: Option<&str>) -> LanguageModel {
    let checkpoint = Checkpoint::open(&fixtures().join(checkpoint)).unwrap();
    let mut parameters = checkpoint.parameters(Precision::F32).unwrap();
    let lora = adapter.map(|adapter| {
        load_adapter(&fixtures().join(adapter), checkpoint.config(), &mut parameters).unwrap()
    });
    LanguageModel::new(checkpoint.config().clone(), parameters, lora, 0).unwrap()
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// `base.json` of adapters on a checkpoint.
fn base(name: &str, folder: &Path, precision: &str) -> Value {
    let files = Checkpoint::open(folder).unwrap().files();
    let hashes: Vec<String> =
        files.iter().map(|file| pft_artifact::hash_file(file).unwrap()).collect();
    json!({ "name": name, "origin": "checkpoint", "blake3": hashes, "seed": 7,
        "precision": precision })
}

/// The statement of five private steps on the model "tiny-llama", with what it went through before.
fn private(base_has_seen: BaseHasSeen, earlier: &Record) -> PrivacyStatement {
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
fn mark(weights: &Path, record: Option<&str>) {
    let bytes = std::fs::read(weights).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    metadata.insert(DIGEST_KEY.to_string(), weights_digest(weights).unwrap());
    metadata.extend(record.map(|text| (RECORD_KEY.to_string(), text.to_string())));
    std::fs::remove_file(weights).unwrap();
    safetensors::serialize_to_file(tensors.tensors(), Some(metadata), weights).unwrap();
}

/// A workplace with a model artifact in `model` and an empty `bundle`.
struct Workplace(tempfile::TempDir);

impl Workplace {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn common(adapter: bool) -> Self {
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

    fn whole(name: &str) -> Self {
        let place = Self::common(false);
        copy(&fixtures().join("gpt2"), &place.path("model"), &["config.json", "model.safetensors"]);
        place.seal(model(name, None))
    }

    fn adapted() -> Self {
        let place = Self::common(true);
        let files = ["adapter_config.json", "adapter_model.safetensors"];
        copy(&fixtures().join("llama-adapter"), &place.path("model"), &files);
        place.seal(model("llama", Some("llama-adapter")))
    }

    fn seal(self, mut model: LanguageModel) -> Self {
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
    fn say(&self, statement: &PrivacyStatement) {
        let folder = self.path("model");
        let text = serde_json::to_string(statement).unwrap();
        std::fs::write(folder.join("privacy.json"), text).unwrap();
        for name in ["model.safetensors", "adapter_model.safetensors"] {
            if folder.join(name).is_file() {
                mark(&folder.join(name), Some(&statement.history().to_json()));
            }
        }
    }

    fn reseal(&self) {
        let config = json!({ "base_model": fixtures().join("llama") });
        self.seal_with(config);
    }

    /// Seals the model as a stage with this config would.
    fn seal_with(&self, config: Value) {
        let provenance = json!({ "lineage": [
            { "stage": "ingest", "revision": 1, "content_hash": "0123abcd" },
            { "stage": "train", "revision": 2, "config": config },
        ]});
        Manifest::seal(&self.path("model"), Kind::Model, 0, provenance).unwrap();
    }

    fn export(&self, config: Config) -> Result<PathBuf, StageError> {
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

fn logits(model: &mut LanguageModel) -> Vec<f32> {
    model.logits(&Batch::new(&[IDS]).unwrap()).unwrap()
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32) {
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(found.len() == expected.len() && worst <= tolerance, "logits differ by {worst}");
}

fn reload(path: &Path) -> LanguageModel {
    let checkpoint = Checkpoint::open(path).unwrap();
    let parameters = checkpoint.parameters(Precision::F32).unwrap();
    LanguageModel::new(checkpoint.config().clone(), parameters, None, 0).unwrap()
}

/// Token ids and the logits that a bundle must give for them, as a file.
fn write_expected(path: &Path, expected: &[f32]) {
    let ids: Vec<u8> = IDS.iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect();
    let numbers: Vec<u8> = expected.iter().flat_map(|number| number.to_le_bytes()).collect();
    let shape = vec![IDS.len(), expected.len() / IDS.len()];
    let views = HashMap::from([
        ("ids", TensorView::new(SafeDtype::I64, vec![IDS.len()], &ids).unwrap()),
        ("logits", TensorView::new(SafeDtype::F32, shape, &numbers).unwrap()),
    ]);
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// A whole model, merged adapters and adapters alone: each gives the trained model's logits here,
/// and in transformers and peft where `PFT_PYTHON` names a Python that has them (`make test`
/// sets it).
#[test]
fn bundles_load_here_and_in_transformers_and_peft() {
    let mut arguments: Vec<PathBuf> = Vec::new();
    let whole = Workplace::whole("gpt2");
    let settings = json!({ "eos_token": "<|end|>", "add_bos_token": false, "pad_token": "~",
        "padding_side": "left", "additional_special_tokens": ["}"],
        "chat_template": "{% for message in messages %}{{ message['content'] }}!{% endfor %}" });
    let generation = json!({ "eos_token_id": [0, 5], "temperature": 0.5, "do_sample": true });
    for (name, value) in
        [("tokenizer_config.json", settings), ("generation_config.json", generation)]
    {
        std::fs::write(whole.path("model").join(name), value.to_string()).unwrap();
    }
    whole.reseal();
    let bundle = whole.export(Config::default()).unwrap();
    let expected = logits(&mut model("gpt2", None));
    assert_near(&logits(&mut reload(&bundle)), &expected, 0.0);
    write_expected(&whole.path("expected"), &expected);
    arguments.extend([bundle, whole.path("expected"), "-".into()]);

    let expected = logits(&mut model("llama", Some("llama-adapter")));
    let merged = Workplace::adapted();
    let bundle = merged.export(Config::default()).unwrap();
    assert!(!bundle.join("adapter_config.json").exists());
    assert_near(&logits(&mut reload(&bundle)), &expected, 1e-4);
    write_expected(&merged.path("expected"), &expected);
    arguments.extend([bundle, merged.path("expected"), "-".into()]);

    let adapted = Workplace::adapted();
    let config = Config { format: Format::Peft, ..Config::default() };
    let bundle = adapted.export(config).unwrap();
    assert!(!bundle.join("model.safetensors").exists());
    let json = std::fs::read_to_string(bundle.join("adapter_config.json")).unwrap();
    assert!(json.contains("\"base_model_name_or_path\": \"tiny-llama\""), "{json}");
    arguments.extend([bundle, merged.path("expected"), fixtures().join("llama")]);

    let Some(python) = std::env::var_os("PFT_PYTHON") else { return };
    let output = Command::new(python)
        .arg(root().join("tests/reference/load_bundle.py"))
        .args(&arguments)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn narrow_weights_and_gguf_stay_near_and_carry_the_tokenizer() {
    for (dtype, gguf) in [(Dtype::Bfloat16, GgufType::F32), (Dtype::Float16, GgufType::Q8)] {
        let place = Workplace::adapted();
        // The random fixture is far more sensitive to rounding than a trained model.
        let config =
            Config { dtype, gguf: Some(gguf), perplexity_tolerance: 0.2, ..Config::default() };
        let bundle = place.export(config).unwrap();
        let expected = logits(&mut model("llama", Some("llama-adapter")));
        assert_near(&logits(&mut reload(&bundle)), &expected, 0.5);
        let path = bundle.join("model.gguf");
        assert_near(&logits(&mut reload(&path)), &expected, 0.5);
        let file = pft_gguf::Gguf::open(&path).unwrap();
        assert_eq!(file.str("tokenizer.ggml.pre"), Some("gpt-2"));
        assert_eq!(file.strings("tokenizer.ggml.tokens").unwrap()[2], "!");
        assert_eq!(file.u64("tokenizer.ggml.eos_token_id"), Some(0));
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn private_diagnostics_stay_behind_unless_asked_for() {
    let place = Workplace::whole("gpt2");
    let bundle = place.export(Config::default()).unwrap();
    assert_eq!(
        files(&bundle),
        [
            "README.md",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "privacy.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );
    for name in files(&bundle) {
        let bytes = std::fs::read(bundle.join(&name)).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"SECRET"), "{name}");
    }
    let config = Config { include_diagnostics: true, ..Config::default() };
    let bundle = place.export(config).unwrap();
    assert_eq!(files(&bundle.join("diagnostics")), ["metrics.parquet", "train.json"]);
    let card = std::fs::read_to_string(bundle.join("README.md")).unwrap();
    assert!(card.contains("do not publish them"));
}

#[test]
fn the_card_states_what_a_reader_must_know() {
    let place = Workplace::adapted();
    let config = Config {
        license: Some("apache-2.0".into()),
        language: vec!["en".into()],
        data: Some("Fictional judgments.".into()),
        ..Config::default()
    };
    let bundle = place.export(config).unwrap();
    let card = std::fs::read_to_string(bundle.join("README.md")).unwrap();
    let privacy = std::fs::read_to_string(bundle.join("privacy.json")).unwrap();
    let PrivacyStatement::Private(statement) = PrivacyStatement::from_json(&privacy).unwrap()
    else {
        panic!("{privacy}")
    };
    let epsilon = statement.epsilon[0].epsilon.epsilon;
    let (front, body) = card.strip_prefix("---\n").unwrap().split_once("---\n").unwrap();
    for line in
        ["library_name: transformers", "base_model: \"tiny-llama\"", "license: \"apache-2.0\""]
    {
        assert!(front.contains(line), "{front}");
    }
    for part in [
        "Fictional judgments.",
        &format!("{}\n", statement.statement),
        &format!("| ε | {} |", rounded_up(epsilon)),
        "| δ | 1.000e-5 |",
        "| Accountant | pld |",
        "| Privacy unit | case |",
        "| Sampling | poisson |",
        "| Noise multiplier | 0.8 |",
        "| What the base model had seen | tiny-llama: no unit of the training set, as declared |",
        "- Units were counted",
        "| ingest | 1 |",
        "| train | 2 |",
    ] {
        assert!(body.contains(part), "{part} is not in\n{body}");
    }
    // Hashes of private data would tell whoever guesses the data that the guess is right.
    assert!(!card.contains("0123abcd") && !privacy.contains("0123abcd"), "{card}{privacy}");
    // Those of a base that anyone can have are no such hashes.
    assert!(privacy.contains("4567cdef"));
    // No place on this machine.
    assert!(!card.contains(&fixtures().to_string_lossy().into_owned()));
    assert!(!body.contains("memorised") && !body.contains("Not for release"));
}

/// Whatever a statement says, the card says: each reason by a sentence, the same ε once.
#[test]
fn the_card_says_why_a_model_is_not_for_release() {
    let card = |statement: PrivacyStatement| {
        let place = Workplace::adapted();
        place.say(&statement);
        place.reseal();
        let bundle = place.export(Config::default()).unwrap();
        std::fs::read_to_string(bundle.join("README.md")).unwrap()
    };
    let stranger = Record::of(Origin::Checkpoint("tiny-llama".into()));
    let unknown = card(private(BaseHasSeen::Unknown, &stranger));
    for part in [
        "ONLY IF",
        "**Not for release as a private model**",
        "Defence: **differential privacy, not for release**",
        "- Nobody has declared that its base model never saw any case of its training set.",
        "| What the base model had seen | tiny-llama: not known |",
    ] {
        assert!(unknown.contains(part), "{part} is not in\n{unknown}");
    }
    let plain = stranger.followed_by(Training::NotPrivate);
    for none in [
        private(BaseHasSeen::Nothing, &plain),
        PrivacyStatement::NotPrivate(NoPrivacy::of_plain_training(Base::Random, &plain)),
    ] {
        assert!(none.not_for_release().contains(&Reason::EarlierNotPrivate));
        let card = card(none);
        for part in
            ["memorised", "Defence: **none**", "| ε | none: no bound holds |", "- Before this"]
        {
            assert!(card.contains(part), "{part} is not in\n{card}");
        }
        assert!(!card.contains("δ") && !card.contains("Noise multiplier"), "{card}");
    }
}

/// The statement goes with the weights in every file of the bundle, and into it only if the model's
/// own files agree on it.
#[test]
fn every_weights_file_of_a_bundle_carries_the_record() {
    let place = Workplace::adapted();
    let text = std::fs::read_to_string(place.path("model/privacy.json")).unwrap();
    let record = PrivacyStatement::from_json(&text).unwrap().history().clone();
    let carried = |path: &Path| Record::from_json(&read_note(path, RECORD_KEY).unwrap().unwrap());
    let gguf = Some(GgufType::F32);
    let config = Config { gguf, perplexity_tolerance: 0.2, ..Config::default() };
    let bundle = place.export(config).unwrap();
    assert_eq!(carried(&bundle.join("model.safetensors")).unwrap(), record);
    assert_eq!(carried(&bundle.join("model.gguf")).unwrap(), record);
    let bundle = place.export(Config { format: Format::Peft, ..Config::default() }).unwrap();
    assert_eq!(carried(&bundle.join("adapter_model.safetensors")).unwrap(), record);

    let weights = place.path("model/adapter_model.safetensors");
    let other = Record::default().followed_by(Training::NotPrivate).to_json();
    for (record, expected) in [
        (None, "carries no record"),
        (Some(&other[..]), "another record"),
        (Some("{"), "not a record"),
    ] {
        mark(&weights, record);
        place.reseal();
        let error = place.export(Config::default()).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.message().contains(expected), "{error}");
    }
}

/// A field that is renamed or left out is no silence about what it said.
#[test]
fn a_statement_that_does_not_parse_is_refused() {
    let place = Workplace::adapted();
    let path = place.path("model/privacy.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"fit_for_release\"", "\"for_release\""),
        ("\"not_for_release\":[]", "\"not_for_release\":[\"fixed_seed\"]"),
        ("\"history\"", "\"past\""),
        ("\"noise_multiplier\":0.8", "\"noise_multiplier\":1.8"),
        ("{", ""),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        std::fs::write(&path, changed).unwrap();
        place.reseal();
        let error = place.export(Config::default()).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.message().contains("privacy.json"), "{error}");
    }
}

/// Another base model under trained adapters gives a model that loads and talks nonsense.
#[test]
fn a_model_that_came_out_broken_is_told() {
    let place = Workplace::adapted();
    let other = tempfile::tempdir().unwrap();
    copy(&fixtures().join("llama"), other.path(), &["config.json"]);
    let checkpoint = Checkpoint::open(&fixtures().join("llama")).unwrap();
    let mut parameters = checkpoint.parameters(Precision::F32).unwrap();
    let id = parameters.id("model.layers.1.mlp.up_proj.weight").unwrap();
    let tensor = &mut parameters.get_mut(id).tensor;
    *tensor = pft_lm::parameters::Tensor::new(&tensor.shape, vec![0.0; tensor.len()]).unwrap();
    pft_lm::checkpoint::save_model(
        other.path(),
        checkpoint.config(),
        &parameters,
        pft_lm::checkpoint::SavedType::F32,
    )
    .unwrap();
    let json = base("tiny-llama", other.path(), "f32");
    std::fs::write(place.path("model/base.json"), json.to_string()).unwrap();
    place.reseal();
    let base = OutsidePath(other.path().to_string_lossy().into_owned());
    for format in [Format::Hf, Format::Peft] {
        let config = Config { base_model: Some(base.clone()), format, ..Config::default() };
        let error = place.export(config).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.message().contains("held-out perplexity"), "{error}");
    }
}

#[test]
fn a_model_without_held_out_sequences_is_compared_on_fixed_tokens() {
    let place = Workplace::whole("gpt2");
    std::fs::remove_file(place.path("model/evaluation_probe.safetensors")).unwrap();
    place.reseal();
    let bundle = place.export(Config::default()).unwrap();
    let bytes = std::fs::read(bundle.join("model.safetensors")).unwrap();
    assert!(SafeTensors::deserialize(&bytes).is_ok());
}

/// Adapters on a base that training drew at random: it is drawn again from the same seed.
#[test]
fn a_random_base_is_drawn_again() {
    let folder = fixtures().join("llama-adapter");
    let place = Workplace::common(true);
    let config = fixtures().join("llama/config.json");
    std::fs::copy(&config, place.path("model/config.json")).unwrap();
    copy(&folder, &place.path("model"), &["adapter_config.json", "adapter_model.safetensors"]);
    let checkpoint = Checkpoint::open(&fixtures().join("llama")).unwrap();
    let draw = |seed| {
        let mut parameters = pft_lm::model::init::random(checkpoint.config(), seed).unwrap();
        let lora = load_adapter(&folder, checkpoint.config(), &mut parameters).unwrap();
        LanguageModel::new(checkpoint.config().clone(), parameters, Some(lora), 0).unwrap()
    };
    let place = place.seal(draw(7));
    let random = json!({ "name": "tiny", "origin": "random", "blake3": [], "seed": 7,
        "precision": "f32" });
    std::fs::write(place.path("model/base.json"), random.to_string()).unwrap();
    place.reseal();
    let bundle = place.export(Config::default()).unwrap();
    assert_near(&logits(&mut reload(&bundle)), &logits(&mut draw(7)), 1e-4);
    // On another base the statement would be about weights that it knows nothing of.
    let other = Some(OutsidePath(fixtures().join("llama").to_string_lossy().into_owned()));
    let error = place.export(Config { base_model: other, ..Config::default() }).unwrap_err();
    assert!(error.exit_code() == 2 && error.message().contains("drawn at random"), "{error}");
    // Without a word on the base there is nothing to go by.
    let checkpoint = base("tiny", &fixtures().join("llama"), "f32");
    std::fs::write(place.path("model/base.json"), checkpoint.to_string()).unwrap();
    place.seal_with(json!({}));
    let error = place.export(Config::default()).unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().contains("set base_model"), "{error}");
}

#[test]
fn wrong_models_and_settings_are_refused() {
    let place = Workplace::whole("gpt2");
    let peft = Config { format: Format::Peft, ..Config::default() };
    let error = place.export(peft.clone()).unwrap_err();
    assert!(error.exit_code() == 2 && error.message().contains("peft"), "{error}");
    let narrow = Config { dtype: Dtype::Float16, ..peft };
    assert_eq!(place.export(narrow).unwrap_err().exit_code(), 2);
    let loose = Config { perplexity_tolerance: 0.0, ..Config::default() };
    assert!(place.export(loose).unwrap_err().message().contains("perplexity_tolerance"));

    std::fs::remove_file(place.path("model/privacy.json")).unwrap();
    place.reseal();
    let error = place.export(Config::default()).unwrap_err();
    assert!(error.exit_code() == 3 && error.message().contains("privacy.json"), "{error}");

    let place = Workplace::adapted();
    let nowhere = Config { base_model: Some(OutsidePath("/nowhere".into())), ..Config::default() };
    let error = place.export(nowhere).unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().contains("base_model"), "{error}");

    let mut base = base("tiny-llama", &fixtures().join("llama"), "f32");
    base["blake3"] = json!(["00", "00"]);
    std::fs::write(place.path("model/base.json"), base.to_string()).unwrap();
    place.reseal();
    let error = place.export(Config::default()).unwrap_err();
    assert!(error.exit_code() == 3 && error.message().contains("hash differs"), "{error}");

    let place = Workplace::whole("gpt2");
    let big = tokenizer().to_string().replace("\"~\":95", "\"~\":96");
    std::fs::write(place.path("model/tokenizer.json"), big).unwrap();
    place.reseal();
    let error = place.export(Config::default()).unwrap_err();
    assert!(error.exit_code() == 3 && error.message().contains("tokenizer.json"), "{error}");
}

/// A padding token without a row in the model, as Llama 2 was published, which is left out, and Unigram's list of pieces with scores.
#[test]
fn tokenizers_of_other_kinds_are_carried_over() {
    let mut padded = tokenizer();
    let added = padded["added_tokens"].as_array_mut().unwrap();
    let mut token = added[0].clone();
    (token["id"], token["content"]) = (json!(96), json!("<pad>"));
    added.push(token);
    let mut unigram = tokenizer();
    let mut pieces: Vec<(String, u64)> = unigram["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(text, id)| (text.clone(), id.as_u64().unwrap()))
        .collect();
    pieces.sort_by_key(|(_, id)| *id);
    let pieces: Vec<Value> = pieces.into_iter().map(|(text, _)| json!([text, -1.0])).collect();
    unigram["model"] = json!({ "type": "Unigram", "unk_id": 0, "vocab": pieces });
    for json in [padded, unigram] {
        let place = Workplace::whole("gpt2");
        std::fs::write(place.path("model/tokenizer.json"), json.to_string()).unwrap();
        let settings = json!({ "eos_token": "<|end|>", "pad_token": "<pad>" }).to_string();
        std::fs::write(place.path("model/tokenizer_config.json"), settings).unwrap();
        place.reseal();
        let bundle = place.export(Config::default()).unwrap();
        let written = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(bundle.join(name)).unwrap()).unwrap()
        };
        let mut kept = json.clone();
        kept["added_tokens"].as_array_mut().unwrap().retain(|token| token["content"] != "<pad>");
        assert_eq!(written("tokenizer.json"), kept);
        assert_eq!(written("tokenizer_config.json")["pad_token"], "<|end|>");
        assert_eq!(written("special_tokens_map.json")["pad_token"], "<|end|>");
        assert_eq!(written("generation_config.json")["pad_token_id"], 0);
    }
}

/// What `tokenize` was told about BOS decides, not what the base's tokenizer used to do.
#[test]
fn texts_begin_with_bos_as_in_training() {
    let exported = |post_processor: &Value, adds_bos: bool| -> Value {
        let place = Workplace::whole("gpt2");
        let mut json = tokenizer();
        json["post_processor"] = post_processor.clone();
        std::fs::write(place.path("model/tokenizer.json"), json.to_string()).unwrap();
        let settings = json!({ "bos_token": "<|end|>", "eos_token": "<|end|>",
            "add_bos_token": adds_bos });
        let path = place.path("model/tokenizer_config.json");
        std::fs::write(path, settings.to_string()).unwrap();
        place.reseal();
        let bundle = place.export(Config::default()).unwrap();
        let written = std::fs::read(bundle.join("tokenizer.json")).unwrap();
        serde_json::from_slice::<Value>(&written).unwrap()["post_processor"].clone()
    };
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
        "use_regex": true });
    for own in [Value::Null, bytes] {
        assert_eq!(exported(&own, false), own);
        let beginning = exported(&own, true);
        let template = if own.is_null() { &beginning } else { &beginning["processors"][1] };
        assert_eq!(template["single"][0]["SpecialToken"]["id"], "<|end|>");
        assert_eq!(beginning["processors"][0], own);
        assert_eq!(exported(&beginning, true), beginning);
        assert_eq!(exported(&beginning, false), own);
    }
}

/// transformers prefers `dtype` to `torch_dtype`: the base's must not stay behind.
#[test]
fn a_bundle_says_the_type_of_its_own_weights() {
    let place = Workplace::whole("gpt2");
    let path = place.path("model/config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["dtype"] = json!("bfloat16");
    std::fs::write(&path, config.to_string()).unwrap();
    place.reseal();
    let bundle = place.export(Config::default()).unwrap();
    let written = std::fs::read(bundle.join("config.json")).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written["torch_dtype"], "float32");
    assert!(written["dtype"].is_null(), "{written}");
}

/// Adapters that trained on a rounded base are merged into the rounded weights, though the base lies
/// there in 32 bits.
#[test]
fn adapters_are_merged_into_the_weights_that_they_trained_on() {
    [Precision::Bf16, Precision::Q8_0, Precision::Q4_0].into_iter().for_each(merged_as_rounded);
}

fn merged_as_rounded(precision: Precision) {
    let place = Workplace::common(true);
    let base = place.path("base");
    std::fs::create_dir_all(&base).unwrap();
    let mut config = Checkpoint::open(&fixtures().join("llama")).unwrap().config().clone();
    // Rows of whole blocks.
    config.intermediate_size = 64;
    let wide = init::random(&config, 3).unwrap();
    save_model(&base, &config, &wide, SavedType::F32).unwrap();
    let json = self::base("base", &base, precision.name());
    std::fs::write(place.path("model/base.json"), json.to_string()).unwrap();
    let adapter = fixtures().join("llama-adapter");
    let files = ["adapter_config.json", "adapter_model.safetensors"];
    copy(&adapter, &place.path("model"), &files);
    let mut narrow = Checkpoint::open(&base).unwrap().parameters(precision).unwrap();
    let lora = load_adapter(&adapter, &config, &mut narrow).unwrap();
    let scale = lora.scale();
    let trained = LanguageModel::new(config, narrow.clone(), Some(lora), 0).unwrap();
    let place = place.seal(trained);
    let base = Some(OutsidePath(base.to_string_lossy().into_owned()));
    let settings = Config { base_model: base.clone(), ..Config::default() };
    let bundle = place.export(settings).unwrap();

    let merged = Checkpoint::open(&bundle).unwrap().parameters(Precision::F32).unwrap();
    let tensor =
        |table: &Parameters, name: &str| table.id(name).map(|id| table.get(id).tensor.clone());
    let mut adapted = 0;
    for (_, parameter) in merged.iter() {
        let name = &parameter.spec.name;
        let mut expected = tensor(&narrow, name).unwrap().to_f32();
        if parameter.tensor.len() > parameter.spec.shape[0] {
            let rounded = tensor(&wide, name).unwrap().to_f32();
            assert_ne!(expected, rounded, "{name} would show nothing");
        }
        let [a, b] = adapter_names(name).map(|name| tensor(&narrow, &name));
        if let (Some(a), Some(b)) = (a, b) {
            adapted += 1;
            let (rank, inputs) = (a.shape[0], a.shape[1]);
            let (a, b) = (a.to_f32(), b.to_f32());
            for (at, value) in expected.iter_mut().enumerate() {
                let (row, column) = (at / inputs, at % inputs);
                let product: f64 = (0..rank)
                    .map(|r| f64::from(b[row * rank + r]) * f64::from(a[r * inputs + column]))
                    .sum();
                *value = (f64::from(*value) + scale * product) as f32;
            }
        }
        let found = parameter.tensor.to_f32();
        let near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= 1e-7;
        assert!(found.iter().zip(&expected).all(near), "{name}");
    }
    assert!(adapted > 0);

    // Half the memory to read back, and adapters alone.
    for settings in [
        Config { dtype: Dtype::Bfloat16, perplexity_tolerance: 0.2, ..Config::default() },
        Config { format: Format::Peft, ..Config::default() },
    ] {
        place.export(Config { base_model: base.clone(), ..settings }).unwrap();
    }
    let json = self::base("base", &place.path("base"), "f8");
    std::fs::write(place.path("model/base.json"), json.to_string()).unwrap();
    place.reseal();
    let error = place.export(Config { base_model: base, ..Config::default() }).unwrap_err();
    assert!(error.exit_code() == 3 && error.message().contains("precision"), "{error}");
}
