//! From a config and named tensors to the layers of a model.

use crate::config::{
    FeedForward, ModelConfig, NormKind, NormPlacement, Projections, QueryKeyNorm, Residual,
};
use crate::kernels::matmul::Layout;
use crate::layers::attention::heads::{Heads, Order};
use crate::layers::cross_entropy::Head;
use crate::layers::linear::Linear;
use crate::layers::lora::{Adapter, LoraConfig, adapter_names};
use crate::layers::norm::Norm;
use crate::model::block::{Block, Mlp, Projection, Residuals};
use crate::names::{self, Names, QUERY_KEY_NORMS, layout_of};
use crate::parameters::{ParameterError, ParameterId, Parameters};

/// The layers of a model, as indices into its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    pub(crate) tokens: ParameterId,
    pub(crate) positions: Option<ParameterId>,
    /// Multiplies what is looked up.
    pub(crate) multiplier: f32,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Norm,
    pub(crate) head: Head,
}

/// Finds parameters by name and counts the adapters.
struct Builder<'a> {
    config: &'a ModelConfig,
    names: &'static Names,
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
        let adapter = self.adapter(&name);
        let bias = self.parameters.id(&format!("{module}.bias"));
        Ok(Linear { weight, bias, layout, inputs, outputs, adapter })
    }

    /// The adapter of the weight of that name, if it has one.
    fn adapter(&mut self, weight: &str) -> Option<Adapter> {
        let [a, b] = adapter_names(weight).map(|name| self.parameters.id(&name));
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
        adapter
    }

    fn norm(&self, module: &str) -> Result<Norm, ParameterError> {
        Ok(Norm {
            scale: self.id(&format!("{module}.weight"))?,
            shift: self.parameters.id(&format!("{module}.bias")),
            eps: self.config.norm_eps as f32,
            from_one: self.config.design.norm == NormKind::RmsFromOne,
            rows_per_token: 1,
        })
    }

    fn query_key_norms(&self, layer: usize) -> Result<Option<[Norm; 2]>, ParameterError> {
        let Some(kind) = self.config.design.query_key_norm else { return Ok(None) };
        let [q, k] = QUERY_KEY_NORMS.map(|name| self.norm(&self.at(layer, name)));
        let (mut q, mut k) = (q?, k?);
        if kind == QueryKeyNorm::PerHead {
            q.rows_per_token = self.config.num_attention_heads;
            k.rows_per_token = self.config.num_key_value_heads;
        }
        Ok(Some([q, k]))
    }

    fn at(&self, layer: usize, name: &str) -> String {
        format!("{}.{layer}.{name}", self.names.layers)
    }

    fn projection(&mut self, layer: usize) -> Result<Projection, ParameterError> {
        let [q, k, v] = self.names.projections.map(|name| self.at(layer, name));
        let order = match self.config.design.projections {
            Projections::Split => {
                return Ok(Projection::Split {
                    q: self.linear(&q)?,
                    k: self.linear(&k)?,
                    v: self.linear(&v)?,
                });
            }
            Projections::FusedByKind => Order::ByKind,
            Projections::FusedByHead => Order::ByHead,
        };
        Ok(Projection::Fused(self.linear(&q)?, order))
    }

    fn mlp(&mut self, layer: usize) -> Result<Mlp, ParameterError> {
        let [gate, up, down] = self.names.feed_forward.map(|name| self.at(layer, name));
        let activation = self.config.activation;
        Ok(match self.config.design.feed_forward {
            FeedForward::Plain => {
                Mlp::Plain { up: self.linear(&up)?, down: self.linear(&down)?, activation }
            }
            FeedForward::Gated => Mlp::Gated {
                gate: self.linear(&gate)?,
                up: self.linear(&up)?,
                down: self.linear(&down)?,
                activation,
            },
            FeedForward::GatedFused => Mlp::GatedFused {
                gate_up: self.linear(&gate)?,
                down: self.linear(&down)?,
                activation,
            },
        })
    }

    fn block(&mut self, layer: usize) -> Result<Block, ParameterError> {
        let (config, names) = (self.config, self.names);
        let (design, of_layer) = (&config.design, config.design.layers[layer]);
        let (before, after) =
            (design.norms != NormPlacement::After, design.norms != NormPlacement::Before);
        let norm =
            |wanted: bool, name: &str| wanted.then(|| self.norm(&self.at(layer, name))).transpose();
        let own_norm = before && design.residual != Residual::ParallelSharedNorm;
        let norms = [
            norm(before, names.before_attention)?,
            norm(after, names.after_attention)?,
            norm(own_norm, names.before_feed_forward)?,
            norm(after, names.after_feed_forward)?,
        ];
        let [before_attention, after_attention, before_mlp, after_mlp] = norms;
        Ok(Block {
            before_attention,
            projection: self.projection(layer)?,
            query_key_norms: self.query_key_norms(layer)?,
            output: self.linear(&self.at(layer, names.output))?,
            after_attention,
            before_mlp,
            mlp: self.mlp(layer)?,
            after_mlp,
            heads: Heads {
                scale: design.attention_multiplier as f32,
                window: of_layer.window,
                soft_cap: design.attention_soft_cap.map(|cap| cap as f32),
                ..Heads::new(
                    config.num_attention_heads,
                    config.num_key_value_heads,
                    config.head_dim,
                )
            },
            rope: of_layer.rope,
            residuals: if design.residual == Residual::Serial {
                Residuals::Serial
            } else {
                Residuals::Parallel
            },
            multiplier: design.residual_multiplier as f32,
        })
    }
}

/// The layers of `config`'s model over `parameters`.
pub(crate) fn layers(
    config: &ModelConfig,
    parameters: &Parameters,
    lora: Option<&LoraConfig>,
) -> Result<Layers, ParameterError> {
    let names = Names::of(config.architecture);
    let mut builder = Builder { config, names, parameters, lora, adapters: 0 };
    let blocks = (0..config.num_hidden_layers)
        .map(|layer| builder.block(layer))
        .collect::<Result<_, _>>()?;
    let tokens = builder.id(&format!("{}.weight", names.tokens))?;
    let (head, bias, adapter) = if config.tie_word_embeddings {
        (tokens, None, None)
    } else {
        let weight = format!("{}.weight", names.head);
        let bias = parameters.id(&format!("{}.bias", names.head));
        (builder.id(&weight)?, bias, builder.adapter(&weight))
    };
    let learned = config.design.ropes.is_empty();
    let positions = format!("{}.weight", names::POSITIONS);
    Ok(Layers {
        tokens,
        positions: if learned { Some(builder.id(&positions)?) } else { None },
        multiplier: config.design.embedding_multiplier as f32,
        blocks,
        norm: builder.norm(names.norm)?,
        head: Head {
            weight: head,
            bias,
            adapter,
            vocabulary: config.vocab_size,
            width: config.hidden_size,
            multiplier: config.design.logits_multiplier as f32,
            soft_cap: config.design.logits_soft_cap.map(|cap| cap as f32),
        },
    })
}
