//! Every layer against plain candle operations in f64: the output, the gradients by candle's
//! autograd, and one directional derivative by finite differences.

mod attention;
mod ends;
mod linear;
mod norms;

use crate::buffer::{Buffer, Matrix, Pool};
use crate::gradient::Sequences;
use crate::layers::Pass;
use crate::parameters::{ParameterKind, ParameterSpec, Parameters, Tensor};
use candle_core::{DType, Device, Tensor as Candle, Var};

/// Values in (−1, 1), the same every time.
pub(super) fn numbers(count: usize, seed: u64) -> Vec<f32> {
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

pub(super) fn buffer(pool: &Pool, values: &[f32]) -> Buffer {
    let mut buffer = pool.take(values.len());
    buffer.copy_from_slice(values);
    buffer
}

pub(super) fn matrix(pool: &Pool, values: &[f32], width: usize) -> Matrix {
    Matrix::new(buffer(pool, values), values.len() / width, width)
}

pub(super) fn var(values: &[f32], shape: &[usize]) -> Var {
    let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    Var::from_vec(wide, shape, &Device::Cpu).unwrap()
}

pub(super) fn values(tensor: &Candle) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

pub(super) fn close(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f64, |max, value| max.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let distance = (f64::from(*found) - expected).abs() / largest;
        assert!(distance < 1e-5, "{what}[{index}]: {found} is not {expected}");
    }
}

pub(super) type Values<'a> = &'a [(&'a str, &'a [f32])];

/// Checks a layer's output and gradients: `output` and `gradients` are ours, in the order of
/// `inputs`; `oracle` computes the output from the inputs.
pub(super) fn check(
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
pub(super) fn table(entries: &[(&str, &[f32], &[usize])]) -> Parameters {
    let mut parameters = Parameters::new();
    for (name, values, shape) in entries {
        let spec = ParameterSpec::new(*name, shape, ParameterKind::Weight);
        parameters.insert(spec, Tensor::new(shape, values.to_vec()).unwrap(), true).unwrap();
    }
    parameters
}

/// What layers look at; `seeds` are those of dropout.
pub(super) fn pass<'a>(
    parameters: &'a Parameters,
    pool: &'a Pool,
    sequences: Sequences<'a>,
    seeds: Option<&'a [u64]>,
) -> Pass<'a> {
    Pass { parameters, pool, ropes: &[], sequences, positions: &[], seeds, int8: &[] }
}
