//! The clipping engine for devices, on candle's CPU backend, against the CPU's: the same pieces
//! give the same norms, outcomes and sums.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use pft_dp::accounting::Phase;
use pft_dp::{
    Clipping, ClippingFunction, ClippingStyle, DeviceGradient, DevicePieces, GradientError,
    LinearPieces, Mechanism, ParameterShape, Plan, PrivateGradient, UnitOutcome, WeightLayout,
};

const FUNCTIONS: [ClippingFunction; 3] =
    [ClippingFunction::Abadi, ClippingFunction::Automatic, ClippingFunction::Global];
const STYLES: [ClippingStyle; 4] = [
    ClippingStyle::AllLayer,
    ClippingStyle::LayerWise,
    ClippingStyle::ParamWise,
    ClippingStyle::BlockWise,
];

/// A linear map: its weight's place among the parameters, inputs, outputs, layout, bias.
type Map = (usize, usize, usize, WeightLayout, Option<usize>);

const TABLE: (usize, usize) = (9, 6);
/// Small enough to be formed and kept, formed in passing for units of middling length, and always
/// by the ghost identity.
const MAPS: [Map; 3] = [
    (1, 6, 4, WeightLayout::OutIn, Some(2)),
    (3, 16, 16, WeightLayout::InOut, None),
    (4, 40, 60, WeightLayout::OutIn, None),
];
const NORM: (usize, usize) = (5, 6);
const POSITIONS: (usize, usize) = (6, 12);

fn shapes() -> Vec<ParameterShape> {
    let shape =
        |name: &str, elements, shared| ParameterShape { name: name.into(), elements, shared };
    vec![
        shape("model.embed.weight", TABLE.0 * TABLE.1, true),
        shape("model.layers.0.up.weight", 24, false),
        shape("model.layers.0.up.bias", 4, false),
        shape("model.layers.0.conv.weight", 256, false),
        shape("model.layers.1.wide.weight", 2400, false),
        shape("model.norm.weight", NORM.1, false),
        shape("model.positions.weight", POSITIONS.1 * TABLE.1, false),
    ]
}

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
    Mechanism::new(plan, false).unwrap()
}

fn generator(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

/// What one backward pass hands over.
struct Pieces {
    offsets: Vec<usize>,
    units: Vec<usize>,
    ids: Vec<u32>,
    places: Vec<u32>,
    /// Input and output gradient of the head, and of each map.
    head: [Vec<f32>; 2],
    maps: Vec<[Vec<f32>; 2]>,
    by_embedding: Vec<f32>,
    by_norm: Vec<f32>,
}

impl Pieces {
    /// Units of one or two sequences, each of at most twelve rows, and of unlike scale.
    fn new(seed: u64) -> Self {
        let mut next = generator(seed);
        let mut below = |bound: usize| ((next() + 1.0) / 2.0 * bound as f32) as usize % bound;
        let (mut offsets, mut units) = (vec![0], Vec::new());
        for unit in 0..2 + below(4) {
            for _ in 0..1 + below(2) {
                offsets.push(offsets[units.len()] + 1 + below(POSITIONS.1));
                units.push(unit);
            }
        }
        let rows = offsets[units.len()];
        let ids = (0..rows).map(|_| below(TABLE.0) as u32).collect();
        let places = offsets.windows(2).flat_map(|pair| 0..(pair[1] - pair[0]) as u32).collect();
        let scale: Vec<f32> = units.iter().map(|unit| 3f32.powi(*unit as i32 % 3 - 1)).collect();
        let of_row: Vec<usize> = (0..units.len())
            .flat_map(|sequence| (offsets[sequence]..offsets[sequence + 1]).map(move |_| sequence))
            .collect();
        let mut matrix = |columns: usize| -> Vec<f32> {
            (0..rows * columns).map(|i| next() * scale[of_row[i / columns]]).collect()
        };
        let head = [matrix(TABLE.1), matrix(TABLE.0)];
        let maps = MAPS.iter().map(|map| [matrix(map.1), matrix(map.2)]).collect();
        let by_embedding = matrix(TABLE.1);
        let by_norm = (0..units.len() * NORM.1).map(|_| next()).collect();
        Self { offsets, units, ids, places, head, maps, by_embedding, by_norm }
    }

    fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Spoils the first row of a unit.
    fn poison(&mut self, unit: usize, what: usize) {
        let sequence = self.units.iter().position(|&owner| owner == unit).unwrap();
        let row = self.offsets[sequence];
        match what % 5 {
            0 => self.head[1][row * TABLE.0] = f32::NAN,
            1 => self.maps[0][0][row * MAPS[0].1] = f32::INFINITY,
            2 => self.maps[2][1][row * MAPS[2].2] = f32::NEG_INFINITY,
            3 => self.by_embedding[row * TABLE.1] = f32::NAN,
            _ => self.by_norm[sequence * NORM.1] = f32::INFINITY,
        }
    }

    /// The rows at which units begin, and the end.
    fn borders(&self) -> Vec<usize> {
        let starts = (0..self.units.len())
            .filter(|&sequence| sequence == 0 || self.units[sequence] != self.units[sequence - 1])
            .map(|sequence| self.offsets[sequence]);
        starts.chain([self.rows()]).collect()
    }

    fn to_cpu(&self, engine: &mut PrivateGradient<Vec<f32>>) -> Vec<UnitOutcome> {
        engine.begin(&self.offsets, &self.units);
        let pieces = |weight, bias, [input, output]: &[Vec<f32>; 2]| LinearPieces {
            weight: Some(weight),
            bias,
            input: input.clone(),
            output_gradient: output.clone(),
            rows: self.rows(),
            first_row: 0,
        };
        engine.linear(pieces((0, WeightLayout::OutIn), None, &self.head));
        for (&(weight, _, _, layout, bias), sides) in MAPS.iter().zip(&self.maps) {
            engine.linear(pieces((weight, layout), bias, sides));
        }
        engine.sequence(NORM.0, &self.by_norm);
        engine.lookup(POSITIONS.0, &self.places, self.by_embedding.clone());
        engine.lookup(0, &self.ids, self.by_embedding.clone());
        engine.end().unwrap()
    }

    /// The same on the device, with the head cut at the borders of every `chunk` units.
    fn to_device(
        &self,
        engine: &mut DeviceGradient,
        chunk: usize,
    ) -> Result<Vec<UnitOutcome>, GradientError> {
        let matrix = |values: &[f32]| {
            let rows = self.rows();
            Tensor::from_slice(values, (rows, values.len() / rows), &Device::Cpu).unwrap()
        };
        engine.begin(&self.offsets, &self.units);
        let borders = self.borders();
        assert_eq!(engine.borders(), borders);
        let [hidden, by_logits] = self.head.each_ref().map(|side| matrix(side));
        let ends = borders.iter().copied().step_by(chunk).chain([self.rows()]);
        let cuts: Vec<usize> = ends.collect();
        for pair in cuts.windows(2).filter(|pair| pair[0] < pair[1]) {
            let rows = |side: &Tensor| side.narrow(0, pair[0], pair[1] - pair[0]).unwrap();
            engine.linear(DevicePieces {
                weight: Some((0, WeightLayout::OutIn)),
                bias: None,
                input: &rows(&hidden),
                output_gradient: &rows(&by_logits),
                first_row: pair[0],
            })?;
        }
        for (&(weight, _, _, layout, bias), [input, output]) in MAPS.iter().zip(&self.maps) {
            engine.linear(DevicePieces {
                weight: Some((weight, layout)),
                bias,
                input: &matrix(input),
                output_gradient: &matrix(output),
                first_row: 0,
            })?;
        }
        let by_norm = Tensor::from_slice(&self.by_norm, (self.units.len(), NORM.1), &Device::Cpu)?;
        engine.sequence(NORM.0, &by_norm)?;
        engine.lookup(POSITIONS.0, &self.places, &matrix(&self.by_embedding))?;
        engine.lookup(0, &self.ids, &matrix(&self.by_embedding))?;
        engine.end()
    }
}

fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>], bound: f64, what: &str) {
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let distance = f64::from((found - expected).abs());
            assert!(distance <= bound, "{what}, parameter {index}: {found} is not {expected}");
        }
    }
}

/// A threshold that no unit's norm is near, where rounding could decide what is left out.
fn threshold(passes: &[Pieces], style: ClippingStyle) -> f64 {
    let probe = Clipping { style, ..Clipping::default() };
    let mut engine = PrivateGradient::new(&mechanism(probe), shapes());
    let mut norms = Vec::new();
    for pieces in passes {
        pieces.to_cpu(&mut engine);
        norms.extend(engine.unit_norms().into_iter().filter(|norm| norm.is_finite()));
    }
    norms.sort_by(f64::total_cmp);
    let middle = norms.len() / 2;
    (norms[middle - 1] + norms[middle]) / 2.0
}

#[test]
fn sums_norms_and_outcomes_are_those_of_the_cpu() {
    let mut outcomes_seen = [0; 3];
    for seed in 0..12 {
        let mut passes = [Pieces::new(seed), Pieces::new(seed + 100)];
        if seed % 2 == 1 {
            passes[1].poison(1, seed as usize / 2);
        }
        for function in FUNCTIONS {
            for style in STYLES {
                let max_grad_norm = threshold(&passes, style);
                let clipping = Clipping { function, style, max_grad_norm, stability: 0.01 };
                let mut cpu = PrivateGradient::new(&mechanism(clipping), shapes());
                let mut device = DeviceGradient::new(&mechanism(clipping), shapes(), &Device::Cpu);
                let what = format!("seed {seed}, {function:?}, {style:?}");
                for pieces in &passes {
                    let expected = pieces.to_cpu(&mut cpu);
                    let found = pieces.to_device(&mut device, 1 + seed as usize % 3).unwrap();
                    assert_eq!(found, expected, "{what}");
                    for outcome in found {
                        outcomes_seen[outcome as usize] += 1;
                    }
                    for (found, expected) in device.unit_norms().iter().zip(cpu.unit_norms()) {
                        let same = (found - expected).abs() <= 1e-5 * expected;
                        assert!(same || !expected.is_finite(), "{what}: {found} {expected}");
                    }
                }
                let (found, expected) = (device.take().unwrap(), cpu.take());
                assert_eq!(found.l2_sensitivity(), expected.l2_sensitivity());
                let bound = 1e-5 * max_grad_norm;
                assert_close(&found.tensors(), &expected.tensors(), bound, &what);
            }
        }
    }
    assert!(outcomes_seen.iter().all(|&count| count > 0), "{outcomes_seen:?}");
}

#[test]
fn one_unit_moves_the_sum_by_at_most_the_norm_whatever_its_type() {
    for function in FUNCTIONS {
        for style in STYLES {
            let clipping = Clipping { function, style, max_grad_norm: 0.5, stability: 0.01 };
            let mut device = DeviceGradient::new(&mechanism(clipping), shapes(), &Device::Cpu);
            // One unit alone: the sum is its contribution.
            let mut pieces = Pieces::new(3);
            pieces.units.fill(0);
            pieces.to_device(&mut device, 1).unwrap();
            let sum = device.take().unwrap();
            let squares = sum.tensors().into_iter().flatten().map(|x| f64::from(x).powi(2));
            let norm = squares.sum::<f64>().sqrt();
            assert!(norm <= 0.5 * (1.0 + 1e-6), "{function:?}, {style:?}: {norm}");
            assert!(norm > 0.0 || function == ClippingFunction::Global);
        }
    }
}

#[test]
fn bf16_pieces_are_clipped_as_exactly_as_f32_ones() {
    let shapes =
        vec![ParameterShape { name: "up.weight".into(), elements: 64 * 96, shared: false }];
    let clipping = Clipping { function: ClippingFunction::Abadi, ..Clipping::default() };
    let mut next = generator(5);
    for rows in [3, 400] {
        let mut matrix = |columns: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|_| next()).collect();
            let matrix = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
            matrix.to_dtype(DType::BF16).unwrap()
        };
        let (input, output) = (matrix(64), matrix(96));
        let mut device = DeviceGradient::new(&mechanism(clipping), shapes.clone(), &Device::Cpu);
        device.begin(&[0, rows], &[0]);
        let pieces = DevicePieces {
            weight: Some((0, WeightLayout::InOut)),
            bias: None,
            input: &input,
            output_gradient: &output,
            first_row: 0,
        };
        device.linear(pieces).unwrap();
        assert_eq!(device.end().unwrap(), [UnitOutcome::Clipped]);
        let sum = device.take().unwrap();
        let squares = sum.tensors()[0].iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        assert!((squares.sqrt() - 1.0).abs() < 1e-6, "{rows} rows: {}", squares.sqrt());
    }
}

#[test]
fn a_parameter_without_a_gradient_is_refused_and_an_empty_pass_adds_nothing() {
    let clipping = Clipping::default();
    let mut device = DeviceGradient::new(&mechanism(clipping), shapes(), &Device::Cpu);
    device.begin(&[0], &[]);
    assert_eq!(device.end().unwrap(), []);
    device.begin(&[0, 2], &[0]);
    assert_eq!(device.end(), Err(GradientError::Missing("model.embed.weight".into())));
    let sum = device.take().unwrap();
    assert!(sum.tensors().iter().flatten().all(|&value| value == 0.0));
    assert_eq!(sum.tensors().len(), shapes().len());
}

#[test]
#[should_panic(expected = "comes once")]
fn a_row_s_gradient_cannot_come_twice() {
    let clipping = Clipping::default();
    let mut device = DeviceGradient::new(&mechanism(clipping), shapes(), &Device::Cpu);
    device.begin(&[0, 2], &[0]);
    let gradient = Tensor::zeros((1, NORM.1), DType::F32, &Device::Cpu).unwrap();
    device.sequence(NORM.0, &gradient).unwrap();
    let _ = device.sequence(NORM.0, &gradient);
}
