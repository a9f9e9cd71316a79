//! The private sink against brute force: one unit at a time through the plain sink.

use pft_dp::{Clipping, ClippingFunction, ClippingStyle};
use pft_lm::config::ModelConfig;
use pft_lm::gradient::GradientSum;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::model::{LanguageModel, init};
use train::data::{Sequence, batch_of};
use train::private::UnitGradients;

fn model(family: &str, tied: bool, lora: bool) -> LanguageModel {
    let json = match family {
        "gpt2" => format!(
            r#"{{"model_type":"gpt2","vocab_size":61,"n_embd":12,"n_layer":2,"n_head":2,
                "n_positions":32,"tie_word_embeddings":{tied}}}"#
        ),
        _ => format!(
            r#"{{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":61,
                "hidden_size":12,"intermediate_size":20,"num_hidden_layers":2,
                "num_attention_heads":2,"num_key_value_heads":1,"max_position_embeddings":32,
                "rms_norm_eps":1e-5,"tie_word_embeddings":{tied}}}"#
        ),
    };
    let config = ModelConfig::from_json(&json).unwrap();
    let mut parameters = init::random(&config, 5).unwrap();
    // Larger weights than those of a fresh model, so that no gradient is near 0.
    for (_, parameter) in parameters.iter_mut() {
        if let pft_lm::parameters::TensorData::F32(values) = &mut parameter.tensor.data {
            values.iter_mut().for_each(|value| *value *= 4.0);
        }
    }
    let target = if family == "gpt2" { "c_attn" } else { "q_proj" };
    let lora = lora.then(|| LoraConfig {
        rank: 3,
        alpha: 6.0,
        dropout: 0.0,
        target_modules: vec![target.to_string()],
    });
    let mut model = LanguageModel::new(config, parameters, lora, 7).unwrap();
    // B starts at 0, where the gradient of A vanishes.
    for (_, parameter) in model.parameters_mut().iter_mut() {
        if parameter.spec.name.contains("lora_B")
            && let pft_lm::parameters::TensorData::F32(values) = &mut parameter.tensor.data
        {
            values.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 7) as f32 * 0.1 - 0.3);
        }
    }
    model
}

fn sequence(seed: u32, length: usize) -> Sequence {
    let ids = (0..length as u32).map(|i| (i * i * 7 + i * seed + seed * 13) % 61).collect();
    Sequence { input_ids: ids, pii: vec![false; length] }
}

/// Three units, of one, two and three examples.
fn units() -> Vec<Vec<Sequence>> {
    vec![
        vec![sequence(1, 9)],
        vec![sequence(2, 5), sequence(3, 12)],
        vec![sequence(4, 3), sequence(5, 8), sequence(6, 2)],
    ]
}

fn clipping(function: ClippingFunction, style: ClippingStyle, max_grad_norm: f64) -> Clipping {
    Clipping { function, style, max_grad_norm, stability: 0.01 }
}

/// Sum of clipped gradients, one unit at a time.
fn brute_force(
    model: &mut LanguageModel,
    units: &[Vec<Sequence>],
    clipping: Clipping,
) -> Vec<Vec<f64>> {
    let names: Vec<String> =
        model.parameters().trainable().map(|(_, p)| p.spec.name.clone()).collect();
    let groups = clipping.style.groups(&names);
    let count = groups.iter().max().unwrap() + 1;
    let mut total: Vec<Vec<f64>> = Vec::new();
    for unit in units {
        let mut sum = GradientSum::new(model.parameters());
        let batch = batch_of(&[unit.iter().collect()]).unwrap();
        model.forward_backward(&batch, 0, &mut sum).unwrap();
        let gradients: Vec<Vec<f32>> = sum.iter_mut().map(|(_, g)| g.to_vec()).collect();
        let mut squared = vec![0.0; count];
        for (gradient, &group) in gradients.iter().zip(&groups) {
            squared[group] += gradient.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        }
        let mut factors = vec![0.0; count];
        clipping.factors(&squared, &mut factors);
        total.resize_with(gradients.len(), Vec::new);
        for ((into, gradient), &group) in total.iter_mut().zip(&gradients).zip(&groups) {
            into.resize(gradient.len(), 0.0);
            for (into, &value) in into.iter_mut().zip(gradient) {
                *into += f64::from(value) * f64::from(factors[group]);
            }
        }
    }
    total
}

/// The same through the private sink, in one pass.
fn private(
    model: &mut LanguageModel,
    units: &[Vec<Sequence>],
    clipping: Clipping,
) -> Vec<Vec<f64>> {
    let mut sum = GradientSum::new(model.parameters());
    let mut sink = UnitGradients::new(model.parameters(), clipping);
    let groups: Vec<Vec<&Sequence>> = units.iter().map(|unit| unit.iter().collect()).collect();
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    let batch = batch_of(&groups).unwrap();
    model.forward_backward(&batch, 0, &mut sink).unwrap();
    sink.clip_into(&mut sum, &sizes);
    sum.iter_mut().map(|(_, g)| g.iter().map(|&x| f64::from(x)).collect()).collect()
}

fn norm(tensors: &[Vec<f64>]) -> f64 {
    tensors.iter().flatten().map(|x| x * x).sum::<f64>().sqrt()
}

fn difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect()).collect()
}

const FUNCTIONS: [ClippingFunction; 3] =
    [ClippingFunction::Abadi, ClippingFunction::Automatic, ClippingFunction::Global];
const STYLES: [ClippingStyle; 4] = [
    ClippingStyle::AllLayer,
    ClippingStyle::LayerWise,
    ClippingStyle::ParamWise,
    ClippingStyle::BlockWise,
];

#[test]
fn the_private_sink_agrees_with_one_unit_at_a_time() {
    let units = units();
    for family in ["gpt2", "llama"] {
        for (tied, lora) in [(true, false), (false, false), (true, true)] {
            let mut model = model(family, tied, lora);
            for function in FUNCTIONS {
                for style in STYLES {
                    // So that some units are clipped and some are not.
                    for bound in [0.5, 20.0] {
                        let clipping = clipping(function, style, bound);
                        let expected = brute_force(&mut model, &units, clipping);
                        let found = private(&mut model, &units, clipping);
                        let apart = norm(&difference(&expected, &found));
                        let scale = norm(&expected).max(1e-6);
                        assert!(
                            apart / scale < 1e-5,
                            "{family} tied {tied} lora {lora} {function:?} {style:?} {bound}: \
                             {apart} of {scale}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn removing_a_unit_moves_the_sum_by_at_most_the_bound() {
    let units = units();
    for family in ["gpt2", "llama"] {
        let mut model = model(family, true, false);
        for function in FUNCTIONS {
            for style in STYLES {
                let clipping = clipping(function, style, 0.3);
                let all = private(&mut model, &units, clipping);
                for absent in 0..units.len() {
                    let mut rest = units.clone();
                    rest.remove(absent);
                    let without = private(&mut model, &rest, clipping);
                    let moved = norm(&difference(&all, &without));
                    assert!(moved <= 0.3 * (1.0 + 1e-4), "{family} {function:?} {style:?} {moved}");
                }
            }
        }
    }
}

#[test]
fn a_unit_whose_gradient_is_not_finite_adds_nothing_and_is_counted() {
    let mut model = model("llama", false, false);
    // The token 60 occurs in one unit only; its embedding makes that unit's loss infinite.
    let table = model.parameters().id("model.embed_tokens.weight").unwrap();
    if let pft_lm::parameters::TensorData::F32(values) =
        &mut model.parameters_mut().get_mut(table).tensor.data
    {
        values[60 * 12..].fill(f32::NAN);
    }
    let good = Sequence { input_ids: vec![1, 2, 3, 4], pii: vec![false; 4] };
    let bad = Sequence { input_ids: vec![5, 60, 7], pii: vec![false; 3] };
    let clipping = clipping(ClippingFunction::Abadi, ClippingStyle::AllLayer, 1.0);
    let expected = private(&mut model, &[vec![good.clone()]], clipping);
    let mut sum = GradientSum::new(model.parameters());
    let mut sink = UnitGradients::new(model.parameters(), clipping);
    let batch = batch_of(&[vec![&bad], vec![&good]]).unwrap();
    model.forward_backward(&batch, 0, &mut sink).unwrap();
    let clipped = sink.clip_into(&mut sum, &[1, 1]);
    assert_eq!(clipped.not_finite, 1);
    let found: Vec<Vec<f64>> =
        sum.iter_mut().map(|(_, g)| g.iter().map(|&x| f64::from(x)).collect()).collect();
    assert!(norm(&difference(&expected, &found)) < 1e-6, "the other unit is untouched");
}
