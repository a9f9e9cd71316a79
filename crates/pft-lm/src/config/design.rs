//! The switches of a block: what it computes beyond plain LLaMA, whichever family asks for it.
//!
//! Reading a `config.json` turns a family's name and keys into a [`Design`]; layers look at the design
//! and never at the name.

use super::RopeScaling;

/// How rows are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// (x − mean) / deviation · scale + shift.
    LayerNorm,
    /// x / root mean square · scale.
    Rms,
    /// x / root mean square · (1 + scale) (Gemma).
    RmsFromOne,
}

/// Where a block's norms stand: of what attention and feed-forward read, of what they give before it
/// is added, or of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlacement {
    /// LLaMA, GPT-2, GPT-NeoX.
    Before,
    /// OLMo 2.
    After,
    /// Gemma 2 and 3.
    Both,
}

/// What of queries and keys is normalised, before positions turn them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// Each head by itself, all with one scale of `head_dim` (Qwen 3, Gemma 3).
    PerHead,
    /// All heads of a token together (OLMo 2).
    WholeWidth,
}

/// How queries, keys and values are projected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projections {
    /// By three matrices.
    Split,
    /// By one: all queries, all keys, all values (GPT-2, Phi-3).
    FusedByKind,
    /// By one: query, key and value of one head after the other (GPT-NeoX).
    FusedByHead,
}

/// The feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForward {
    /// down(act(up(x))).
    Plain,
    /// down(act(gate(x)) · up(x)).
    Gated,
    /// The same with gate and up in one matrix, gate first (Phi-3).
    GatedFused,
}

/// What is added to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// The feed-forward reads what attention was added to.
    Serial,
    /// Attention and feed-forward read the block's input, each through a norm of its own
    /// (GPT-NeoX).
    Parallel,
    /// Both through the same norm (Phi).
    ParallelSharedNorm,
}

/// Rotary positions of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub theta: f64,
    /// How they are stretched for longer contexts.
    pub scaling: Option<RopeScaling>,
    /// How many of a head's numbers turn: the first so many. Even.
    pub rotary_dim: usize,
    /// Whether neighbours are pairs, and not the halves' numbers of equal place.
    pub interleaved: bool,
}

/// What is different from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerDesign {
    /// Keys that a query sees at most, its own among them.
    pub window: Option<usize>,
    /// Which of [`Design::ropes`] turns queries and keys; none of them without positions.
    pub rope: Option<usize>,
}

/// A block's switches.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// The kind of all norms over the residual stream.
    pub norm: NormKind,
    /// Where they stand.
    pub norms: NormPlacement,
    /// Norms of queries and keys.
    pub query_key_norm: Option<QueryKeyNorm>,
    /// How queries, keys and values are projected.
    pub projections: Projections,
    /// Whether attention's output projection has a bias.
    pub output_bias: bool,
    /// Whether the head has a bias.
    pub head_bias: bool,
    /// The feed-forward layer.
    pub feed_forward: FeedForward,
    /// What is added to what.
    pub residual: Residual,
    /// One for each layer.
    pub layers: Vec<LayerDesign>,
    /// The kinds of rotary positions that layers use; none where positions are learned.
    pub ropes: Vec<RopeConfig>,
    /// Multiplies embeddings.
    pub embedding_multiplier: f64,
    /// Multiplies q·kᵀ.
    pub attention_multiplier: f64,
    /// Multiplies what attention and feed-forward give before it is added.
    pub residual_multiplier: f64,
    /// Multiplies logits.
    pub logits_multiplier: f64,
    /// Bounds attention's scores, smoothly.
    pub attention_soft_cap: Option<f64>,
    /// Bounds logits, smoothly.
    pub logits_soft_cap: Option<f64>,
}

impl Design {
    /// Plain LLaMA's, with one kind of rotary positions in `layers` layers.
    pub fn llama(layers: usize, head_dim: usize, rope: RopeConfig) -> Self {
        Self {
            norm: NormKind::Rms,
            norms: NormPlacement::Before,
            query_key_norm: None,
            projections: Projections::Split,
            output_bias: false,
            head_bias: false,
            feed_forward: FeedForward::Gated,
            residual: Residual::Serial,
            layers: vec![LayerDesign { window: None, rope: Some(0) }; layers],
            ropes: vec![rope],
            embedding_multiplier: 1.0,
            attention_multiplier: 1.0 / (head_dim as f64).sqrt(),
            residual_multiplier: 1.0,
            logits_multiplier: 1.0,
            attention_soft_cap: None,
            logits_soft_cap: None,
        }
    }

    /// GPT-2's: learned positions, one matrix for queries, keys and values, LayerNorm, biases.
    pub fn gpt2(layers: usize, head_dim: usize) -> Self {
        let rope =
            RopeConfig { theta: 1e4, scaling: None, rotary_dim: head_dim, interleaved: false };
        Self {
            norm: NormKind::LayerNorm,
            projections: Projections::FusedByKind,
            output_bias: true,
            feed_forward: FeedForward::Plain,
            layers: vec![LayerDesign { window: None, rope: None }; layers],
            ropes: Vec::new(),
            ..Self::llama(layers, head_dim, rope)
        }
    }
}
