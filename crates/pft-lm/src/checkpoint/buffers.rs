//! Tensors that transformers once saved beside the parameters, and ignores when it reads them: masks
//! and frequencies that follow from the config.

use crate::config::{Architecture, ModelConfig};

/// Whether the tensor of that name and shape is such a one of `config`'s model.
pub(super) fn is_buffer(name: &str, shape: &[usize], config: &ModelConfig) -> bool {
    match config.architecture {
        Architecture::Gpt2 => {
            let name = name.strip_prefix("transformer.").unwrap_or(name);
            let positions = config.max_position_embeddings;
            match of_layer(name, "h.", config) {
                // The causal mask, and what stands in it for minus infinity.
                Some("attn.bias") => shape == [1, 1, positions, positions],
                Some("attn.masked_bias") => shape.is_empty(),
                _ => false,
            }
        }
        Architecture::GptNeoX => {
            let name = name.strip_prefix("gpt_neox.").unwrap_or(name);
            let positions = config.max_position_embeddings;
            match of_layer(name, "layers.", config) {
                Some("attention.bias") => shape == [1, 1, positions, positions],
                Some("attention.masked_bias") => shape.is_empty(),
                Some("attention.rotary_emb.inv_freq") => frequencies(shape, config),
                _ => false,
            }
        }
        _ => {
            let name = name.strip_prefix("model.").unwrap_or(name);
            let named = name == "rotary_emb.inv_freq"
                || of_layer(name, "layers.", config) == Some("self_attn.rotary_emb.inv_freq");
            named && frequencies(shape, config)
        }
    }
}

/// Whether there are as many numbers as one kind of rotary positions has frequencies.
fn frequencies(shape: &[usize], config: &ModelConfig) -> bool {
    config.design.ropes.iter().any(|rope| shape == [rope.rotary_dim / 2])
}

/// What follows `PREFIX` and the number of one of the model's layers.
fn of_layer<'a>(name: &'a str, prefix: &str, config: &ModelConfig) -> Option<&'a str> {
    let (layer, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    layer.parse().is_ok_and(|layer: usize| layer < config.num_hidden_layers).then_some(rest)
}
