//! From a config and named tensors to the layers of a model.

use crate::config::{Activation, Architecture, ModelConfig};
use crate::kernels::matmul::Layout;
use crate::layers::attention::Heads;
use crate::layers::cross_entropy::Head;
use crate::layers::linear::Linear;
use crate::layers::lora::{Adapter, LoraConfig, adapter_names, layout_of};
use crate::layers::norm::Norm;
use crate::model::block::{Block, Mlp, Projection};
use crate::parameters::{ParameterError, ParameterId, Parameters};

/// The layers of a model, as indices into its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    pub(crate) tokens: ParameterId,
    pub(crate) positions: Option<ParameterId>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Norm,
    pub(crate) head: Head,
}

/// Finds parameters by name and counts the adapters.
struct Builder<'a> {
    config: &'a ModelConfig,
    parameters: &'a Parameters,
    lora: Option<&'a LoraConfig>,
    adapters: u64,
}

impl Builder<'_> {
    fn id(&self, name: &str) -> Result<ParameterId, ParameterError> {
        self.parameters.id(name).ok_or_else(|| ParameterError::Missing(name.to_owned()))
    }

    fn linear(&mut self, module: &str) -> Result<Linear, ParameterError> {
        let name = format!("{module}.weight");
        let weight = self.id(&name)?;
        let shape = &self.parameters.get(weight).tensor.shape;
        let layout = layout_of(&name);
        let (inputs, outputs) = match layout {
            Layout::OutIn => (shape[1], shape[0]),
            Layout::InOut => (shape[0], shape[1]),
        };
        let [a, b] = adapter_names(&name).map(|name| self.parameters.id(&name));
        let adapter = match (a, b, self.lora) {
            (Some(a), Some(b), Some(lora)) => Some(Adapter {
                a,
                b,
                rank: lora.rank,
                scale: lora.scale() as f32,
                dropout: lora.dropout as f32,
                index: self.adapters,
            }),
            _ => None,
        };
        self.adapters += u64::from(adapter.is_some());
        let bias = self.parameters.id(&format!("{module}.bias"));
        Ok(Linear { weight, bias, layout, inputs, outputs, adapter })
    }

    fn norm(&self, module: &str) -> Result<Norm, ParameterError> {
        Ok(Norm {
            scale: self.id(&format!("{module}.weight"))?,
            shift: self.parameters.id(&format!("{module}.bias")),
            eps: self.config.norm_eps as f32,
        })
    }

    fn gpt2_block(&mut self, layer: usize, heads: Heads) -> Result<Block, ParameterError> {
        let at = |name: &str| format!("transformer.h.{layer}.{name}");
        Ok(Block {
            norm1: self.norm(&at("ln_1"))?,
            projection: Projection::Fused(self.linear(&at("attn.c_attn"))?),
            output: self.linear(&at("attn.c_proj"))?,
            norm2: self.norm(&at("ln_2"))?,
            mlp: Mlp::Gelu {
                fc: self.linear(&at("mlp.c_fc"))?,
                proj: self.linear(&at("mlp.c_proj"))?,
                exact: self.config.activation == Activation::Gelu,
            },
            heads,
        })
    }

    fn llama_block(&mut self, layer: usize, heads: Heads) -> Result<Block, ParameterError> {
        let at = |name: &str| format!("model.layers.{layer}.{name}");
        Ok(Block {
            norm1: self.norm(&at("input_layernorm"))?,
            projection: Projection::Split {
                q: self.linear(&at("self_attn.q_proj"))?,
                k: self.linear(&at("self_attn.k_proj"))?,
                v: self.linear(&at("self_attn.v_proj"))?,
            },
            output: self.linear(&at("self_attn.o_proj"))?,
            norm2: self.norm(&at("post_attention_layernorm"))?,
            mlp: Mlp::SwiGlu {
                gate: self.linear(&at("mlp.gate_proj"))?,
                up: self.linear(&at("mlp.up_proj"))?,
                down: self.linear(&at("mlp.down_proj"))?,
            },
            heads,
        })
    }
}

/// The layers of `config`'s model over `parameters`.
pub(crate) fn layers(
    config: &ModelConfig,
    parameters: &Parameters,
    lora: Option<&LoraConfig>,
) -> Result<Layers, ParameterError> {
    let mut builder = Builder { config, parameters, lora, adapters: 0 };
    let heads = Heads {
        queries: config.num_attention_heads,
        keys: config.num_key_value_heads,
        dim: config.head_dim,
    };
    let gpt2 = config.architecture == Architecture::Gpt2;
    let (tokens, norm) = if gpt2 {
        ("transformer.wte.weight", "transformer.ln_f")
    } else {
        ("model.embed_tokens.weight", "model.norm")
    };
    let blocks = (0..config.num_hidden_layers)
        .map(|layer| {
            if gpt2 { builder.gpt2_block(layer, heads) } else { builder.llama_block(layer, heads) }
        })
        .collect::<Result<_, _>>()?;
    let tokens = builder.id(tokens)?;
    let head = if config.tie_word_embeddings { tokens } else { builder.id("lm_head.weight")? };
    Ok(Layers {
        tokens,
        positions: if gpt2 { Some(builder.id("transformer.wpe.weight")?) } else { None },
        blocks,
        norm: builder.norm(norm)?,
        head: Head { weight: head, vocabulary: config.vocab_size, width: config.hidden_size },
    })
}
