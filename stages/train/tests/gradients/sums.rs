//! Clipped sums of units whose tokens are all learned.

use pft_dp::Clipping;
use pft_lm::config::ModelConfig;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::model::{LanguageModel, init};
use pft_lm::parameters::{Parameters, Precision, Tensor, TensorData};
use train::data::{Sequence, batch_of};

use crate::oracle::{
    FUNCTIONS, GPT2, GPT2_UNTIED, LLAMA, LLAMA_TIED, STYLES, adapted_base, borrowed, brute_force,
    distance, engine, engine_on_device, families, full, half_frozen, middling_norm, models, names,
    norm, unit_gradient, units,
};

#[test]
fn clipped_sums_are_those_of_one_unit_at_a_time() {
    let units = units(1);
    let units = borrowed(&units);
    for (what, mut model) in models().into_iter().chain(families()) {
        let bound = middling_norm(&mut model, &units);
        let names = names(&model);
        for function in FUNCTIONS {
            for style in STYLES {
                let clipping = Clipping { function, style, max_grad_norm: bound, stability: 0.01 };
                let expected = brute_force(&mut model, &units, &clipping);
                let parts = [&units[..3], &units[3..]];
                let on_cpu = engine(&mut model, &parts, clipping);
                let on_device = engine_on_device(&model, &parts, clipping);
                // The device's model rounds elsewhere, and a layer's gradient may be small against
                // what it is the difference of.
                let engines = [("CPU", on_cpu, 1e-5), ("device", on_device, 1e-4)];
                for (engine, (found, not_finite), share) in engines {
                    assert_eq!(not_finite, 0);
                    assert_eq!(found.len(), names.len());
                    for ((name, found), expected) in names.iter().zip(&found).zip(&expected) {
                        let error = distance(found, expected);
                        assert!(
                            error <= share * norm(expected) + 1e-6 * bound,
                            "{what}, {function:?}, {style:?}, {name}, {engine}: {error} of {}",
                            norm(expected)
                        );
                    }
                }
            }
        }
    }
}

/// Where A is frozen, the bound is on B alone: what A's gradient would be takes no part in a norm.
#[test]
fn a_frozen_a_is_neither_clipped_nor_noised() {
    let units = units(1);
    let units = borrowed(&units);
    let mut model = half_frozen(LLAMA, 8);
    assert!(names(&model).iter().all(|name| name.ends_with(".lora_B.weight")));
    assert_eq!(names(&model).len(), 14);
    let bound = middling_norm(&mut model, &units);
    let clipping = Clipping { max_grad_norm: bound, ..Clipping::default() };
    // The same weights with A trained: its B's gradients are the same, but clipped by more.
    let lora = LoraConfig { freeze_a: false, ..model.lora().unwrap().clone() };
    let parameters = model.parameters().clone();
    let mut free = LanguageModel::new(model.config().clone(), parameters, Some(lora), 0).unwrap();
    let sizes = [&mut model, &mut free].map(|model| {
        let names = names(model);
        let sum = engine(model, &[&units], clipping).0;
        let of_b = names.iter().zip(&sum).filter(|(name, _)| name.contains(".lora_B."));
        norm(&of_b.flat_map(|(_, values)| values.clone()).collect::<Vec<_>>())
    });
    assert!(sizes[0] > 1.01 * sizes[1], "{sizes:?}");
}

#[test]
fn removing_one_unit_moves_the_sum_by_at_most_the_bound() {
    for seed in 10..14 {
        let units = units(seed);
        let units = borrowed(&units);
        for (what, mut model) in models() {
            for function in FUNCTIONS {
                for style in STYLES {
                    let clipping =
                        Clipping { function, style, max_grad_norm: 0.7, stability: 0.01 };
                    let all = engine(&mut model, &[&units], clipping).0.concat();
                    for left_out in [0, 3] {
                        let mut others = units.clone();
                        others.remove(left_out);
                        let fewer = engine(&mut model, &[&others], clipping).0.concat();
                        let moved = distance(&all, &fewer);
                        assert!(
                            moved <= 0.7 * (1.0 + 1e-5),
                            "{what}, {function:?}, {style:?}: moved by {moved}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_unit_s_part_does_not_depend_on_its_batch_mates() {
    let units = units(20);
    let units = borrowed(&units);
    let clipping = Clipping { max_grad_norm: 0.7, ..Clipping::default() };
    for (what, mut model) in models().into_iter().chain(families()) {
        let alone = engine(&mut model, &[&units[..1]], clipping).0.concat();
        let with = engine(&mut model, &[&units], clipping).0.concat();
        let without = engine(&mut model, &[&units[1..]], clipping).0.concat();
        let part: Vec<f32> = with.iter().zip(&without).map(|(w, o)| w - o).collect();
        assert!(distance(&part, &alone) <= 2e-6, "{what}: {}", distance(&part, &alone));
    }
}

#[test]
fn a_unit_without_a_finite_gradient_adds_nothing_and_is_counted() {
    let units = units(30);
    let units = borrowed(&units);
    for (what, mut model) in [("gpt2 untied", full(GPT2_UNTIED, 2)), ("llama", full(LLAMA, 3))] {
        // The embedding of one token overflows: units that hold it are lost, the others are not.
        let width = model.config().hidden_size;
        let broken = units[0][0].input_ids[0];
        let name = &model.parameters().iter().next().unwrap().1.spec.name.clone();
        let id = model.parameters().id(name).unwrap();
        let hit =
            |unit: &[&Sequence]| unit.iter().any(|sequence| sequence.input_ids.contains(&broken));
        let lost = units.iter().filter(|unit| hit(unit)).count() as u64;
        let kept: Vec<Vec<&Sequence>> = units.iter().filter(|unit| !hit(unit)).cloned().collect();
        assert!(lost > 0 && !kept.is_empty(), "{what}: the test needs units of both kinds");
        let clipping = Clipping { max_grad_norm: 0.7, ..Clipping::default() };
        if let TensorData::F32(values) = &mut model.parameters_mut().get_mut(id).tensor.data {
            values[broken as usize * width] = f32::NAN;
        }
        let (found, not_finite) = engine(&mut model, &[&units], clipping);
        let (expected, none) = engine(&mut model, &[&kept], clipping);
        assert_eq!((not_finite, none), (lost, 0), "{what}");
        let (found, expected) = (found.concat(), expected.concat());
        assert!(found.iter().all(|value| value.is_finite()), "{what}");
        let error = distance(&found, &expected);
        assert!(error <= 1e-5 * norm(&expected), "{what}: {error}");
        let (found, not_finite) = engine_on_device(&model, &[&units], clipping);
        assert_eq!(not_finite, lost, "{what} on a device");
        let error = distance(&found.concat(), &expected);
        assert!(error <= 1e-5 * norm(&expected), "{what} on a device: {error}");
    }
}

/// A base kept in fewer bits is the model of its rounded weights: losses and the adapters' gradients,
/// with privacy and without, are those over the same weights in 32 bits.
#[test]
fn a_base_in_fewer_bits_trains_as_its_rounded_weights_do() {
    let units = units(40);
    let units = borrowed(&units);
    let all: Vec<Vec<&Sequence>> = units.clone();
    let cases: [(&str, &[&str]); 4] = [
        (GPT2, &["c_attn", "c_fc"]),
        (GPT2_UNTIED, &["c_proj", "lm_head"]),
        (LLAMA, &["q_proj", "v_proj"]),
        (LLAMA_TIED, &["down_proj"]),
    ];
    let kinds = [Precision::Bf16, Precision::Q8_0, Precision::Q4_0];
    for ((config, targets), kind) in cases.into_iter().flat_map(|case| kinds.map(|k| (case, k))) {
        // Rows of whole blocks.
        let config = &config
            .replace("\"n_embd\":16", "\"n_embd\":32")
            .replace("\"hidden_size\":16", "\"hidden_size\":32")
            .replace("\"intermediate_size\":24", "\"intermediate_size\":64");
        let parsed = ModelConfig::from_json(config).unwrap();
        let narrow = init::random_in(&parsed, 9, kind).unwrap();
        let mut wide = Parameters::new();
        for (_, parameter) in narrow.iter() {
            let (spec, tensor) = (parameter.spec.clone(), &parameter.tensor);
            let tensor = Tensor::new(&tensor.shape, tensor.to_f32()).unwrap();
            wide.insert(spec, tensor, true).unwrap();
        }
        assert_ne!(wide, init::random(&parsed, 9).unwrap(), "rounding changed nothing");
        let mut narrow = adapted_base(config, narrow, targets, 9);
        let mut wide = adapted_base(config, wide, targets, 9);
        let kept_narrow = |(_, parameter): (_, &pft_lm::parameters::Parameter)| {
            parameter.tensor.precision() == kind
        };
        assert!(narrow.parameters().iter().any(kept_narrow));
        assert!(!wide.parameters().iter().any(kept_narrow));

        let batch = batch_of(&all).unwrap();
        let losses = [&mut narrow, &mut wide].map(|model| {
            let losses = model.evaluate(&batch).unwrap();
            (losses.per_token, model.logits(&batch).unwrap())
        });
        for (found, expected) in [(&losses[0].0, &losses[1].0), (&losses[0].1, &losses[1].1)] {
            assert!(distance(found, expected) <= 1e-6 * norm(expected), "{targets:?}");
        }
        for unit in &units {
            let found = unit_gradient(&mut narrow, unit).concat();
            let expected = unit_gradient(&mut wide, unit).concat();
            assert!(norm(&expected) > 0.0 || unit.iter().all(|s| s.input_ids.len() < 2));
            assert!(distance(&found, &expected) <= 1e-5 * norm(&expected), "{targets:?}");
        }
        let clipping = Clipping { max_grad_norm: 0.7, ..Clipping::default() };
        let found = engine(&mut narrow, &[&units], clipping).0.concat();
        let expected = engine(&mut wide, &[&units], clipping).0.concat();
        assert!(distance(&found, &expected) <= 1e-5 * norm(&expected), "{targets:?}");
        let found = engine_on_device(&narrow, &[&units], clipping).0.concat();
        let error = distance(&found, &expected);
        assert!(error <= 1e-4 * norm(&expected), "{targets:?} on a device: {error}");
    }
}
