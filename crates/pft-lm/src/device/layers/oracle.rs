//! Every layer's backward against finite differences of its forward, element by element, in f64.
//! That the forward is the right one, `tests/device.rs` shows by the CPU's models.

use candle_core::{DType, Device, Result, Tensor};

use super::attention::{self, Projected};
use super::head::{self, Targets};
use super::rope::Turns;
use super::{Pass, embedding, gated, gelu, layer_norm, linear, norm, rms_norm};
use crate::batch::Batch;
use crate::config::{Activation, RopeConfig};
use crate::device::gradient::{DeviceGradientSum, DeviceSink};
use crate::device::rows::Rows;
use crate::gradient::EmbeddingGradient;
use crate::kernels::matmul::Layout;
use crate::layers::attention::heads::Heads;
use crate::layers::cross_entropy::Head;
use crate::layers::linear::Linear;
use crate::layers::lora::{self, Adapter};
use crate::layers::norm::Norm;
use crate::layers::rope::Rope;
use crate::parameters::ParameterId;

/// Values in (−1, 1), the same every time.
fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let values: Vec<f64> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Checks `gradients`, one for each input, of Σ output · `by_output`.
fn check(
    inputs: &[Tensor],
    by_output: &Tensor,
    forward: impl Fn(&[Tensor]) -> Result<Tensor>,
    gradients: &[Tensor],
) {
    let step = 1e-5;
    let loss = |inputs: &[Tensor]| -> f64 {
        values(&forward(inputs).unwrap()).iter().zip(values(by_output)).map(|(o, g)| o * g).sum()
    };
    for (index, gradient) in gradients.iter().enumerate() {
        assert_eq!(gradient.elem_count(), inputs[index].elem_count(), "input {index}");
        let at = values(&inputs[index]);
        let moved = |element: usize, by: f64| {
            let mut values = at.clone();
            values[element] += by;
            let mut inputs = inputs.to_vec();
            let shape = inputs[index].dims().to_vec();
            inputs[index] = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
            loss(&inputs)
        };
        for (element, found) in values(gradient).into_iter().enumerate() {
            let slope = (moved(element, step) - moved(element, -step)) / (2.0 * step);
            let distance = (found - slope).abs();
            assert!(
                distance < 1e-7 * slope.abs().max(1.0),
                "input {index}, element {element}: {found} is not {slope}"
            );
        }
    }
}

/// The rows of sequences of these lengths.
fn rows(lengths: &[usize]) -> Rows {
    let sequences: Vec<Vec<u32>> = lengths.iter().map(|&length| vec![0; length]).collect();
    Rows::new(&Batch::new(&sequences).unwrap(), 4, &[None, Some(2)], DType::F64, &Device::Cpu)
        .unwrap()
}

fn pass<'a>(weights: &'a [Tensor], rows: &'a Rows) -> Pass<'a> {
    Pass { weights, trainable: &[true; 8], rows, turns: &[], seeds: None }
}

/// A sum over these parameters.
fn sum_of(parameters: &[Tensor]) -> DeviceGradientSum {
    let shapes = parameters.iter().map(|parameter| Some(parameter.dims().to_vec()));
    DeviceGradientSum::new(shapes.collect(), Device::Cpu)
}

#[test]
fn norms() {
    let (x, g) = (numbers(&[6, 7], 1), numbers(&[6, 7], 2));
    let (scale, shift) = (numbers(&[7], 3), numbers(&[7], 4));
    let rows = rows(&[2, 3, 1]);
    for shifted in [true, false] {
        let norm = Norm {
            scale: ParameterId(0),
            shift: shifted.then_some(ParameterId(1)),
            eps: 1e-2,
            from_one: false,
            rows_per_token: 1,
        };
        let parameters = [scale.clone(), shift.clone()];
        let mut sum = sum_of(&parameters);
        let by_x = norm::backward(&norm, &pass(&parameters, &rows), &x, &g, &mut sum).unwrap();
        let sums = sum.in_order().unwrap();
        let forward = |t: &[Tensor]| match shifted {
            true => layer_norm::forward(&t[0], &t[1], &t[2], f64::from(norm.eps)),
            false => rms_norm::forward(&t[0], &t[1], f64::from(norm.eps)),
        };
        let gradients = [by_x, sums[0].clone(), sums[1].clone()];
        let count = if shifted { 3 } else { 2 };
        check(&[x.clone(), scale.clone(), shift.clone()], &g, forward, &gradients[..count]);
    }
}

#[test]
fn activations() {
    let x = (numbers(&[40], 1) * 4.0).unwrap();
    let (up, g) = (numbers(&[40], 2), numbers(&[40], 3));
    for exact in [false, true] {
        let by_x = gelu::backward(&x, &g, exact).unwrap();
        let inputs = std::slice::from_ref(&x);
        check(inputs, &g, |t| gelu::forward(&t[0], exact), &[by_x]);
    }
    for activation in [Activation::Silu, Activation::GeluNew, Activation::Gelu] {
        let gradients = gated::backward(activation, &x, &up, &g).unwrap();
        let forward = |t: &[Tensor]| gated::forward(activation, &t[0], &t[1]);
        check(&[x.clone(), up.clone()], &g, forward, &gradients);
    }
}

#[test]
fn grouped_attention_with_and_without_rotary_positions() {
    let turns = [(4, false), (2, true)].map(|(rotary_dim, interleaved)| {
        let config = RopeConfig { theta: 1e4, scaling: None, rotary_dim, interleaved };
        Turns::new(&mut Rope::new(&config), 6, DType::F64, &Device::Cpu).unwrap()
    });
    // Three groups, of which two have missing rows.
    let rows = rows(&[5, 1, 3, 6, 4]);
    for (queries, keys, rope, window, soft_cap) in [
        (4, 2, Some(0), None, None),
        (2, 2, None, None, None),
        (3, 1, Some(1), Some(2), None),
        (4, 2, Some(0), Some(2), Some(1.5)),
    ] {
        let heads = Heads { window, soft_cap, ..Heads::new(queries, keys, 4) };
        let inputs = [
            (numbers(&[19, heads.query_width()], 1) * 3.0).unwrap(),
            (numbers(&[19, heads.key_width()], 2) * 3.0).unwrap(),
            numbers(&[19, heads.key_width()], 3),
        ];
        let g = numbers(&[19, heads.query_width()], 4);
        let pass = Pass { turns: &turns, ..pass(&[], &rows) };
        let at = (heads, rope);
        let projected =
            |t: &[Tensor]| Projected { q: t[0].clone(), k: t[1].clone(), v: t[2].clone() };
        let forward = |t: &[Tensor]| attention::forward(&pass, &projected(t), at);
        let output = forward(&inputs).unwrap();
        let by = attention::backward(&pass, &projected(&inputs), at, &output, &g).unwrap();
        check(&inputs, &g, forward, &[by.q, by.k, by.v]);
    }
}

#[test]
fn linear_layers_with_bias_adapter_and_dropout() {
    let rows = rows(&[2, 3]);
    let seeds = lora::row_seeds(3, &[1, 2, 3, 4, 5], &[0, 2, 5]);
    let (x, g) = (numbers(&[5, 6], 1), numbers(&[5, 4], 2));
    for (layout, dropout) in [(Layout::OutIn, 0.0), (Layout::InOut, 0.3)] {
        let shape = if layout == Layout::OutIn { [4, 6] } else { [6, 4] };
        let parameters =
            [numbers(&shape, 3), numbers(&[4], 4), numbers(&[2, 6], 5), numbers(&[4, 2], 6)];
        let (a, b) = (ParameterId(2), ParameterId(3));
        let layer = Linear {
            weight: ParameterId(0),
            bias: Some(ParameterId(1)),
            layout,
            inputs: 6,
            outputs: 4,
            adapter: Some(Adapter { a, b, rank: 2, scale: 1.5, dropout, index: 1 }),
        };
        let forward = |t: &[Tensor]| {
            let pass = Pass { seeds: Some(&seeds), ..pass(&t[1..], &rows) };
            Ok(linear::forward(&layer, &pass, &t[0])?.0)
        };
        let mut sum = sum_of(&parameters);
        let pass = Pass { seeds: Some(&seeds), ..pass(&parameters, &rows) };
        let cache = linear::forward(&layer, &pass, &x).unwrap().1;
        let by_x = linear::backward(&layer, &pass, cache, &g, true, &mut sum).unwrap().unwrap();
        let inputs: Vec<Tensor> = std::iter::once(x.clone()).chain(parameters.clone()).collect();
        let gradients: Vec<Tensor> = std::iter::once(by_x).chain(sum.in_order().unwrap()).collect();
        check(&inputs, &g, forward, &gradients);
        let plain = linear::forward(&layer, &super::Pass { seeds: None, ..pass }, &x).unwrap().0;
        let differs = values(&plain) != values(&forward(&inputs).unwrap());
        assert_eq!(differs, dropout > 0.0, "dropout drops in training alone");
    }
}

#[test]
fn embeddings() {
    let tables = [numbers(&[5, 3], 1), numbers(&[4, 3], 2)];
    let (ids, places) = ([4u32, 1, 4, 0], [0u32, 1, 2, 0]);
    let g = numbers(&[4, 3], 3);
    let mut sum = sum_of(&tables);
    for (table, ids) in [(ParameterId(0), &ids), (ParameterId(1), &places)] {
        sum.embedding(EmbeddingGradient { table, ids, output_gradient: &g }).unwrap();
    }
    let forward = |t: &[Tensor]| embedding::forward(&t[0], &ids, Some((&t[1], &places)));
    check(&tables, &g, forward, &sum.in_order().unwrap());
}

#[test]
fn the_head_and_its_loss() {
    let hidden = (numbers(&[7, 4], 1) * 3.0).unwrap();
    let table = numbers(&[9, 4], 2);
    let weights = numbers(&[7], 3);
    let tokens = Tensor::new(&[3u32, 8, 0, 7, 7, 2, 0], &Device::Cpu).unwrap();
    let targets = Targets { tokens, weights: weights.clone() };
    let layer = Head {
        weight: ParameterId(0),
        bias: None,
        adapter: None,
        vocabulary: 9,
        width: 4,
        multiplier: 1.0,
        soft_cap: None,
    };
    let rows = rows(&[3, 4]);
    let forward = |t: &[Tensor]| head::evaluate(&layer, &pass(&t[1..], &rows), &t[0], &targets);
    let mut sum = sum_of(std::slice::from_ref(&table));
    let parameters = [table.clone()];
    let pass = pass(&parameters, &rows);
    let (losses, by_hidden) =
        head::forward_backward(&layer, &pass, &hidden, &targets, &mut sum).unwrap();
    let inputs = [hidden, table];
    assert_eq!(values(&losses), values(&forward(&inputs).unwrap()));
    let by_table = sum.in_order().unwrap().remove(0);
    check(&inputs, &weights, forward, &[by_hidden, by_table]);
}
