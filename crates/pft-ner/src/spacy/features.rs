//! The transition model's features of words, computed as the parser comes to them: kept for all
//! words of a long text they would take more memory than everything else.

use std::ops::Range;

use crate::kernels::Linear;

/// Rows whose features are in memory together, about 6 MB; more than most batches have.
const ROWS: usize = 4096;

/// What a word is in a state of the parser; each has features of its own.
#[derive(Clone, Copy)]
pub(super) enum Position {
    /// The word that is looked at.
    Current,
    /// The first word of the entity that is open.
    EntityStart,
    /// The word before the one that is looked at.
    Previous,
}

/// Number of [`Position`]s.
pub(super) const POSITIONS: usize = 3;

/// Features of the rows of a batch, `[pieces, hidden]` for each position of a row.
pub(super) struct Features<'e> {
    /// `[positions · pieces · hidden, projected]`.
    lower: &'e Linear,
    /// `[rows, projected]`.
    projected: Vec<f32>,
    /// The rows that `values` has.
    rows: Range<usize>,
    values: Vec<f32>,
}

impl<'e> Features<'e> {
    /// Features of rows that `lower` makes of `projected`.
    pub(super) fn new(lower: &'e Linear, projected: Vec<f32>) -> Self {
        Self { lower, projected, rows: 0..0, values: Vec::new() }
    }

    /// Makes the features of a row, and of the row before it, ready for [`Self::of`].
    pub(super) fn prepare(&mut self, row: usize) {
        if !self.rows.contains(&row) {
            let width = self.lower.inputs();
            let start = row.saturating_sub(1);
            self.rows = start..(start + ROWS).min(self.projected.len() / width);
            let projected = &self.projected[start * width..self.rows.end * width];
            self.lower.forward(&mut self.values, projected);
        }
    }

    /// The features of a prepared row as the word of a position.
    pub(super) fn of(&self, row: usize, position: Position) -> &[f32] {
        let size = self.lower.bias.len() / POSITIONS;
        let at = (row - self.rows.start) * POSITIONS + position as usize;
        &self.values[at * size..][..size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_far_apart_have_the_features_of_all_rows_at_once() {
        let lower = Linear {
            weight: (0..12).map(|i| i as f32 - 5.0).collect(),
            bias: (0..6).map(|i| i as f32).collect(),
        };
        let projected: Vec<f32> = (0..2 * (3 * ROWS + 5)).map(|i| (i % 97) as f32).collect();
        let mut all = Vec::new();
        lower.forward(&mut all, &projected);
        let mut features = Features::new(&lower, projected);
        for row in [0, 1, 7, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 4] {
            features.prepare(row);
            assert_eq!(features.of(row, Position::Current), &all[row * 6..][..2]);
            let before = row.saturating_sub(1);
            assert_eq!(features.of(before, Position::EntityStart), &all[before * 6 + 2..][..2]);
            assert_eq!(features.of(before, Position::Previous), &all[before * 6 + 4..][..2]);
        }
    }
}
