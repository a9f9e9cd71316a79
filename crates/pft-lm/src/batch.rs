//! The tokens of one forward pass, packed without padding.

use thiserror::Error;

/// Tokens that cannot make a batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// A sequence has no token.
    #[error("sequence {0} of the batch is empty")]
    Empty(usize),
    /// A sequence is longer than the model's context.
    #[error("sequence {index} of the batch has {length} tokens; the model takes at most {limit}")]
    TooLong {
        /// Which sequence.
        index: usize,
        /// Its length.
        length: usize,
        /// `max_position_embeddings`.
        limit: usize,
    },
    /// A token id is outside the vocabulary.
    #[error(
        "sequence {index} of the batch holds the token {token}, outside the vocabulary of {vocabulary}"
    )]
    Vocabulary {
        /// Which sequence.
        index: usize,
        /// The token.
        token: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
}

/// Sequences of tokens and the weight of each token in the loss.
///
/// The rows of a batch are its tokens, sequence after sequence; there is no padding, so a
/// sequence's loss and gradient cannot depend on its neighbours' lengths.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    input_ids: Vec<u32>,
    offsets: Vec<usize>,
    loss_weights: Vec<f32>,
}

impl Batch {
    /// A batch in which each sequence's loss is the mean over its own tokens but the first.
    ///
    /// A sequence of one token predicts nothing and has no loss.
    ///
    /// # Errors
    /// When a sequence is empty.
    pub fn new<S: AsRef<[u32]>>(sequences: &[S]) -> Result<Self, BatchError> {
        let mut input_ids = Vec::new();
        let mut offsets = vec![0];
        let mut loss_weights = Vec::new();
        for (index, sequence) in sequences.iter().enumerate() {
            let sequence = sequence.as_ref();
            if sequence.is_empty() {
                return Err(BatchError::Empty(index));
            }
            input_ids.extend_from_slice(sequence);
            offsets.push(input_ids.len());
            loss_weights.push(0.0);
            let targets = sequence.len() - 1;
            loss_weights.extend(std::iter::repeat_n(1.0 / targets as f32, targets));
        }
        Ok(Self { input_ids, offsets, loss_weights })
    }

    /// Multiplies the weights of sequence `index`: by `1/B` for a mean over B sequences, by `1/k`
    /// for a unit of k examples.
    pub fn scale_sequence(&mut self, index: usize, factor: f32) {
        for weight in &mut self.loss_weights[self.offsets[index]..self.offsets[index + 1]] {
            *weight *= factor;
        }
    }

    /// Multiplies all weights.
    pub fn scale(&mut self, factor: f32) {
        for weight in &mut self.loss_weights {
            *weight *= factor;
        }
    }

    /// Gives every token but the first of its sequence the weight `1/total`, where `total` counts
    /// those tokens: the loss is then the mean over the batch's tokens, as in transformers.
    pub fn weigh_by_token(&mut self) {
        let total = (self.rows() - self.len()).max(1);
        for index in 0..self.len() {
            let (first, end) = (self.offsets[index], self.offsets[index + 1]);
            self.loss_weights[first + 1..end].fill(1.0 / total as f32);
        }
    }

    /// The weight of each token's negative log-likelihood in the loss. The first token of a
    /// sequence is predicted by nothing; its weight is ignored.
    pub fn loss_weights_mut(&mut self) -> &mut [f32] {
        &mut self.loss_weights
    }

    /// The weight of each token's negative log-likelihood in the loss.
    pub fn loss_weights(&self) -> &[f32] {
        &self.loss_weights
    }

    /// The tokens.
    pub fn input_ids(&self) -> &[u32] {
        &self.input_ids
    }

    /// Sequence `i` is the rows `offsets[i]..offsets[i + 1]`.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of tokens.
    pub fn rows(&self) -> usize {
        self.input_ids.len()
    }

    /// Checks the batch against a model's limits.
    ///
    /// # Errors
    /// When a sequence is longer than `context` or holds a token outside `vocabulary`.
    pub fn check(&self, context: usize, vocabulary: usize) -> Result<(), BatchError> {
        for index in 0..self.len() {
            let sequence = &self.input_ids[self.offsets[index]..self.offsets[index + 1]];
            if sequence.len() > context {
                let length = sequence.len();
                return Err(BatchError::TooLong { index, length, limit: context });
            }
            if let Some(&token) = sequence.iter().find(|&&token| token as usize >= vocabulary) {
                return Err(BatchError::Vocabulary { index, token, vocabulary });
            }
        }
        Ok(())
    }
}
