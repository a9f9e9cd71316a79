//! Rotary positions: pairs of a head's numbers turn by position · `frequency[i]`.
//!
//! A pair is `x[i], x[i + d/2]` (halves), or `x[2i], x[2i + 1]` (interleaved: GPT-J). Where only the
//! first `d` of a head's numbers turn, the others stay. The backward is the same turn the other way.

use rayon::prelude::*;

use crate::config::{RopeConfig, RopeScaling};
use crate::kernels::{rows_per_task, simd};
use crate::layers::attention::heads::Columns;

/// Cosines and sines of each position and frequency.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rope {
    frequencies: Vec<f32>,
    divisor: f32,
    /// Multiplies cosines and sines (YaRN).
    attention_factor: f64,
    interleaved: bool,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rope {
    /// The frequencies of a config, as transformers computes them.
    pub(crate) fn new(config: &RopeConfig) -> Self {
        let dim = config.rotary_dim;
        let mut divisor = 1.0;
        let frequencies = (0..dim / 2)
            .map(|i| {
                let exponent = (2 * i) as f64 / dim as f64;
                let frequency = 1.0 / config.theta.powf(exponent);
                match config.scaling {
                    None => frequency,
                    Some(RopeScaling::Linear { factor }) => {
                        divisor = factor;
                        frequency
                    }
                    Some(scaling @ RopeScaling::Llama3 { .. }) => llama3(frequency, scaling),
                    Some(RopeScaling::Yarn(yarn)) => yarn.frequency(config, i),
                }
            })
            .map(|frequency| frequency as f32)
            .collect();
        let attention_factor = match config.scaling {
            Some(RopeScaling::Yarn(yarn)) => yarn.attention_factor,
            _ => 1.0,
        };
        Self {
            frequencies,
            divisor: divisor as f32,
            attention_factor,
            interleaved: config.interleaved,
            cosines: Vec::new(),
            sines: Vec::new(),
        }
    }

    /// Extends the tables to `positions`.
    pub(crate) fn reach(&mut self, positions: usize) {
        let half = self.frequencies.len();
        for position in self.cosines.len() / half.max(1)..positions {
            for frequency in &self.frequencies {
                // The angle is rounded to 32 bits, as it is in transformers.
                let angle = f64::from(position as f32 * (frequency / self.divisor));
                self.cosines.push((angle.cos() * self.attention_factor) as f32);
                self.sines.push((angle.sin() * self.attention_factor) as f32);
            }
        }
    }

    /// The tables as far as they reach: cosines and sines, `[positions, rotary_dim / 2]`.
    pub(crate) fn tables(&self) -> [&[f32]; 2] {
        [&self.cosines, &self.sines]
    }

    /// Whether pairs are neighbours.
    pub(crate) fn interleaved(&self) -> bool {
        self.interleaved
    }

    /// Turns the first `heads` heads of every row of `x` in place; row `r` is at `positions[r]`.
    /// Backward turns the other way.
    pub(crate) fn apply(
        &self,
        x: &mut [f32],
        (columns, heads): (Columns, usize),
        positions: &[u32],
        backward: bool,
    ) {
        let (half, width) = (self.frequencies.len(), columns.stride);
        let direction = if backward { -1.0 } else { 1.0 };
        let turn = if self.interleaved { turn_neighbours } else { turn_halves };
        let rows = rows_per_task(positions.len());
        x.par_chunks_mut(rows * width).zip(positions.par_chunks(rows)).for_each(
            |(x, positions)| {
                for (x, &position) in x.chunks_exact_mut(width).zip(positions) {
                    let angles = position as usize * half..(position as usize + 1) * half;
                    let (cosines, sines) = (&self.cosines[angles.clone()], &self.sines[angles]);
                    let x = &mut x[columns.first..];
                    turn(x, (heads, columns.step), cosines, sines, direction);
                }
            },
        );
    }
}

/// Llama 3.1's frequencies: long wavelengths are stretched, short ones kept.
pub(crate) fn llama3(frequency: f64, scaling: RopeScaling) -> f64 {
    let RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
    } = scaling
    else {
        return frequency;
    };
    let original = original_max_position_embeddings as f64;
    let wavelength = std::f64::consts::TAU / frequency;
    if wavelength > original / low_freq_factor {
        frequency / factor
    } else if wavelength < original / high_freq_factor {
        frequency
    } else {
        let smooth =
            (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

simd! {
    fn turn_halves(
        row: &mut [f32], heads: (usize, usize), cosines: &[f32], sines: &[f32], direction: f32,
    ) {
        let half = cosines.len();
        let (count, step) = heads;
        for head in 0..count {
            let (low, high) = row[head * step..][..2 * half].split_at_mut(half);
            for (((low, high), cosine), sine) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
                let sine = sine * direction;
                let (a, b) = (*low, *high);
                *low = a * cosine - b * sine;
                *high = b * cosine + a * sine;
            }
        }
    }
}

simd! {
    fn turn_neighbours(
        row: &mut [f32], heads: (usize, usize), cosines: &[f32], sines: &[f32], direction: f32,
    ) {
        let half = cosines.len();
        let (count, step) = heads;
        for head in 0..count {
            let pairs = row[head * step..][..2 * half].chunks_exact_mut(2);
            for ((pair, cosine), sine) in pairs.zip(cosines).zip(sines) {
                let sine = sine * direction;
                let (a, b) = (pair[0], pair[1]);
                pair[0] = a * cosine - b * sine;
                pair[1] = b * cosine + a * sine;
            }
        }
    }
}
