//! What the mechanism's noise has room for beyond C: rounding to single precision, where much of a
//! unit's gradient cancels, at the sizes of a layer of a real model.

use pft_dp::accounting::Phase;
use pft_dp::{
    Clipping, ClippingFunction, ClippingStyle, LinearPieces, Mechanism, ParameterShape, Plan,
    PrivateGradient, WeightLayout,
};

/// Without clipping's stability term, so that nothing but rounding decides.
const CLIPPING: Clipping = Clipping {
    function: ClippingFunction::Abadi,
    style: ClippingStyle::AllLayer,
    max_grad_norm: 1.0,
    stability: 0.01,
};

fn mechanism() -> Mechanism {
    let plan = Plan {
        declared_units: 100,
        units_were_counted: false,
        phase: Phase { sample_rate: 0.1, noise_multiplier: 1.0, steps: 1 },
        delta: 1e-4,
        clipping: CLIPPING,
        max_examples_per_unit: 1,
        noise_draws: 1,
    };
    Mechanism::new(plan, false).expect("a mechanism")
}

/// Numbers in [-30, 30).
fn numbers(count: usize, state: &mut u64) -> Vec<f32> {
    let mut next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*state >> 40) as f32 / 8_388_608.0 * 30.0 - 30.0
    };
    (0..count).map(|_| next()).collect()
}

/// Inputs and output gradients of one unit, of whose products all but one part in `condition`
/// cancels: the second half of the rows is the first with nearly opposite gradients.
fn cancelling(rows: usize, [inputs, outputs]: [usize; 2], condition: f32) -> [Vec<f32>; 2] {
    let mut state = 5;
    let mut input = numbers(rows / 2 * inputs, &mut state);
    let mut output = numbers(rows / 2 * outputs, &mut state);
    input.extend_from_within(..);
    let opposite: Vec<f32> = output.iter().map(|x| -x * (1.0 - 1.0 / condition)).collect();
    output.extend(opposite);
    [input, output]
}

/// The length of what a lone unit adds to the sum; its gradient is far longer than C.
fn contribution(rows: usize, sizes: [usize; 2], shared: bool, condition: f32) -> f64 {
    let [inputs, outputs] = sizes;
    let parameter = ParameterShape { name: "weight".into(), elements: inputs * outputs, shared };
    let mut engine = PrivateGradient::new(&mechanism(), vec![parameter]);
    let [input, output_gradient] = cancelling(rows, sizes, condition);
    engine.begin(&[0, rows], &[0]);
    engine.linear(LinearPieces {
        weight: Some((0, WeightLayout::OutIn)),
        bias: None,
        input,
        output_gradient,
        rows,
        first_row: 0,
    });
    engine.end().expect("every gradient came");
    assert!(engine.unit_norms()[0] > 1.0, "a gradient that is clipped");
    let sum = engine.take();
    sum.tensors()[0].iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn rounding_stays_within_what_noise_has_room_for() {
    let room = mechanism().noise_deviation() / CLIPPING.max_grad_norm;
    assert!(room > 1.0, "the noise multiplier is 1");
    // By the ghost norm, by a gradient formed for its norm alone, and by one that is kept.
    let ways = [
        ("ghost", 256, [768, 3072], true),
        ("formed", 1024, [512, 512], true),
        ("kept", 1024, [512, 512], false),
        ("lora", 256, [576, 8], false),
    ];
    for (way, rows, sizes, shared) in ways {
        for condition in [1.0, 30.0, 300.0, 3000.0] {
            let length = contribution(rows, sizes, shared, condition);
            assert!(
                length <= room,
                "{way}, all but a {condition}th cancels: a unit adds {length}, the noise has room for {room}"
            );
            // What is added for safety costs nothing that matters where little cancels.
            assert!(length > 0.99 || condition > 30.0, "{way}, {condition}: only {length}");
        }
    }
}
