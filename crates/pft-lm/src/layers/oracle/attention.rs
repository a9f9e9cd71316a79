//! Rotary positions and attention.

use super::{buffer, check, numbers};
use crate::buffer::Pool;
use crate::config::RopeConfig;
use crate::layers::attention::heads::{Columns, Heads, Order, columns};
use crate::layers::attention::{self, Projected};
use crate::layers::rope::Rope;
use candle_core::{D, Device, Tensor as Candle};

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
