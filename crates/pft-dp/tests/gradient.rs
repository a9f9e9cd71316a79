//! Book-keeping against brute force: every unit's gradient formed on its own in double precision.

use pft_dp::accounting::Phase;
use pft_dp::{
    Clipping, ClippingFunction, ClippingStyle, GradientError, Ledger, LedgerHeader, LinearPieces,
    Mechanism, NOISE_CHUNK, ParameterShape, Plan, PrivateGradient, Randomness, RunSecret,
    UnitOutcome, WeightLayout,
};
use proptest::prelude::*;

const VOCABULARY: usize = 7;
const WIDTH: usize = 5;
const INNER: usize = 11;
const NAMES: [(&str, usize, bool); 5] = [
    ("model.embed.weight", VOCABULARY * WIDTH, true),
    ("model.layers.0.up.weight", WIDTH * INNER, false),
    ("model.layers.0.up.bias", INNER, false),
    ("model.layers.1.conv.weight", INNER * WIDTH, false),
    ("model.norm.weight", WIDTH, false),
];

fn mechanism(clipping: Clipping) -> Mechanism {
    let plan = Plan {
        declared_units: 100,
        units_were_counted: false,
        phase: Phase { sample_rate: 0.1, noise_multiplier: 1.0, steps: 1 },
        delta: 1e-4,
        clipping,
        max_examples_per_unit: 4,
        noise_draws: 1,
    };
    Mechanism::new(plan, false).expect("a mechanism")
}

fn shapes() -> Vec<ParameterShape> {
    NAMES
        .iter()
        .map(|&(name, elements, shared)| ParameterShape { name: name.into(), elements, shared })
        .collect()
}

/// What a backward pass over one sequence hands over.
#[derive(Debug, Clone)]
struct Sequence {
    ids: Vec<u32>,
    hidden: Vec<f32>,
    inner: Vec<f32>,
    by_hidden: Vec<f32>,
    by_inner: Vec<f32>,
    by_logits: Vec<f32>,
    by_norm: Vec<f32>,
}

fn sequence() -> impl Strategy<Value = Sequence> {
    (1_usize..9, any::<u64>(), -2_i32..3).prop_map(|(rows, seed, scale)| {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32) / 8_388_608.0 - 1.0
        };
        let ids = (0..rows).map(|_| ((next() + 1.0) * 3.49) as u32).collect();
        let mut numbers =
            |count: usize| (0..count).map(|_| next() * 4_f32.powi(scale)).collect::<Vec<_>>();
        Sequence {
            ids,
            hidden: numbers(rows * WIDTH),
            inner: numbers(rows * INNER),
            by_hidden: numbers(rows * WIDTH),
            by_inner: numbers(rows * INNER),
            by_logits: numbers(rows * VOCABULARY),
            by_norm: numbers(WIDTH),
        }
    })
}

/// The gradient of each parameter, summed over the sequences of a unit.
fn brute_force(sequences: &[&Sequence]) -> Vec<Vec<f64>> {
    let mut gradients: Vec<Vec<f64>> = NAMES.iter().map(|&(_, n, _)| vec![0.0; n]).collect();
    for sequence in sequences {
        for (row, &id) in sequence.ids.iter().enumerate() {
            for column in 0..WIDTH {
                let hidden = f64::from(sequence.hidden[row * WIDTH + column]);
                let by_hidden = f64::from(sequence.by_hidden[row * WIDTH + column]);
                gradients[0][id as usize * WIDTH + column] += by_hidden;
                for token in 0..VOCABULARY {
                    let by_logit = f64::from(sequence.by_logits[row * VOCABULARY + token]);
                    gradients[0][token * WIDTH + column] += by_logit * hidden;
                }
                for unit in 0..INNER {
                    let by_inner = f64::from(sequence.by_inner[row * INNER + unit]);
                    let inner = f64::from(sequence.inner[row * INNER + unit]);
                    gradients[1][unit * WIDTH + column] += by_inner * hidden;
                    gradients[3][unit * WIDTH + column] += inner * by_hidden;
                }
            }
            for (sum, &by_inner) in gradients[2].iter_mut().zip(&sequence.by_inner[row * INNER..]) {
                *sum += f64::from(by_inner);
            }
        }
        for (sum, &by_norm) in gradients[4].iter_mut().zip(&sequence.by_norm) {
            *sum += f64::from(by_norm);
        }
    }
    gradients
}

/// One pass through the engine; the head comes in chunks of `chunk` rows.
fn pass(
    engine: &mut PrivateGradient<Vec<f32>>,
    sequences: &[Sequence],
    units: &[usize],
    chunk: usize,
) -> Vec<UnitOutcome> {
    let mut offsets = vec![0];
    offsets.extend(sequences.iter().scan(0, |end, sequence| {
        *end += sequence.ids.len();
        Some(*end)
    }));
    let rows = offsets[sequences.len()];
    let joined = |part: fn(&Sequence) -> &Vec<f32>| -> Vec<f32> {
        sequences.iter().flat_map(|sequence| part(sequence).iter().copied()).collect()
    };
    engine.begin(&offsets, units);
    let (hidden, by_logits) = (joined(|s| &s.hidden), joined(|s| &s.by_logits));
    for first_row in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - first_row);
        engine.linear(LinearPieces {
            weight: Some((0, WeightLayout::OutIn)),
            bias: None,
            input: hidden[first_row * WIDTH..(first_row + count) * WIDTH].to_vec(),
            output_gradient: by_logits[first_row * VOCABULARY..(first_row + count) * VOCABULARY]
                .to_vec(),
            rows: count,
            first_row,
        });
    }
    engine.linear(LinearPieces {
        weight: Some((1, WeightLayout::OutIn)),
        bias: Some(2),
        input: hidden,
        output_gradient: joined(|s| &s.by_inner),
        rows,
        first_row: 0,
    });
    engine.linear(LinearPieces {
        weight: Some((3, WeightLayout::InOut)),
        bias: None,
        input: joined(|s| &s.inner),
        output_gradient: joined(|s| &s.by_hidden),
        rows,
        first_row: 0,
    });
    engine.sequence(4, &joined(|s| &s.by_norm));
    let ids: Vec<u32> = sequences.iter().flat_map(|sequence| sequence.ids.clone()).collect();
    engine.lookup(0, &ids, joined(|s| &s.by_hidden));
    engine.end().expect("every parameter")
}

fn clipping() -> impl Strategy<Value = Clipping> {
    (0_usize..3, 0_usize..4, 0.1_f64..30.0).prop_map(|(function, style, max_grad_norm)| Clipping {
        function: [ClippingFunction::Abadi, ClippingFunction::Automatic, ClippingFunction::Global]
            [function],
        style: [
            ClippingStyle::AllLayer,
            ClippingStyle::LayerWise,
            ClippingStyle::ParamWise,
            ClippingStyle::BlockWise,
        ][style],
        max_grad_norm,
        ..Clipping::default()
    })
}

/// Numbers the units of a list without gaps.
fn compact(units: &[usize]) -> Vec<usize> {
    let mut known = Vec::new();
    units
        .iter()
        .map(|unit| {
            known.iter().position(|other| other == unit).unwrap_or_else(|| {
                known.push(*unit);
                known.len() - 1
            })
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn norms_and_sums_are_those_of_brute_force(
        sequences in prop::collection::vec(sequence(), 1..6),
        owners in prop::collection::vec(0_usize..3, 6),
        clipping in clipping(),
        chunk in 1_usize..50,
    ) {
        let units = compact(&owners[..sequences.len()]);
        let mut engine =
            PrivateGradient::new(&mechanism(clipping), shapes());
        pass(&mut engine, &sequences, &units, chunk);
        let names: Vec<&str> = NAMES.iter().map(|&(name, _, _)| name).collect();
        let group = clipping.style.groups(&names);
        let groups = group.iter().max().map_or(1, |last| last + 1);
        let mut expected: Vec<Vec<f64>> = NAMES.iter().map(|&(_, n, _)| vec![0.0; n]).collect();
        let mut near_threshold = false;
        for unit in 0..=*units.iter().max().unwrap() {
            let own: Vec<&Sequence> = sequences
                .iter()
                .zip(&units)
                .filter(|(_, owner)| **owner == unit)
                .map(|(sequence, _)| sequence)
                .collect();
            let gradients = brute_force(&own);
            let mut norms = vec![0.0; groups];
            for (gradient, &group) in gradients.iter().zip(&group) {
                norms[group] += gradient.iter().map(|x| x * x).sum::<f64>();
            }
            let norm = norms.iter().sum::<f64>().sqrt();
            let found = engine.unit_norms()[unit];
            prop_assert!((found - norm).abs() <= 1e-5 * norm, "norm {found} {norm}");
            // Where a norm is at the threshold, rounding may decide to leave a gradient out.
            near_threshold |= norms
                .iter()
                .any(|norm| (norm.sqrt() / clipping.threshold(groups) - 1.0).abs() < 1e-4);
            let mut factors = vec![0.0; groups];
            clipping.factors(&norms, &mut factors);
            for (index, gradient) in gradients.iter().enumerate() {
                for (sum, value) in expected[index].iter_mut().zip(gradient) {
                    *sum += f64::from(factors[group[index]]) * value;
                }
            }
        }
        prop_assume!(!near_threshold);
        let found = engine.take();
        for (found, expected) in found.tensors().iter().zip(&expected) {
            for (&found, &expected) in found.iter().zip(expected) {
                prop_assert!(
                    (f64::from(found) - expected).abs() <= 1e-5 * clipping.max_grad_norm,
                    "sum {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn removing_a_unit_moves_the_sum_by_at_most_the_norm(
        sequences in prop::collection::vec(sequence(), 2..6),
        owners in prop::collection::vec(0_usize..3, 6),
        clipping in clipping(),
        broken in any::<bool>(),
    ) {
        let owners = &owners[..sequences.len()];
        let removed = owners[0];
        let mut sequences = sequences;
        if broken {
            // A unit that is not finite contributes nothing, and spoils nothing.
            sequences[0].hidden[0] = f32::NAN;
            sequences[0].by_inner[1] = f32::INFINITY;
        }
        let sum = |keep: &dyn Fn(usize) -> bool| {
            let mut engine = PrivateGradient::new(&mechanism(clipping), shapes());
            let (own, units): (Vec<Sequence>, Vec<usize>) = sequences
                .iter()
                .cloned()
                .zip(owners.iter().copied())
                .filter(|(_, owner)| keep(*owner))
                .unzip();
            if !own.is_empty() {
                pass(&mut engine, &own, &compact(&units), 1000);
            }
            engine.take()
        };
        let (with, without) = (sum(&|_| true), sum(&|owner| owner != removed));
        let distance = with
            .tensors()
            .iter()
            .zip(without.tensors())
            .flat_map(|(with, without)| with.iter().zip(without))
            .map(|(with, without)| f64::from(with - without).powi(2))
            .sum::<f64>()
            .sqrt();
        // Rounding of the sums themselves is beside the point: allow a part in 1e5 of them.
        let size = with.tensors().iter().flatten().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        prop_assert!(distance.is_finite());
        prop_assert!(
            distance <= clipping.max_grad_norm * (1.0 + 1e-5) + 1e-6 * size,
            "{distance} of {}", clipping.max_grad_norm
        );
        if broken {
            prop_assert!(distance <= 1e-5 * clipping.max_grad_norm + 1e-6 * size);
        }
    }
}

#[test]
fn passes_add_up_and_an_empty_step_is_zero() {
    let clipping = Clipping::default();
    let mut engine: PrivateGradient<Vec<f32>> =
        PrivateGradient::new(&mechanism(clipping), shapes());
    let empty = engine.take();
    assert!(empty.tensors().iter().flatten().all(|&value| value == 0.0));
    assert_eq!(empty.l2_sensitivity(), 1.0);
    // Nobody gave the memory back, and the next step's noise must still reach every element.
    let again = engine.take();
    let lengths =
        |sum: &pft_dp::ClippedSum| -> Vec<usize> { sum.tensors().iter().map(Vec::len).collect() };
    assert_eq!(lengths(&again), shapes().iter().map(|shape| shape.elements).collect::<Vec<_>>());
    assert_eq!(lengths(&again), lengths(&empty));
}

/// Noise on a step without units is all that its mean holds: of deviation σ·C / (q·N₀), on every
/// tensor, by a divisor that no data decided.
#[test]
fn noise_has_the_mechanism_s_level_on_every_tensor() {
    let folder = tempfile::tempdir().expect("a folder");
    let elements = 200_000;
    let shapes = |count: usize| -> Vec<ParameterShape> {
        (0..count)
            .map(|index| ParameterShape {
                name: format!("model.layers.{index}.up.weight"),
                elements,
                shared: false,
            })
            .collect()
    };
    for style in [ClippingStyle::AllLayer, ClippingStyle::LayerWise, ClippingStyle::ParamWise] {
        let clipping = Clipping { style, max_grad_norm: 0.3, ..Clipping::default() };
        let mechanism = mechanism(clipping);
        let secret = RunSecret::new(Randomness::FixedSeed(8)).expect("a secret");
        let header = LedgerHeader::new(
            &mechanism,
            Randomness::FixedSeed(8),
            secret.commitment(),
            Default::default(),
        );
        let path = folder.path().join(format!("{style:?}.jsonl"));
        let mut ledger = Ledger::open(&path, &header).expect("a ledger");
        let mut engine: PrivateGradient<Vec<f32>> = PrivateGradient::new(&mechanism, shapes(3));
        let receipt = ledger.record(&mechanism, 0).expect("a receipt");
        let mean = engine.take().privatize(&mechanism, &mechanism.noise(&secret), &receipt);
        assert_eq!(mean.parameters(), 3);
        // Noise multiplier 1, norm 0.3, expected batch size 100 · 0.1.
        let expected = 1.0 * 0.3 / 10.0;
        for index in 0..mean.parameters() {
            let tensor = mean.tensor(index);
            let sum: f64 = tensor.iter().map(|&value| f64::from(value)).sum();
            let squares: f64 = tensor.iter().map(|&value| f64::from(value).powi(2)).sum();
            let (mean, deviation) = (sum / elements as f64, (squares / elements as f64).sqrt());
            assert!(mean.abs() < 5.0 * expected / (elements as f64).sqrt(), "tensor {index}");
            assert!((deviation / expected - 1.0).abs() < 0.01, "tensor {index}: {deviation}");
        }
    }
}

/// The optimizer reads a mean in blocks, a device takes it whole: one noise, however it is drawn, and a
/// table of which few rows were looked up gets it on every row.
#[test]
fn a_mean_is_the_same_in_blocks_and_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let mechanism = mechanism(Clipping::default());
    let secret = RunSecret::new(Randomness::FixedSeed(8)).expect("a secret");
    let randomness = Randomness::FixedSeed(8);
    let header = LedgerHeader::new(&mechanism, randomness, secret.commitment(), Default::default());
    let mut ledger = Ledger::open(&folder.path().join("l.jsonl"), &header).expect("a ledger");
    let shape =
        |name: &str, elements| ParameterShape { name: name.into(), elements, shared: false };
    let (rows, width) = (3000, 7);
    let shapes = vec![shape("embed.weight", rows * width), shape("norm.weight", 9000)];
    let mut engine: PrivateGradient<Vec<f32>> = PrivateGradient::new(&mechanism, shapes);
    let noise = mechanism.noise(&secret);
    let mut sum_of_step = |step: u64, engine: &mut PrivateGradient<Vec<f32>>| {
        engine.begin(&[0, 3], &[0]);
        let scale = 1.0 + step as f32;
        engine.lookup(0, &[2, 1999, 2], (0..3 * width).map(|x| x as f32 * scale).collect());
        engine.sequence(1, &vec![0.5; 9000]);
        engine.end().expect("all gradients came");
        let sum = engine.take();
        let plain = sum.tensors();
        let receipt = ledger.record(&mechanism, step).expect("a receipt");
        (plain, sum.privatize(&mechanism, &noise, &receipt))
    };
    for step in 0..2 {
        let (plain, mean) = sum_of_step(step, &mut engine);
        let touched = plain[0].iter().filter(|&&value| value != 0.0).count();
        assert!((2 * width - 1..=2 * width).contains(&touched), "{touched}");
        let whole: Vec<Vec<f32>> = (0..2).map(|parameter| mean.tensor(parameter)).collect();
        for (parameter, whole) in whole.iter().enumerate() {
            let (mut room, mut blocks) = (Vec::new(), Vec::new());
            for start in (0..whole.len()).step_by(2 * NOISE_CHUNK) {
                let end = whole.len().min(start + 2 * NOISE_CHUNK);
                blocks.extend_from_slice(mean.block(parameter, start..end, &mut room));
            }
            assert_eq!(&blocks, whole);
            assert!(whole.iter().all(|&value| value != 0.0), "every element gets noise");
        }
        // Without the sum, what is left is the noise: (sum + noise) / 10.
        let noise: Vec<f64> = whole[0]
            .iter()
            .zip(&plain[0])
            .map(|(&noised, &sum)| 10.0 * f64::from(noised) - f64::from(sum))
            .collect();
        let deviation =
            (noise.iter().map(|noise| noise * noise).sum::<f64>() / noise.len() as f64).sqrt();
        assert!((deviation - 1.0).abs() < 0.03, "{deviation}");
        engine.recycle(mean);
    }
    let (_, mean) = sum_of_step(2, &mut engine);
    assert_eq!(mean.tensor(1), mean.into_tensors()[1]);
}

#[test]
fn a_parameter_without_a_gradient_is_refused_by_name() {
    let mut engine: PrivateGradient<Vec<f32>> =
        PrivateGradient::new(&mechanism(Clipping::default()), shapes());
    engine.begin(&[0, 2], &[0]);
    engine.sequence(4, &[1.0; WIDTH]);
    assert_eq!(engine.end(), Err(GradientError::Missing("model.embed.weight".into())));
}
