//! The output layer that the training begins with.

use pft_pii::labels::LabelMap;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::spacy::moves::Moves;

/// The output layer for new moves: a move whose label means the same as labels that the base knows
/// starts as the mean of theirs, any other near zero.
pub(super) fn output_layer(
    old_moves: &Moves,
    moves: &Moves,
    (old_weight, old_bias): (Vec<f32>, Vec<f32>),
    hidden: usize,
    seed: u64,
) -> (Vec<f32>, Vec<f32>) {
    let map = LabelMap::built_in();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut weight, mut bias) = (Vec::new(), Vec::new());
    for index in 0..moves.len() {
        let (action, label) = moves.get(index);
        let like: Vec<usize> = (0..old_moves.len())
            .filter(|&old| {
                let (old_action, old_label) = old_moves.get(old);
                let alike = match (old_label, label) {
                    (Some(old), Some(new)) => map.alike(old, new),
                    (old, new) => old == new,
                };
                old_action == action && alike
            })
            .collect();
        if like.is_empty() {
            weight.extend((0..hidden).map(|_| random.random_range(-0.05..0.05f32)));
            bias.push(0.0);
            continue;
        }
        let mean = |value: &dyn Fn(usize) -> f32| {
            like.iter().map(|&old| value(old)).sum::<f32>() / like.len() as f32
        };
        weight.extend((0..hidden).map(|unit| mean(&|old| old_weight[old * hidden + unit])));
        bias.push(mean(&|old| old_bias[old]));
    }
    (weight, bias)
}
