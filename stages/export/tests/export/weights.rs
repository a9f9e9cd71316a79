//! Weights and tokenizers of bundles.

use std::path::PathBuf;
use std::process::Command;

use export::{Config, Dtype, Format, GgufType};
use pft_lm::checkpoint::{Checkpoint, Precision, SavedType, load_adapter, save_model};
use pft_lm::layers::lora::adapter_names;
use pft_lm::model::{LanguageModel, init};
use pft_lm::parameters::Parameters;
use pft_stage::OutsidePath;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::workplace::{
    Workplace, assert_near, base, copy, fixtures, logits, model, reload, root, tokenizer,
    write_expected,
};

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
