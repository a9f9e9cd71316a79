//! Rotary positions: each pair `x[i], x[i + d/2]` of a head turns by position · `frequency[i]`.
//!
//! The backward is the same turn the other way.

use rayon::prelude::*;

use crate::config::{ModelConfig, RopeScaling};
use crate::kernels::{rows_per_task, simd};

/// Cosines and sines of each position and frequency.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rope {
    frequencies: Vec<f32>,
    divisor: f32,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rope {
    /// The frequencies of a config, as transformers computes them.
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let half = config.head_dim / 2;
        let mut divisor = 1.0;
        let frequencies = (0..half)
            .map(|i| {
                let exponent = (2 * i) as f64 / config.head_dim as f64;
                let frequency = 1.0 / config.rope_theta.powf(exponent);
                match config.rope_scaling {
                    None => frequency,
                    Some(RopeScaling::Linear { factor }) => {
                        divisor = factor;
                        frequency
                    }
                    Some(scaling) => llama3(frequency, scaling),
                }
            })
            .map(|frequency| frequency as f32)
            .collect();
        Self { frequencies, divisor: divisor as f32, cosines: Vec::new(), sines: Vec::new() }
    }

    /// Extends the tables to `positions`.
    pub(crate) fn reach(&mut self, positions: usize) {
        let half = self.frequencies.len();
        for position in self.cosines.len() / half.max(1)..positions {
            for frequency in &self.frequencies {
                // The angle is rounded to 32 bits, as it is in transformers.
                let angle = f64::from(position as f32 * (frequency / self.divisor));
                self.cosines.push(angle.cos() as f32);
                self.sines.push(angle.sin() as f32);
            }
        }
    }

    /// The tables as far as they reach: cosines and sines, `[positions, head_dim / 2]`.
    pub(crate) fn tables(&self) -> [&[f32]; 2] {
        [&self.cosines, &self.sines]
    }

    /// Turns every head of every row of `x` (`[rows, heads · head_dim]`) in place; row `r` is at
    /// `positions[r]`. Backward turns the other way.
    pub(crate) fn apply(&self, x: &mut [f32], width: usize, positions: &[u32], backward: bool) {
        let half = self.frequencies.len();
        let rows = rows_per_task(positions.len());
        x.par_chunks_mut(rows * width).zip(positions.par_chunks(rows)).for_each(
            |(x, positions)| {
                for (x, &position) in x.chunks_exact_mut(width).zip(positions) {
                    let angles = position as usize * half..(position as usize + 1) * half;
                    let direction = if backward { -1.0 } else { 1.0 };
                    turn(x, &self.cosines[angles.clone()], &self.sines[angles], direction);
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
    fn turn(row: &mut [f32], cosines: &[f32], sines: &[f32], direction: f32) {
        let half = cosines.len();
        for head in row.chunks_exact_mut(2 * half) {
            let (low, high) = head.split_at_mut(half);
            for (((low, high), cosine), sine) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
                let sine = sine * direction;
                let (a, b) = (*low, *high);
                *low = a * cosine - b * sine;
                *high = b * cosine + a * sine;
            }
        }
    }
}
