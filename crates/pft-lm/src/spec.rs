//! What a model says of a parameter before there is one: its name, its shape, and what it is for.

/// What a parameter is for: decides its initial values and whether weight decay touches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// A lookup table `[rows, hidden]`: token or position embedding (and the head tied to it).
    Embedding,
    /// A matrix.
    Weight,
    /// The bias of a matrix.
    Bias,
    /// The scale of LayerNorm or RMSNorm.
    NormScale,
    /// The shift of LayerNorm.
    NormShift,
    /// LoRA's `A`, `[rank, in]`.
    LoraA,
    /// LoRA's `B`, `[out, rank]`.
    LoraB,
}

impl ParameterKind {
    /// Whether weight decay applies, by Hugging Face Trainer's rule: everything but biases and
    /// the parameters of norms.
    pub fn decays(self) -> bool {
        !matches!(self, Self::Bias | Self::NormScale | Self::NormShift)
    }
}

/// Name and shape of one parameter, as in Hugging Face's `state_dict`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec {
    /// For instance `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Linear weights are `[out, in]`, except those of GPT-2's `Conv1D`, which are `[in, out]`.
    pub shape: Vec<usize>,
    /// What it is for.
    pub kind: ParameterKind,
}

impl ParameterSpec {
    /// A specification from its parts.
    pub fn new(name: impl Into<String>, shape: &[usize], kind: ParameterKind) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), kind }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it is a matrix, which a frozen model may keep in fewer bits.
    pub fn is_matrix(&self) -> bool {
        matches!(self.kind, ParameterKind::Embedding | ParameterKind::Weight)
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
