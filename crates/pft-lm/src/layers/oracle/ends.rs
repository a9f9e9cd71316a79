//! Both ends of a model: embeddings, and the head with its loss.

use super::{check, matrix, numbers, pass, table};
use crate::buffer::Pool;
use crate::gradient::{EmbeddingGradient, SequenceGradient, Sequences};
use crate::gradient::{GradientSink, GradientSum, HeadRows, LinearGradient};
use crate::layers::cross_entropy::{Head, Targets};
use crate::layers::embedding;
use crate::parameters::ParameterId;
use candle_core::{D, Device, Tensor as Candle};
use std::collections::HashMap;

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
