//! What an embedding is given: sentences, a place to write to, and what a user said.

use super::tokens::Token;

/// A sentence to embed, and those around it in its text.
#[derive(Clone, Copy)]
pub(super) struct Job<'t> {
    pub(super) sentences: &'t [Vec<Token>],
    pub(super) index: usize,
}

impl<'t> Job<'t> {
    pub(super) fn tokens(self) -> &'t [Token] {
        &self.sentences[self.index]
    }
}

/// Where an embedding writes: columns of a matrix with a row for every token.
pub(super) struct Columns<'m> {
    pub(super) matrix: &'m mut [f32],
    /// Width of the matrix.
    pub(super) stride: usize,
    /// First column.
    pub(super) offset: usize,
}

impl Columns<'_> {
    /// The place of a token.
    pub(super) fn row(&mut self, token: usize, width: usize) -> &mut [f32] {
        &mut self.matrix[token * self.stride + self.offset..][..width]
    }
}

/// What a user says about embeddings whose file lacks it.
pub(super) struct Given<'g> {
    /// A `tokenizer.json`.
    pub(super) tokenizer: Option<&'g [u8]>,
    /// The `tokenizer_config.json` beside it.
    pub(super) tokenizer_settings: Option<&'g [u8]>,
}
