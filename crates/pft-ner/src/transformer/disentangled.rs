//! DeBERTa's disentangled attention scores (He et al. 2021): content to content, content to
//! relative position, and relative position to content.

use pft_pii::LoadError;

use super::config::{Config, Relative};
use crate::kernels::{Linear, Matrix, product};
use crate::weights::Weights;

/// Projected relative positions of every layer.
pub(super) struct RelativeAttention {
    settings: Relative,
    /// Relative positions run from `-span` to `span - 1`.
    span: usize,
    hidden: usize,
    head_size: usize,
    layers: Vec<Projected>,
}

/// `[2 · span, hidden]` each; `None` where the checkpoint does not use that direction.
struct Projected {
    key: Option<Vec<f32>>,
    query: Option<Vec<f32>>,
}

impl RelativeAttention {
    /// Reads the relative embeddings and projects them once for every layer. `qkv` are the layers'
    /// projections of queries, keys and values below each other, `[3 · hidden, hidden]`, which
    /// relative positions share where the settings say so.
    pub(super) fn load(
        checkpoint: &dyn Weights,
        root: &str,
        config: &Config,
        settings: &Relative,
        qkv: &[&Linear],
    ) -> Result<Self, LoadError> {
        let hidden = config.hidden;
        let span = if settings.buckets > 0 { settings.buckets } else { settings.max_positions };
        let mut table = checkpoint
            .tensor(&format!("{root}.encoder.rel_embeddings.weight"), &[2 * span, hidden])?;
        if settings.normalise {
            let name = format!("{root}.encoder.LayerNorm");
            checkpoint.norm(&name, hidden, config.epsilon)?.apply(&mut table);
        }
        let project = |linear: &Linear| {
            let mut rows = Vec::new();
            linear.forward(&mut rows, &table);
            rows
        };
        let projected = qkv
            .iter()
            .enumerate()
            .map(|(index, qkv)| {
                let linear = |part: usize, name: &str| {
                    if settings.share_key {
                        let rows = part * hidden..(part + 1) * hidden;
                        let weight = &qkv.weight[rows.start * hidden..rows.end * hidden];
                        let bias = qkv.bias[rows].to_vec();
                        return Ok(Linear { weight: weight.to_vec(), bias });
                    }
                    let name = format!("{root}.encoder.layer.{index}.attention.self.{name}");
                    checkpoint.linear(&name, [hidden, hidden])
                };
                let table = |wanted: bool, part, name| {
                    wanted.then(|| linear(part, name).map(|linear| project(&linear))).transpose()
                };
                Ok(Projected {
                    key: table(settings.content_to_position, 1, "pos_key_proj")?,
                    query: table(settings.position_to_content, 0, "pos_query_proj")?,
                })
            })
            .collect::<Result<_, LoadError>>()?;
        let head_size = hidden / config.heads;
        Ok(Self { settings: settings.clone(), span, hidden, head_size, layers: projected })
    }

    /// Attention scores `[length, length]` of one head before the softmax.
    pub(super) fn scores(
        &self,
        scores: &mut [f32],
        (layer, head): (usize, usize),
        query: Matrix<'_>,
        key: Matrix<'_>,
        length: usize,
    ) {
        let layer = &self.layers[layer];
        let terms = 1 + usize::from(layer.key.is_some()) + usize::from(layer.query.is_some());
        let scale = 1.0 / ((self.head_size * terms) as f32).sqrt();
        let sizes = [length, self.head_size, length];
        product((scores, 0, length), query, key.transposed(), sizes, scale, false);

        // Column of a distance query − key, at index distance + length − 1.
        let columns: Vec<usize> =
            (1 - length as i64..length as i64).map(|distance| self.column(distance)).collect();
        let width = 2 * self.span;
        let mut against = vec![0.0; length * width];
        // Content rows times the head's part of a table of relative positions.
        let multiply = |target: &mut [f32], content: Matrix<'_>, table: &[f32]| {
            let offset = head * self.head_size;
            let table = Matrix { offset, ..Matrix::rows(table, self.hidden) };
            let sizes = [length, self.head_size, width];
            product((target, 0, width), content, table.transposed(), sizes, scale, false);
        };
        if let Some(table) = &layer.key {
            multiply(&mut against, query, table);
            for (q, row) in scores.chunks_exact_mut(length).enumerate() {
                for (k, score) in row.iter_mut().enumerate() {
                    *score += against[q * width + columns[q + length - 1 - k]];
                }
            }
        }
        if let Some(table) = &layer.query {
            multiply(&mut against, key, table);
            for (q, row) in scores.chunks_exact_mut(length).enumerate() {
                for (k, score) in row.iter_mut().enumerate() {
                    *score += against[k * width + columns[q + length - 1 - k]];
                }
            }
        }
    }

    /// The row of the relative table for a distance.
    fn column(&self, distance: i64) -> usize {
        let bucketed = if self.settings.buckets > 0 {
            log_bucket(distance, self.settings.buckets, self.settings.max_positions)
        } else {
            distance
        };
        let span = self.span as i64;
        (bucketed + span).clamp(0, 2 * span - 1) as usize
    }
}

/// Exact up to half the buckets, logarithmic beyond (`make_log_bucket_position`), in the
/// reference's precision.
fn log_bucket(distance: i64, buckets: usize, max_position: usize) -> i64 {
    let middle = (buckets / 2) as i64;
    if distance.abs() <= middle {
        return distance;
    }
    let middle_f = middle as f32;
    let position = (distance.abs() as f32 / middle_f).ln()
        / ((max_position as f32 - 1.0) / middle_f).ln()
        * (middle_f - 1.0);
    distance.signum() * (position.ceil() as i64 + middle)
}
