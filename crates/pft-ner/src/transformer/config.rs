//! `config.json` of a Hugging Face token-classification checkpoint.

use std::path::Path;

use pft_pii::LoadError;
use serde_json::Value;

/// Which parameter names and which embedding and attention rules a checkpoint follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// BERT: absolute positions from 0, token types.
    Bert,
    /// DistilBERT: BERT without token types, other names.
    DistilBert,
    /// RoBERTa, XLM-RoBERTa and CamemBERT: positions start behind the padding id.
    Roberta,
    /// DeBERTa v2 and v3: disentangled attention over relative positions.
    DebertaV2,
}

/// Activation of the feed-forward layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Gelu,
    GeluTanh,
    Relu,
}

/// What DeBERTa adds to a configuration.
#[derive(Clone, Debug)]
pub(super) struct Relative {
    /// Relative positions are bucketed logarithmically beyond half this; 0: not bucketed.
    pub(super) buckets: usize,
    /// Largest relative position.
    pub(super) max_positions: usize,
    /// Content-to-position attention.
    pub(super) content_to_position: bool,
    /// Position-to-content attention.
    pub(super) position_to_content: bool,
    /// Positions use the content's key and query projections.
    pub(super) share_key: bool,
    /// The relative embeddings are normalised.
    pub(super) normalise: bool,
    /// Absolute positions are added to the input too.
    pub(super) absolute: bool,
}

/// An encoder's shape.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(super) family: Family,
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) intermediate: usize,
    /// Most tokens of a sequence, special tokens included.
    pub(crate) max_tokens: usize,
    /// Rows of the table of absolute positions.
    pub(super) positions: usize,
    pub(super) token_types: usize,
    pub(super) epsilon: f32,
    pub(super) activation: Activation,
    pub(super) relative: Option<Relative>,
}

impl Config {
    /// Reads and checks `config.json` in `dir`; also returns the labels of the checkpoint's classes.
    pub(super) fn read(dir: &Path) -> Result<(Self, Vec<String>), LoadError> {
        let (json, config) = Self::encoder(dir)?;
        let labels = labels(&json).map_err(|message| {
            LoadError::Model(format!("{}: {message}", dir.join("config.json").display()))
        })?;
        Ok((config, labels))
    }

    /// Reads and checks `config.json` of an encoder with or without a classifier; also returns it as it is.
    pub(super) fn encoder(dir: &Path) -> Result<(Value, Self), LoadError> {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            LoadError::Model(format!(
                "cannot read {}: {error}; a token-classification checkpoint is a folder with \
                 config.json, tokenizer.json and model.safetensors, pytorch_model.bin or model.onnx",
                path.display()
            ))
        })?;
        let json: Value = serde_json::from_str(&text).map_err(|error| {
            LoadError::Model(format!("{} is not JSON: {error}", path.display()))
        })?;
        let config = Self::from_json(&json)
            .map_err(|message| LoadError::Model(format!("{}: {message}", path.display())))?;
        Ok((json, config))
    }

    /// How many blocks the encoder has.
    pub(crate) fn layers(&self) -> usize {
        self.layers
    }

    /// Takes an encoder's shape from the configuration of its model.
    pub(crate) fn from_json(json: &Value) -> Result<Self, String> {
        let model_type = json["model_type"].as_str().ok_or("no `model_type`")?;
        let family = match model_type {
            "bert" => Family::Bert,
            "distilbert" => Family::DistilBert,
            "roberta" | "xlm-roberta" | "camembert" => Family::Roberta,
            "deberta-v2" => Family::DebertaV2,
            other => {
                return Err(format!(
                    "model_type `{other}` is not read; the transformer backend reads bert, \
                     distilbert, roberta, xlm-roberta, camembert and deberta-v2"
                ));
            }
        };
        let number = |key: &str| -> Result<usize, String> {
            json[key]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .filter(|&n| n > 0 && n <= 1 << 24)
                .ok_or_else(|| format!("`{key}` is missing or no positive whole number"))
        };
        let distil = family == Family::DistilBert;
        let named = |usual: &str, distilled: &str| number(if distil { distilled } else { usual });
        let (hidden, heads) =
            (named("hidden_size", "dim")?, named("num_attention_heads", "n_heads")?);
        if hidden % heads != 0 {
            return Err(format!("hidden size {hidden} is no multiple of {heads} attention heads"));
        }
        if let Some(kind) = json["position_embedding_type"].as_str().filter(|&k| k != "absolute") {
            return Err(format!("position_embedding_type `{kind}` is not read, only `absolute`"));
        }
        let positions = number("max_position_embeddings")?;
        let pad = json["pad_token_id"].as_u64().unwrap_or(0) as usize;
        let max_tokens = match family {
            Family::Roberta => positions.saturating_sub(pad + 1),
            _ => positions,
        };
        if max_tokens < 8 {
            return Err(format!("max_position_embeddings {positions} leaves no room for text"));
        }
        let activation = match json[if distil { "activation" } else { "hidden_act" }].as_str() {
            None | Some("gelu") => Activation::Gelu,
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Activation::GeluTanh,
            Some("relu") => Activation::Relu,
            Some(other) => return Err(format!("activation `{other}` is not known")),
        };
        Ok(Self {
            family,
            vocabulary: number("vocab_size")?,
            hidden,
            layers: named("num_hidden_layers", "n_layers")?,
            heads,
            intermediate: named("intermediate_size", "hidden_dim")?,
            max_tokens,
            positions,
            token_types: json["type_vocab_size"].as_u64().unwrap_or(0) as usize,
            epsilon: json["layer_norm_eps"].as_f64().unwrap_or(1e-12) as f32,
            activation,
            relative: (family == Family::DebertaV2)
                .then(|| relative(json, positions))
                .transpose()?,
        })
    }
}

/// `id2label` as a list; a checkpoint without it was not trained to classify tokens.
fn labels(json: &Value) -> Result<Vec<String>, String> {
    let map = json["id2label"].as_object().filter(|map| !map.is_empty()).ok_or(
        "no `id2label`: this is not a token-classification checkpoint, or its labels were lost; \
         write them as {\"0\": \"O\", \"1\": \"B-PER\", …}",
    )?;
    let mut labels = vec![None; map.len()];
    for (id, label) in map {
        let slot = id.parse::<usize>().ok().and_then(|id| labels.get_mut(id)).ok_or_else(|| {
            format!("`id2label` has the id `{id}`; ids must run from 0 to {}", map.len() - 1)
        })?;
        *slot = Some(label.as_str().ok_or("`id2label` has a label that is no string")?.to_owned());
    }
    labels.into_iter().collect::<Option<_>>().ok_or_else(|| "`id2label` has a gap".to_owned())
}

fn relative(json: &Value, positions: usize) -> Result<Relative, String> {
    if !json["relative_attention"].as_bool().unwrap_or(false) {
        return Err("DeBERTa without `relative_attention` is not read".to_owned());
    }
    if json["conv_kernel_size"].as_u64().unwrap_or(0) > 0 {
        return Err("DeBERTa with a convolution (`conv_kernel_size`) is not read".to_owned());
    }
    let kinds: Vec<String> = match &json["pos_att_type"] {
        Value::String(text) => text.split('|').map(|kind| kind.trim().to_owned()).collect(),
        Value::Array(list) => list.iter().filter_map(|k| k.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    let max_positions = match json["max_relative_positions"].as_i64() {
        Some(n) if n >= 1 => n as usize,
        _ => positions,
    };
    Ok(Relative {
        buckets: json["position_buckets"].as_i64().unwrap_or(-1).max(0) as usize,
        max_positions,
        content_to_position: kinds.iter().any(|kind| kind == "c2p"),
        position_to_content: kinds.iter().any(|kind| kind == "p2c"),
        share_key: json["share_att_key"].as_bool().unwrap_or(false),
        normalise: json["norm_rel_ebd"].as_str().unwrap_or("none").contains("layer_norm"),
        absolute: json["position_biased_input"].as_bool().unwrap_or(true),
    })
}
