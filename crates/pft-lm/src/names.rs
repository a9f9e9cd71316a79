//! What each family calls its tensors, and the tensors of a model in order.

use pft_matmul::Layout;

use crate::config::{
    Architecture, FeedForward, ModelConfig, NormKind, NormPlacement, Projections, QueryKeyNorm,
    Residual,
};
use crate::spec::{ParameterKind, ParameterSpec};

/// A family's names; those of a block follow `{layers}.{index}.`.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) tokens: &'static str,
    pub(crate) layers: &'static str,
    pub(crate) before_attention: &'static str,
    pub(crate) after_attention: &'static str,
    pub(crate) before_feed_forward: &'static str,
    pub(crate) after_feed_forward: &'static str,
    /// Queries, keys, values; or all in the first.
    pub(crate) projections: [&'static str; 3],
    pub(crate) output: &'static str,
    /// Gate, up, down; or up and down in the last two.
    pub(crate) feed_forward: [&'static str; 3],
    pub(crate) norm: &'static str,
    pub(crate) head: &'static str,
}

const LLAMA: Names = Names {
    tokens: "model.embed_tokens",
    layers: "model.layers",
    before_attention: "input_layernorm",
    after_attention: "post_attention_layernorm",
    before_feed_forward: "post_attention_layernorm",
    after_feed_forward: "post_feedforward_layernorm",
    projections: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    output: "self_attn.o_proj",
    feed_forward: ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"],
    norm: "model.norm",
    head: "lm_head",
};

const GEMMA: Names = Names { before_feed_forward: "pre_feedforward_layernorm", ..LLAMA };

const PHI: Names = Names {
    output: "self_attn.dense",
    feed_forward: ["", "mlp.fc1", "mlp.fc2"],
    norm: "model.final_layernorm",
    ..LLAMA
};

const PHI3: Names = Names {
    projections: ["self_attn.qkv_proj", "", ""],
    feed_forward: ["mlp.gate_up_proj", "", "mlp.down_proj"],
    ..LLAMA
};

const GPT_NEOX: Names = Names {
    tokens: "gpt_neox.embed_in",
    layers: "gpt_neox.layers",
    projections: ["attention.query_key_value", "", ""],
    output: "attention.dense",
    feed_forward: ["", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
    norm: "gpt_neox.final_layer_norm",
    head: "embed_out",
    ..LLAMA
};

const GPT2: Names = Names {
    tokens: "transformer.wte",
    layers: "transformer.h",
    before_attention: "ln_1",
    before_feed_forward: "ln_2",
    projections: ["attn.c_attn", "", ""],
    output: "attn.c_proj",
    feed_forward: ["", "mlp.c_fc", "mlp.c_proj"],
    norm: "transformer.ln_f",
    ..LLAMA
};

/// GPT-2's learned positions.
pub(crate) const POSITIONS: &str = "transformer.wpe";
/// Norms of queries and keys, in every family that has them.
pub(crate) const QUERY_KEY_NORMS: [&str; 2] = ["self_attn.q_norm", "self_attn.k_norm"];
/// The name of a head in every family but GPT-NeoX.
pub(crate) const HEAD: &str = "lm_head.weight";
/// Names of heads, tied or not.
pub const HEADS: [&str; 2] = [HEAD, "embed_out.weight"];

impl Names {
    /// The names of a config's family.
    pub(crate) fn of(architecture: Architecture) -> &'static Self {
        match architecture {
            Architecture::Gpt2 => &GPT2,
            Architecture::Gemma2 | Architecture::Gemma3 | Architecture::VaultGemma => &GEMMA,
            Architecture::Phi => &PHI,
            Architecture::Phi3 => &PHI3,
            Architecture::GptNeoX => &GPT_NEOX,
            _ => &LLAMA,
        }
    }
}

/// How the linear weight of that name is stored: GPT-2's blocks use `Conv1D`.
pub(crate) fn layout_of(weight: &str) -> Layout {
    if weight.starts_with("transformer.h.") { Layout::InOut } else { Layout::OutIn }
}

/// The block that a parameter's name (or an adapter's) belongs to.
pub(crate) fn block_index(name: &str) -> Option<usize> {
    let rest = [LLAMA.layers, GPT2.layers, GPT_NEOX.layers].iter().find_map(|layers| {
        let at = name.find(layers)?;
        name[at + layers.len()..].strip_prefix('.')
    })?;
    rest.split('.').next()?.parse().ok()
}

/// Lists the tensors of a model.
struct Specs {
    layer_norm: bool,
    all: Vec<ParameterSpec>,
}

impl Specs {
    fn push(&mut self, name: String, shape: &[usize], kind: ParameterKind) {
        self.all.push(ParameterSpec::new(name, shape, kind));
    }

    fn norm(&mut self, module: &str, width: usize) {
        self.push(format!("{module}.weight"), &[width], ParameterKind::NormScale);
        if self.layer_norm {
            self.push(format!("{module}.bias"), &[width], ParameterKind::NormShift);
        }
    }

    fn linear(&mut self, module: &str, [outputs, inputs]: [usize; 2], bias: bool) {
        let name = format!("{module}.weight");
        let shape = match layout_of(&name) {
            Layout::OutIn => [outputs, inputs],
            Layout::InOut => [inputs, outputs],
        };
        self.push(name, &shape, ParameterKind::Weight);
        if bias {
            self.push(format!("{module}.bias"), &[outputs], ParameterKind::Bias);
        }
    }
}

/// Every parameter of `config`'s model, in the order in which the model uses them.
///
/// A tied head is not listed: it is the token embedding.
pub fn parameter_specs(config: &ModelConfig) -> Vec<ParameterSpec> {
    let names = Names::of(config.architecture);
    let (width, vocabulary) = (config.hidden_size, config.vocab_size);
    let layer_norm = config.design.norm == NormKind::LayerNorm;
    let mut specs = Specs { layer_norm, all: Vec::new() };
    let embedding = ParameterKind::Embedding;
    specs.push(format!("{}.weight", names.tokens), &[vocabulary, width], embedding);
    if config.design.ropes.is_empty() {
        let shape = [config.max_position_embeddings, width];
        specs.push(format!("{POSITIONS}.weight"), &shape, embedding);
    }
    for layer in 0..config.num_hidden_layers {
        block(&mut specs, config, names, layer);
    }
    specs.norm(names.norm, width);
    if !config.tie_word_embeddings {
        specs.linear(names.head, [vocabulary, width], config.design.head_bias);
    }
    specs.all
}

fn block(specs: &mut Specs, config: &ModelConfig, names: &Names, layer: usize) {
    let (design, width, inner) = (&config.design, config.hidden_size, config.intermediate_size);
    let at = |name: &str| format!("{}.{layer}.{name}", names.layers);
    let queries = config.num_attention_heads * config.head_dim;
    let keys = config.num_key_value_heads * config.head_dim;
    let (before, after) =
        (design.norms != NormPlacement::After, design.norms != NormPlacement::Before);
    if before {
        specs.norm(&at(names.before_attention), width);
    }
    if design.projections == Projections::Split {
        for (name, outputs) in names.projections.into_iter().zip([queries, keys, keys]) {
            specs.linear(&at(name), [outputs, width], config.attention_bias);
        }
    } else {
        let outputs = queries + 2 * keys;
        specs.linear(&at(names.projections[0]), [outputs, width], config.attention_bias);
    }
    if let Some(norm) = design.query_key_norm {
        let widths = match norm {
            QueryKeyNorm::PerHead => [config.head_dim; 2],
            QueryKeyNorm::WholeWidth => [queries, keys],
        };
        for (name, width) in QUERY_KEY_NORMS.into_iter().zip(widths) {
            let name = format!("{}.weight", at(name));
            specs.push(name, &[width], ParameterKind::NormScale);
        }
    }
    specs.linear(&at(names.output), [width, queries], design.output_bias);
    if after {
        specs.norm(&at(names.after_attention), width);
    }
    if before && design.residual != Residual::ParallelSharedNorm {
        specs.norm(&at(names.before_feed_forward), width);
    }
    let [gate, up, down] = names.feed_forward;
    match design.feed_forward {
        FeedForward::Plain => specs.linear(&at(up), [inner, width], config.mlp_bias),
        FeedForward::Gated => {
            specs.linear(&at(gate), [inner, width], config.mlp_bias);
            specs.linear(&at(up), [inner, width], config.mlp_bias);
        }
        FeedForward::GatedFused => specs.linear(&at(gate), [2 * inner, width], config.mlp_bias),
    }
    specs.linear(&at(down), [width, inner], config.mlp_bias);
    if after {
        specs.norm(&at(names.after_feed_forward), width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_found_in_every_family_s_names() {
        for (name, block) in [
            ("model.layers.11.mlp.up_proj.weight", Some(11)),
            ("transformer.h.3.attn.c_attn.weight", Some(3)),
            ("gpt_neox.layers.2.attention.dense.bias", Some(2)),
            ("base_model.model.model.layers.5.self_attn.q_proj.lora_A.weight", Some(5)),
            ("model.norm.weight", None),
        ] {
            assert_eq!(block_index(name), block, "{name}");
        }
    }
}
