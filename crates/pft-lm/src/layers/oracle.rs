//! Every layer against plain candle operations in f64: the output, the gradients by candle's
//! autograd, and one directional derivative by finite differences.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Tensor as Candle, Var};

use crate::buffer::{Buffer, Matrix, Pool};
use crate::config::{Activation, RopeConfig};
use crate::gradient::{EmbeddingGradient, SequenceGradient, Sequences};
use crate::gradient::{GradientSink, GradientSum, HeadRows, LinearGradient};
use crate::kernels::matmul::Layout;
use crate::layers::attention::heads::{Columns, Heads, Order, columns};
use crate::layers::attention::{self, Projected};
use crate::layers::cross_entropy::{Head, Targets};
use crate::layers::linear::Linear;
use crate::layers::lora::Adapter;
use crate::layers::norm::Norm;
use crate::layers::rope::Rope;
use crate::layers::{Pass, embedding, gated, gelu, lora};
use crate::parameters::{ParameterId, ParameterKind, ParameterSpec, Parameters, Tensor};

/// Values in (−1, 1), the same every time.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn buffer(pool: &Pool, values: &[f32]) -> Buffer {
    let mut buffer = pool.take(values.len());
    buffer.copy_from_slice(values);
    buffer
}

fn matrix(pool: &Pool, values: &[f32], width: usize) -> Matrix {
    Matrix::new(buffer(pool, values), values.len() / width, width)
}

fn var(values: &[f32], shape: &[usize]) -> Var {
    let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    Var::from_vec(wide, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Candle) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

fn close(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f64, |max, value| max.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let distance = (f64::from(*found) - expected).abs() / largest;
        assert!(distance < 1e-5, "{what}[{index}]: {found} is not {expected}");
    }
}

type Values<'a> = &'a [(&'a str, &'a [f32])];

/// Checks a layer's output and gradients: `output` and `gradients` are ours, in the order of
/// `inputs`; `oracle` computes the output from the inputs.
fn check(
    inputs: &[(&str, &[f32], &[usize])],
    oracle: impl Fn(&[Candle]) -> Candle,
    by_output: &[f32],
    output: &[f32],
    gradients: Values<'_>,
) {
    let vars: Vec<Var> = inputs.iter().map(|(_, values, shape)| var(values, shape)).collect();
    let tensors = |vars: &[Var]| vars.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>();
    let expected = oracle(&tensors(&vars));
    close("output", output, &values(&expected));
    let g = var(by_output, expected.dims());
    let loss = |output: &Candle| (output * g.as_tensor()).unwrap().sum_all().unwrap();
    let store = loss(&expected).backward().unwrap();
    for (name, found) in gradients {
        let index = inputs.iter().position(|(input, ..)| input == name).unwrap();
        close(name, found, &values(store.get(&vars[index]).unwrap()));
        // The derivative along a direction, by central differences.
        let (_, at, shape) = inputs[index];
        let direction = numbers(at.len(), 77);
        let step = 1e-5;
        let moved = |sign: f64| {
            let shift = (var(&direction, shape).as_tensor() * (sign * step)).unwrap();
            let mut moved = tensors(&vars);
            moved[index] = (&moved[index] + shift).unwrap();
            values(&loss(&oracle(&moved)))[0]
        };
        let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        let ours: f64 =
            found.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let scale: f64 = found.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
        assert!((ours - slope).abs() < 1e-5 * scale.max(1.0), "{name}: {ours} is not {slope}");
    }
}

/// A table of named parameters, all trainable.
fn table(entries: &[(&str, &[f32], &[usize])]) -> Parameters {
    let mut parameters = Parameters::new();
    for (name, values, shape) in entries {
        let spec = ParameterSpec::new(*name, shape, ParameterKind::Weight);
        parameters.insert(spec, Tensor::new(shape, values.to_vec()).unwrap(), true).unwrap();
    }
    parameters
}

/// What layers look at; `seeds` are those of dropout.
fn pass<'a>(
    parameters: &'a Parameters,
    pool: &'a Pool,
    sequences: Sequences<'a>,
    seeds: Option<&'a [u64]>,
) -> Pass<'a> {
    Pass { parameters, pool, ropes: &[], sequences, positions: &[], seeds, int8: &[] }
}

/// Sums as [`GradientSum`] does, but asks for whole sequences of the head.
struct Whole(GradientSum);

impl GradientSink for Whole {
    fn begin(&mut self, sequences: Sequences<'_>) {
        self.0.begin(sequences);
    }
    fn linear(&mut self, pieces: LinearGradient<'_>) {
        self.0.linear(pieces);
    }
    fn embedding(&mut self, pieces: EmbeddingGradient<'_>) {
        self.0.embedding(pieces);
    }
    fn sequence(&mut self, pieces: SequenceGradient<'_>) {
        self.0.sequence(pieces);
    }
    fn head_rows(&self) -> HeadRows {
        HeadRows::WholeSequences
    }
}

#[test]
fn norms() {
    let pool = Pool::new();
    let (width, sequences) = (37, [0usize, 3, 8]);
    let count = 8 * width;
    let (x, g, skip) = (numbers(count, 1), numbers(count, 2), numbers(count, 3));
    let (scale, shift) = (numbers(width, 4), numbers(width, 5));
    for shifted in [true, false] {
        let parameters = table(&[("scale", &scale, &[width]), ("shift", &shift, &[width])]);
        let norm = Norm {
            scale: ParameterId(0),
            shift: shifted.then_some(ParameterId(1)),
            eps: 1e-5,
            from_one: false,
            rows_per_token: 1,
        };
        let (output, stats) = norm.forward(&pass(&parameters, &pool, &sequences, None), &x);
        let mut by_input = g.clone();
        let mut sum = GradientSum::new(&parameters);
        let at = (&x[..], &stats[..]);
        norm.backward(
            &pass(&parameters, &pool, &sequences, None),
            at,
            &mut by_input,
            &skip,
            &mut sum,
        );
        for (by_input, skip) in by_input.iter_mut().zip(&skip) {
            *by_input -= skip;
        }
        let by_scale = sum.get(ParameterId(0)).unwrap().to_vec();
        let by_shift = sum.get(ParameterId(1)).unwrap().to_vec();
        let mut gradients = vec![("x", &by_input[..]), ("scale", &by_scale[..])];
        if shifted {
            gradients.push(("shift", &by_shift));
        }
        let oracle = |t: &[Candle]| {
            let mean = if shifted {
                t[0].mean_keepdim(D::Minus1).unwrap()
            } else {
                (t[0].mean_keepdim(D::Minus1).unwrap() * 0.0).unwrap()
            };
            let centred = t[0].broadcast_sub(&mean).unwrap();
            let variance = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
            let normed = centred.broadcast_div(&(variance + 1e-5).unwrap().sqrt().unwrap());
            let scaled = normed.unwrap().broadcast_mul(&t[1]).unwrap();
            if shifted { scaled.broadcast_add(&t[2]).unwrap() } else { scaled }
        };
        let inputs: [(&str, &[f32], &[usize]); 3] =
            [("x", &x, &[8, width]), ("scale", &scale, &[width]), ("shift", &shift, &[width])];
        check(&inputs, oracle, &g, output.as_slice(), &gradients);
    }
}

#[test]
fn activations() {
    let count = 203;
    let x: Vec<f32> = numbers(count, 1).iter().map(|x| 4.0 * x).collect();
    let (up, g) = (numbers(count, 2), numbers(count, 3));
    for exact in [false, true] {
        let mut y = vec![0.0; count];
        gelu::forward(&x, &mut y, exact);
        let mut by_x = x.clone();
        gelu::backward(&mut by_x, &g, exact);
        let oracle =
            |t: &[Candle]| if exact { t[0].gelu_erf().unwrap() } else { t[0].gelu().unwrap() };
        check(&[("x", &x, &[count])], oracle, &g, &y, &[("x", &by_x)]);
    }
    let pool = Pool::new();
    for activation in [Activation::Silu, Activation::GeluNew, Activation::Gelu] {
        let mut y = vec![0.0; count];
        gated::forward(activation, &x, &up, &mut y);
        let (mut by_gate, mut by_up) = (x.clone(), up.clone());
        gated::backward(activation, &pool, &mut by_gate, &mut by_up, &g);
        let oracle = |t: &[Candle]| {
            let active = match activation {
                Activation::Silu => t[0].silu(),
                Activation::GeluNew => t[0].gelu(),
                Activation::Gelu => t[0].gelu_erf(),
            };
            (active.unwrap() * &t[1]).unwrap()
        };
        let inputs: [(&str, &[f32], &[usize]); 2] = [("gate", &x, &[count]), ("up", &up, &[count])];
        check(&inputs, oracle, &g, &y, &[("gate", &by_gate), ("up", &by_up)]);
    }
}

#[test]
fn rotary_positions() {
    let config = RopeConfig { theta: 1e4, scaling: None, rotary_dim: 8, interleaved: false };
    let mut rope = Rope::new(&config);
    rope.reach(9);
    let positions = [0, 5, 8, 1];
    let (x, g) = (numbers(4 * 24, 1), numbers(4 * 24, 2));
    let (mut y, mut by_x) = (x.clone(), g.clone());
    let heads = (Columns { first: 0, step: 8, stride: 24 }, 3);
    rope.apply(&mut y, heads, &positions, false);
    rope.apply(&mut by_x, heads, &positions, true);
    let angle =
        |position: u32, i: usize| f64::from(position) / 10_000f64.powf((2 * (i % 4)) as f64 / 8.0);
    let tabled = |f: fn(f64) -> f64| {
        let table: Vec<f64> =
            positions.iter().flat_map(|&p| (0..8).map(move |i| f(angle(p, i)))).collect();
        Candle::from_vec(table, (4, 1, 8), &Device::Cpu).unwrap()
    };
    let oracle = |t: &[Candle]| {
        let heads = t[0].reshape((4, 3, 8)).unwrap();
        let (low, high) = (heads.narrow(2, 0, 4).unwrap(), heads.narrow(2, 4, 4).unwrap());
        let turned = Candle::cat(&[high.neg().unwrap(), low], 2).unwrap();
        let straight = heads.broadcast_mul(&tabled(f64::cos)).unwrap();
        let turned = turned.broadcast_mul(&tabled(f64::sin)).unwrap();
        (straight + turned).unwrap().reshape((4, 24)).unwrap()
    };
    check(&[("x", &x, &[4, 24])], oracle, &g, &y, &[("x", &by_x)]);
}

#[test]
fn a_part_of_each_head_turns_in_pairs_of_either_kind() {
    // Two heads of six, of which four turn, one number into rows of fourteen.
    let columns = Columns { first: 1, step: 6, stride: 14 };
    for interleaved in [false, true] {
        let mut rope =
            Rope::new(&RopeConfig { theta: 100.0, scaling: None, rotary_dim: 4, interleaved });
        rope.reach(8);
        let x = numbers(28, 1);
        let mut y = x.clone();
        rope.apply(&mut y, (columns, 2), &[3, 7], false);
        let mut expected = x.clone();
        for (row, position) in [3.0f64, 7.0].into_iter().enumerate() {
            for head in 0..2 {
                for i in 0..2 {
                    let (sine, cosine) = (position * 100f64.powf(-0.5 * i as f64)).sin_cos();
                    let first = row * 14 + 1 + head * 6;
                    let (a, b) = if interleaved { (2 * i, 2 * i + 1) } else { (i, i + 2) };
                    let pair = (f64::from(x[first + a]), f64::from(x[first + b]));
                    expected[first + a] = (pair.0 * cosine - pair.1 * sine) as f32;
                    expected[first + b] = (pair.1 * cosine + pair.0 * sine) as f32;
                }
            }
        }
        let far = y.iter().zip(&expected).map(|(y, e)| (y - e).abs()).fold(0.0, f32::max);
        assert!(far < 1e-6, "{far}");
        rope.apply(&mut y, (columns, 2), &[3, 7], true);
        assert!(y.iter().zip(&x).all(|(y, x)| (y - x).abs() < 1e-6), "the way back");
    }
}

/// Softmax attention of one sequence in candle; `[length, heads · dim]` each.
fn attend(q: &Candle, k: &Candle, v: &Candle, heads: Heads) -> Candle {
    let length = q.dim(0).unwrap();
    let split = |x: &Candle, count: usize| {
        x.reshape((length, count, heads.dim)).unwrap().transpose(0, 1).unwrap()
    };
    let shared = |x: &Candle| {
        let x = split(x, heads.keys).unsqueeze(1).unwrap();
        let group = heads.queries / heads.keys;
        let shape = (heads.keys, group, length, heads.dim);
        x.broadcast_as(shape).unwrap().reshape((heads.queries, length, heads.dim)).unwrap()
    };
    let (k, v) = (shared(k).contiguous().unwrap(), shared(v).contiguous().unwrap());
    let scores = split(q, heads.queries).contiguous().unwrap().matmul(&k.t().unwrap()).unwrap();
    let mut scores = (scores * f64::from(heads.scale)).unwrap();
    if let Some(cap) = heads.soft_cap.map(f64::from) {
        scores = ((scores / cap).unwrap().tanh().unwrap() * cap).unwrap();
    }
    let window = heads.window.unwrap_or(length);
    let hidden = |query: usize, key: usize| key > query || key + window <= query;
    let mask: Vec<f64> = (0..length * length)
        .map(|i| if hidden(i / length, i % length) { -1e30 } else { 0.0 })
        .collect();
    let mask = Candle::from_vec(mask, (1, length, length), &Device::Cpu).unwrap();
    let p = candle_nn::ops::softmax(&scores.broadcast_add(&mask).unwrap(), D::Minus1).unwrap();
    let width = heads.queries * heads.dim;
    p.matmul(&v).unwrap().transpose(0, 1).unwrap().reshape((length, width)).unwrap()
}

#[test]
fn grouped_and_fused_attention() {
    let pool = Pool::new();
    // The middle sequence reaches past one block of queries and not to the end of a second.
    let sequences = [0usize, 5, 105, 106];
    let rows = 106;
    for (queries, keys, fused, window, soft_cap) in [
        (4, 2, None, None, None),
        (3, 3, Some(Order::ByKind), None, None),
        (2, 1, None, None, None),
        (3, 3, Some(Order::ByHead), None, None),
        (4, 2, None, Some(7), None),
        (2, 1, None, Some(1), None),
        (4, 2, Some(Order::ByKind), Some(70), Some(2.0)),
        (2, 2, None, None, Some(1.5)),
    ] {
        let heads = Heads { window, soft_cap, scale: 0.3, ..Heads::new(queries, keys, 8) };
        let (q_width, k_width) = (heads.query_width(), heads.key_width());
        let scaled = |count, seed| numbers(count, seed).iter().map(|x| 3.0 * x).collect();
        let q: Vec<f32> = scaled(rows * q_width, 1);
        let k: Vec<f32> = scaled(rows * k_width, 2);
        let (v, g) = (numbers(rows * k_width, 3), numbers(rows * q_width, 4));
        let places = columns(heads, fused);
        let counts = [queries, keys, keys];
        let mut projected = if let Some(order) = fused {
            let mut all = vec![0.0; rows * places[0].stride];
            for row in 0..rows {
                for (part, (columns, count)) in [&q, &k, &v].iter().zip(places.iter().zip(counts)) {
                    for head in 0..count {
                        let from = &part[(row * count + head) * 8..][..8];
                        let at = row * columns.stride + columns.of(head);
                        all[at..at + 8].copy_from_slice(from);
                    }
                }
            }
            Projected::Fused(buffer(&pool, &all), order)
        } else {
            let [q, k, v] = [&q, &k, &v].map(|part| buffer(&pool, part));
            Projected::Split { q, k, v }
        };
        let (output, lse) = attention::forward(&pool, &mut projected, heads, &sequences);
        attention::backward(&pool, &mut projected, heads, &sequences, &lse, &g);
        let [by_q, by_k, by_v] = match &projected {
            Projected::Split { q, k, v } => [q, k, v].map(|part| part.to_vec()),
            Projected::Fused(all, _) => [0, 1, 2].map(|part| {
                let columns = places[part];
                all.chunks_exact(columns.stride)
                    .flat_map(|row| {
                        (0..counts[part]).flat_map(move |head| &row[columns.of(head)..][..8])
                    })
                    .copied()
                    .collect()
            }),
        };
        for &first in &sequences[..sequences.len() - 1] {
            // One key has all the weight, whatever the query.
            let row = &by_q[first * q_width..(first + 1) * q_width];
            assert!(row.iter().all(|&value| value == 0.0), "{row:?}");
        }
        let oracle = |t: &[Candle]| {
            let parts: Vec<Candle> = sequences
                .windows(2)
                .map(|range| {
                    let part = |x: &Candle| x.narrow(0, range[0], range[1] - range[0]).unwrap();
                    attend(&part(&t[0]), &part(&t[1]), &part(&t[2]), heads)
                })
                .collect();
            Candle::cat(&parts, 0).unwrap()
        };
        let inputs: [(&str, &[f32], &[usize]); 3] =
            [("q", &q, &[rows, q_width]), ("k", &k, &[rows, k_width]), ("v", &v, &[rows, k_width])];
        check(&inputs, oracle, &g, &output, &[("q", &by_q), ("k", &by_k), ("v", &by_v)]);
    }
}

#[test]
fn linear_layers_with_bias_and_adapter() {
    let pool = Pool::new();
    let (rows, inputs, outputs, rank) = (9, 20, 14, 3);
    let (x, g) = (numbers(rows * inputs, 1), numbers(rows * outputs, 2));
    let w = numbers(inputs * outputs, 3);
    let bias = numbers(outputs, 4);
    let (a, b) = (numbers(rank * inputs, 5), numbers(outputs * rank, 6));
    for layout in [Layout::OutIn, Layout::InOut] {
        let shape = match layout {
            Layout::OutIn => [outputs, inputs],
            Layout::InOut => [inputs, outputs],
        };
        let entries: [(&str, &[f32], &[usize]); 4] = [
            ("w", &w, &shape),
            ("bias", &bias, &[outputs]),
            ("a", &a, &[rank, inputs]),
            ("b", &b, &[outputs, rank]),
        ];
        let parameters = table(&entries);
        let (a, b) = (ParameterId(2), ParameterId(3));
        let linear = Linear {
            weight: ParameterId(0),
            bias: Some(ParameterId(1)),
            layout,
            inputs,
            outputs,
            adapter: Some(Adapter { a, b, rank, scale: 1.5, dropout: 0.0, index: 0 }),
        };
        let pass = pass(&parameters, &pool, &[0, 9], None);
        let input = matrix(&pool, &x, inputs);
        let unbiased = Linear { bias: None, ..linear.clone() };
        for linear in [&linear, &unbiased] {
            let [alone, with_skip] =
                [None, Some(&g[..])].map(|skip| linear.forward(&pass, &input, skip).0);
            for ((found, alone), skip) in with_skip.iter().zip(alone.iter()).zip(&g) {
                assert!((found - (alone + skip)).abs() < 1e-5);
            }
        }
        let (output, cache) = linear.forward(&pass, &input, None);
        let mut by_x = vec![f32::NAN; x.len()];
        let mut sum = GradientSum::new(&parameters);
        let by_output = matrix(&pool, &g, outputs);
        let target = Some((&mut by_x[..], false));
        linear.backward(&pass, cache, &by_output, target, &mut sum);
        let found = [0, 1, 2, 3].map(|id| sum.get(ParameterId(id)).unwrap().to_vec());
        let gradients = [
            ("x", &by_x[..]),
            ("w", &found[0]),
            ("bias", &found[1]),
            ("a", &found[2]),
            ("b", &found[3]),
        ];
        let oracle = |t: &[Candle]| {
            let w = if layout == Layout::OutIn { t[0].t().unwrap() } else { t[0].clone() };
            let plain = t[4].matmul(&w).unwrap().broadcast_add(&t[1]).unwrap();
            let low = t[4].matmul(&t[2].t().unwrap()).unwrap();
            (plain + (low.matmul(&t[3].t().unwrap()).unwrap() * 1.5).unwrap()).unwrap()
        };
        let x_entry: (&str, &[f32], &[usize]) = ("x", &x, &[rows, inputs]);
        let all: Vec<_> = entries.into_iter().chain([x_entry]).collect();
        check(&all, oracle, &g, &output, &gradients);
    }
}

#[test]
fn dropout_keeps_its_share_and_its_mask() {
    let pool = Pool::new();
    let (rows, width) = (200, 50);
    let identity: Vec<f32> =
        (0..width * width).map(|i| if i % (width + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let zeros = vec![0.0; width * width];
    let parameters = table(&[
        ("w", &zeros, &[width, width]),
        ("a", &identity, &[width, width]),
        ("b", &identity, &[width, width]),
    ]);
    let (a, b) = (ParameterId(1), ParameterId(2));
    let adapter = Adapter { a, b, rank: width, scale: 1.0, dropout: 0.25, index: 3 };
    let linear = Linear {
        weight: ParameterId(0),
        bias: None,
        layout: Layout::OutIn,
        inputs: width,
        outputs: width,
        adapter: Some(adapter),
    };
    let ones = matrix(&pool, &vec![1.0; rows * width], width);
    let sequences = [0, 120, 200];
    let tokens: Vec<u32> = (0..200).collect();
    let seeds = [9, 10].map(|seed| lora::row_seeds(seed, &tokens, &sequences));
    let dropping = pass(&parameters, &pool, &sequences, Some(&seeds[0]));
    let other = pass(&parameters, &pool, &sequences, Some(&seeds[1]));
    let plain = pass(&parameters, &pool, &sequences, None);
    let run = |pass: &Pass<'_>| linear.forward(pass, &ones, None);
    let (output, cache) = run(&dropping);
    assert_eq!(lora::row_seeds(9, &tokens[120..], &[0, 80]), seeds[0][120..], "no mates' draw");
    let kept = output.iter().filter(|&&value| value != 0.0).count() as f64;
    assert!((kept / (rows * width) as f64 - 0.75).abs() < 0.02);
    assert!(output.iter().all(|&value| value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
    assert!(run(&plain).0.iter().all(|&value| value == 1.0), "no dropout outside training");
    assert!(run(&other).0[..] != output[..], "another step, another mask");
    // With identities all around, the input's gradient is the mask itself.
    let mut by_x = vec![0.0; rows * width];
    let target = Some((&mut by_x[..], false));
    let mut sum = GradientSum::new(&parameters);
    linear.backward(&dropping, cache, &ones, target, &mut sum);
    assert_eq!(by_x, output.to_vec());
}

#[test]
fn embeddings() {
    let pool = Pool::new();
    let (tokens, positions) = (numbers(5 * 6, 1), numbers(4 * 6, 2));
    let (ids, places) = ([4u32, 1, 4, 0], [0u32, 1, 2, 0]);
    let g = numbers(4 * 6, 3);
    let parameters = table(&[("tokens", &tokens, &[5, 6]), ("positions", &positions, &[4, 6])]);
    let tensor = |id| &parameters.get(ParameterId(id)).tensor;
    let output = embedding::forward(&pool, tensor(0), &ids, Some((tensor(1), &places)), 6);
    let mut sum = GradientSum::new(&parameters);
    let by_output = matrix(&pool, &g, 6);
    for (table, ids) in [(ParameterId(0), &ids), (ParameterId(1), &places)] {
        sum.embedding(EmbeddingGradient { table, ids, output_gradient: &by_output });
    }
    let found = [0, 1].map(|id| sum.get(ParameterId(id)).unwrap().to_vec());
    let oracle = |t: &[Candle]| {
        let rows = |table: &Candle, ids: &[u32]| {
            table.index_select(&Candle::new(ids, &Device::Cpu).unwrap(), 0).unwrap()
        };
        (rows(&t[0], &ids) + rows(&t[1], &places)).unwrap()
    };
    let inputs: [(&str, &[f32], &[usize]); 2] =
        [("tokens", &tokens, &[5, 6]), ("positions", &positions, &[4, 6])];
    check(&inputs, oracle, &g, &output, &[("tokens", &found[0]), ("positions", &found[1])]);
}

#[test]
fn the_head_and_its_loss() {
    let pool = Pool::new();
    let (rows, width, vocabulary) = (7, 12, 45);
    let hidden: Vec<f32> = numbers(rows * width, 1).iter().map(|x| 3.0 * x).collect();
    let w = numbers(vocabulary * width, 2);
    let tokens = [3, 44, 0, 7, 7, 12, 0];
    let weights = [0.5, 0.25, 0.0, 1.0, -0.75, 0.125, 0.0];
    let sequences = [0usize, 3, 7];
    let parameters = table(&[("w", &w, &[vocabulary, width])]);
    let head = Head {
        weight: ParameterId(0),
        bias: None,
        adapter: None,
        vocabulary,
        width,
        multiplier: 1.0,
        soft_cap: None,
    };
    let targets = Targets { tokens: &tokens, weights: &weights };
    let pass = pass(&parameters, &pool, &sequences, None);
    let hidden_rows = matrix(&pool, &hidden, width);
    let oracle = |t: &[Candle]| {
        let logits = t[0].matmul(&t[1].t().unwrap()).unwrap();
        let logs = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
        let ids = Candle::from_vec(tokens.to_vec(), (rows, 1), &Device::Cpu).unwrap();
        logs.gather(&ids, 1).unwrap().neg().unwrap().reshape(rows).unwrap()
    };
    let inputs: [(&str, &[f32], &[usize]); 2] =
        [("hidden", &hidden, &[rows, width]), ("w", &w, &[vocabulary, width])];
    let mut found = HashMap::new();
    let mut plain = GradientSum::new(&parameters);
    let mut whole = Whole(GradientSum::new(&parameters));
    let sinks: [(&str, &mut dyn GradientSink); 2] = [("any", &mut plain), ("whole", &mut whole)];
    for (name, sink) in sinks {
        let result = head.forward_backward(&pass, &hidden_rows, targets, sink);
        found.insert(name, result);
    }
    let evaluated = head.evaluate(&pass, &hidden_rows, targets);
    for (name, sum) in [("any", &mut plain), ("whole", &mut whole.0)] {
        let (losses, by_hidden) = &found[name];
        assert_eq!(losses, &evaluated);
        let by_w = sum.get(ParameterId(0)).unwrap();
        check(&inputs, oracle, &weights, losses, &[("hidden", by_hidden), ("w", by_w)]);
    }
}
