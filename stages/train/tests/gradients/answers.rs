//! Clipped sums of units of which answers alone are learned.

use pft_dp::{Clipping, ClippingStyle};
use pft_lm::batch::Batch;
use pft_lm::gradient::GradientSum;
use pft_lm::model::LanguageModel;
use train::data::Sequence;

use crate::oracle::{
    FUNCTIONS, borrowed, clip, distance, engine, engine_on_device, models, names, noise, norm,
    units,
};

/// Units whose answers are some of their tokens: short ones beside long ones, and one of a single token.
fn masked_units(seed: u64) -> Vec<Vec<Sequence>> {
    let mut units = units(seed);
    let mut next = noise(seed + 1);
    for sequence in units.iter_mut().flatten() {
        let last = sequence.input_ids.len() - 1;
        let mut mask: Vec<bool> = (0..=last).map(|_| next() > 0.4).collect();
        mask[last] = true;
        sequence.loss_mask = mask;
    }
    units
}

/// The mean of the gradients of a unit's answer tokens, each by itself: nothing of how batches are
/// weighed is in it.
fn answers_gradient(model: &mut LanguageModel, unit: &[&Sequence]) -> Vec<Vec<f32>> {
    let mut sum = GradientSum::new(model.parameters());
    let mut count = 0;
    for sequence in unit {
        for at in 1..sequence.input_ids.len() {
            if sequence.loss_mask[at] {
                let mut batch = Batch::new(&[&sequence.input_ids]).unwrap();
                batch.loss_weights_mut().fill(0.0);
                batch.loss_weights_mut()[at] = 1.0;
                model.forward_backward(&batch, 0, &mut sum).unwrap();
                count += 1;
            }
        }
    }
    let mean = |value: &f32| value / count as f32;
    sum.iter_mut().map(|(_, gradient)| gradient.iter().map(mean).collect()).collect()
}

/// A unit's gradient is the mean over its own answers before it is clipped, whoever is beside it. Where
/// the mean is over a batch's answers, a neighbour without many makes a unit's gradient several times as
/// long as when it is alone, and what is added of it several times the bound.
#[test]
fn gradients_of_answers_are_those_of_each_unit_s_own() {
    let units = masked_units(5);
    let units = borrowed(&units);
    for (what, mut model) in models() {
        let names = names(&model);
        let alone: Vec<Vec<Vec<f32>>> =
            units.iter().map(|unit| answers_gradient(&mut model, unit)).collect();
        let mut norms: Vec<f64> = alone.iter().map(|unit| norm(&unit.concat())).collect();
        norms.sort_by(f64::total_cmp);
        let bound = (norms[2] + norms[3]) / 2.0;
        for function in FUNCTIONS {
            let style = ClippingStyle::AllLayer;
            let clipping = Clipping { function, style, max_grad_norm: bound, stability: 0.01 };
            let mut expected: Vec<Vec<f32>> = Vec::new();
            for unit in &alone {
                let clipped = clip(unit.clone(), &names, &clipping);
                if expected.is_empty() {
                    expected = clipped;
                } else {
                    let all = expected.iter_mut().flatten().zip(clipped.iter().flatten());
                    all.for_each(|(sum, value)| *sum += value);
                }
            }
            let parts: [&[&[Vec<&Sequence>]]; 3] = [
                &[&units[..]],
                &[&units[..2], &units[2..]],
                &[&units[..1], &units[1..4], &units[4..]],
            ];
            for parts in parts {
                let on_cpu = engine(&mut model, parts, clipping).0;
                let on_device = engine_on_device(&model, parts, clipping).0;
                for (engine, found, share) in [("CPU", on_cpu, 2e-5), ("device", on_device, 2e-4)] {
                    for ((name, found), expected) in names.iter().zip(&found).zip(&expected) {
                        let error = distance(found, expected);
                        assert!(
                            error <= share * norm(expected) + 2e-6 * bound,
                            "{what}, {function:?}, {name}, {engine}: {error} of {}",
                            norm(expected)
                        );
                    }
                }
            }
        }
    }
}
