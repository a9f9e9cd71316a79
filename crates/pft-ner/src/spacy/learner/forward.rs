//! From a batch of samples to scores of moves, by operations that candle can differentiate.

use candle_core::{D, Device, Result as TensorResult, Tensor};

use super::SpacyLearner;
use super::samples::Sample;
use crate::spacy::encoder::layout;
use crate::train::{Dropout, linear};

impl SpacyLearner {
    /// Embeddings of the batch's words, `[rows, width]`, in the layout of a batch of texts.
    fn embed(&self, batch: &[&Sample], dropout: &mut Dropout) -> TensorResult<Tensor> {
        let lengths: Vec<usize> = batch.iter().map(|sample| sample.words.len()).collect();
        let (ranges, rows) = layout(&lengths, self.layers.len());
        let mut unique: Vec<usize> =
            batch.iter().flat_map(|sample| sample.words.iter().copied()).collect();
        unique.sort_unstable();
        unique.dedup();
        // The row behind the last word is zero: padding.
        let mut places = vec![unique.len() as u32; rows];
        for (sample, range) in batch.iter().zip(ranges) {
            for (place, word) in places[range].iter_mut().zip(&sample.words) {
                *place = unique.partition_point(|known| known < word) as u32;
            }
        }
        let device = &Device::Cpu;
        let mut features = Vec::new();
        for (number, table) in self.tables.iter().enumerate() {
            let rows: Vec<u32> = unique
                .iter()
                .flat_map(|&word| self.words.rows[word][number].map(|row| row as u32))
                .collect();
            let rows = Tensor::new(rows, device)?;
            let width = table.dim(1)?;
            let looked_up = table.index_select(&rows, 0)?;
            features.push(looked_up.reshape((unique.len(), 4, width))?.sum(1)?);
        }
        if let Some(weight) = &self.vectors {
            let values: Vec<f32> =
                unique.iter().flat_map(|&word| self.words.vectors[word].iter().copied()).collect();
            let vectors = Tensor::from_vec(values, (unique.len(), weight.dim(1)?), device)?;
            features.push(vectors.matmul(&weight.t()?)?);
        }
        let words = dropout.apply(&self.mix.forward(&Tensor::cat(&features, 1)?)?)?;
        let padding = Tensor::zeros((1, words.dim(1)?), words.dtype(), device)?;
        Tensor::cat(&[&words, &padding], 0)?.index_select(&Tensor::new(places, device)?, 0)
    }

    /// Scores of the moves in every state of a batch, `[states, moves]`.
    pub(super) fn scores(&self, batch: &[&Sample], dropout: &mut Dropout) -> TensorResult<Tensor> {
        let mut state = self.embed(batch, dropout)?;
        let rows = state.dim(0)?;
        for layer in &self.layers {
            let edge = Tensor::zeros((1, state.dim(1)?), state.dtype(), state.device())?;
            let before = Tensor::cat(&[&edge, &state.narrow(0, 0, rows - 1)?], 0)?;
            let after = Tensor::cat(&[&state.narrow(0, 1, rows - 1)?, &edge], 0)?;
            let windows = Tensor::cat(&[&before, &state, &after], 1)?;
            state = (state + dropout.apply(&layer.forward(&windows)?)?)?;
        }
        let projected = linear(&state, &self.project.0, &self.project.1)?;
        let (weight, bias, pad) = &self.lower;
        let (features, hidden, pieces, inputs) = weight.dims4()?;
        let mut sum = bias.reshape((1, hidden * pieces))?;
        let lengths: Vec<usize> = batch.iter().map(|sample| sample.words.len()).collect();
        let (ranges, _) = layout(&lengths, self.layers.len());
        for feature in 0..features {
            let weight = weight.get(feature)?.reshape((hidden * pieces, inputs))?;
            let pad = pad.get(0)?.get(feature)?.reshape((1, hidden * pieces))?;
            let known = Tensor::cat(&[&projected.matmul(&weight.t()?)?, &pad], 0)?;
            let places: Vec<u32> = batch
                .iter()
                .zip(&ranges)
                .flat_map(|(sample, range)| {
                    let place = |word: usize| range.start + word;
                    sample.states.iter().map(move |state| state.words[feature].map(place))
                })
                .map(|place| place.unwrap_or(rows) as u32)
                .collect();
            let places = Tensor::new(places, &Device::Cpu)?;
            sum = known.index_select(&places, 0)?.broadcast_add(&sum)?;
        }
        let states = sum.dim(0)?;
        let activated = sum.reshape((states, hidden, pieces))?.max(D::Minus1)?;
        linear(&activated, &self.upper.0, &self.upper.1)
    }
}
