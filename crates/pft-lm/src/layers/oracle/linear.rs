//! Linear layers with their adapters, and dropout.

use super::{check, matrix, numbers, pass, table};
use crate::buffer::Pool;
use crate::gradient::GradientSum;
use crate::kernels::matmul::Layout;
use crate::layers::linear::Linear;
use crate::layers::lora::Adapter;
use crate::layers::{Pass, lora};
use crate::parameters::ParameterId;
use candle_core::Tensor as Candle;

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
