//! Norms and activations.

use super::{check, numbers, pass, table};
use crate::buffer::Pool;
use crate::config::Activation;
use crate::gradient::GradientSum;
use crate::layers::norm::Norm;
use crate::layers::{gated, gelu};
use crate::parameters::ParameterId;
use candle_core::{D, Tensor as Candle};

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
