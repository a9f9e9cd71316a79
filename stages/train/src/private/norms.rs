//! Squared norms of one unit's gradient of one parameter, from the pieces of a backward pass.
//!
//! A linear layer's gradient of a unit is Σ aᵣ gᵣᵀ over the unit's rows. Its squared norm is
//! ⟨A Aᵀ, G Gᵀ⟩ (the ghost norm: Li et al. 2022, 'Large language models can be strong
//! differentially private learners', section 4), or that of the product itself, whichever costs
//! less for the shape at hand (Bu et al. 2022, section 3).

use gemm::{Parallelism, gemm};

/// Rows `range` of a row-major matrix with `columns` columns.
fn rows<'a>(matrix: &'a [f32], columns: usize, range: &[usize]) -> Vec<&'a [f32]> {
    range.iter().map(|&row| &matrix[row * columns..(row + 1) * columns]).collect()
}

/// Gathers rows into one contiguous matrix.
fn gather(matrix: &[f32], columns: usize, range: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(range.len() * columns);
    rows(matrix, columns, range).into_iter().for_each(|row| out.extend_from_slice(row));
    out
}

/// `left · rightᵀ` of two row-major matrices with `columns` columns.
fn outer(left: &[f32], right: &[f32], columns: usize) -> Vec<f32> {
    let (m, n) = (left.len() / columns, right.len() / columns);
    let mut out = vec![0.0f32; m * n];
    product(&mut out, left, right, [m, n, columns], [1, columns as isize], [1, columns as isize]);
    out
}

/// `out[m, n] = left · right`, with the strides (by inner index, by outer index) of both sides.
fn product(
    out: &mut [f32],
    left: &[f32],
    right: &[f32],
    [m, n, k]: [usize; 3],
    [left_inner, left_outer]: [isize; 2],
    [right_inner, right_outer]: [isize; 2],
) {
    assert!(out.len() == m * n && left.len() == m * k && right.len() == n * k);
    if m * n * k == 0 {
        return;
    }
    // SAFETY: the three slices hold m·n, m·k and n·k elements, and the strides are those of dense
    // matrices of these extents, so that every access lies within them.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            left.as_ptr(),
            left_inner,
            left_outer,
            right.as_ptr(),
            right_outer,
            right_inner,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// ‖Σ aᵣ gᵣᵀ‖² over `range`, with `input` `[rows, inputs]` and `gradient` `[rows, outputs]`.
pub(super) fn linear(
    input: &[f32],
    inputs: usize,
    gradient: &[f32],
    outputs: usize,
    range: &[usize],
) -> f64 {
    let (a, g) = (gather(input, inputs, range), gather(gradient, outputs, range));
    let t = range.len();
    // Ghost: t²(inputs + outputs) multiplications; instantiation: t·inputs·outputs.
    if t * (inputs + outputs) < inputs * outputs {
        return dot(&outer(&a, &a, inputs), &outer(&g, &g, outputs));
    }
    let mut whole = vec![0.0f32; inputs * outputs];
    let strides = ([inputs as isize, 1], [outputs as isize, 1]);
    product(&mut whole, &a, &g, [inputs, outputs, t], strides.0, strides.1);
    dot(&whole, &whole)
}

/// ‖Σ gᵣ‖² over `range`: a bias.
pub(super) fn bias(gradient: &[f32], outputs: usize, range: &[usize]) -> f64 {
    let mut sum = vec![0.0f64; outputs];
    for row in rows(gradient, outputs, range) {
        sum.iter_mut().zip(row).for_each(|(s, g)| *s += f64::from(*g));
    }
    sum.iter().map(|s| s * s).sum()
}

/// ‖Σ 1(idᵣ) gᵣᵀ‖² over `range`: rows with equal ids add up first.
pub(super) fn embedding(ids: &[u32], gradient: &[f32], width: usize, range: &[usize]) -> f64 {
    let mut by_id: std::collections::BTreeMap<u32, Vec<f64>> = std::collections::BTreeMap::new();
    for &row in range {
        let sum = by_id.entry(ids[row]).or_insert_with(|| vec![0.0; width]);
        let values = &gradient[row * width..(row + 1) * width];
        sum.iter_mut().zip(values).for_each(|(s, g)| *s += f64::from(*g));
    }
    by_id.values().flatten().map(|s| s * s).sum()
}

/// ⟨Σ gₜ aₜᵀ, Σ 1(idₛ) eₛᵀ⟩ of a tied table `[vocabulary, width]`: its use as a head, with inputs
/// a and logit gradients g, and its use as an embedding, with gradients e. Equals
/// Σₜₛ gₜ[idₛ] ⟨aₜ, eₛ⟩.
pub(super) fn tied_cross_term(
    head: (&[f32], &[f32], usize, &[usize]),
    ids: &[u32],
    embedding: &[f32],
    width: usize,
    range: &[usize],
) -> f64 {
    let (input, gradient, vocabulary, head_range) = head;
    let a = gather(input, width, head_range);
    let e = gather(embedding, width, range);
    let products = outer(&a, &e, width);
    let mut sum = 0.0;
    for (t, &head_row) in head_range.iter().enumerate() {
        let logits = &gradient[head_row * vocabulary..(head_row + 1) * vocabulary];
        for (s, &row) in range.iter().enumerate() {
            let product = f64::from(products[t * range.len() + s]);
            sum += f64::from(logits[ids[row] as usize]) * product;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u32, count: usize) -> Vec<f32> {
        (0..count as u32)
            .map(|i| {
                ((i.wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 8) % 1000) as f32 / 500.0
                    - 1.0
            })
            .collect()
    }

    fn brute(a: &[f32], inputs: usize, g: &[f32], outputs: usize, range: &[usize]) -> Vec<f64> {
        let mut whole = vec![0.0; inputs * outputs];
        for &r in range {
            for i in 0..inputs {
                for o in 0..outputs {
                    whole[i * outputs + o] +=
                        f64::from(a[r * inputs + i]) * f64::from(g[r * outputs + o]);
                }
            }
        }
        whole
    }

    #[test]
    fn both_ways_to_a_linear_norm_agree_with_the_product() {
        let (total, range) = (12, [1usize, 2, 3, 7, 9]);
        for (inputs, outputs) in [(2, 3), (40, 50), (1, 64), (17, 5)] {
            let (a, g) = (values(1, total * inputs), values(2, total * outputs));
            let expected: f64 = brute(&a, inputs, &g, outputs, &range).iter().map(|x| x * x).sum();
            let found = linear(&a, inputs, &g, outputs, &range);
            assert!(
                (found / expected - 1.0).abs() < 1e-5,
                "{inputs}x{outputs}: {found} {expected}"
            );
        }
    }

    #[test]
    fn the_tied_cross_term_is_the_inner_product_of_both_uses() {
        let (width, vocabulary) = (6, 9);
        let (a, g, e) = (values(3, 5 * width), values(4, 5 * vocabulary), values(5, 5 * width));
        let ids = [2u32, 8, 2, 0, 5];
        let range = [0usize, 1, 2, 4];
        let head = brute(&g, vocabulary, &a, width, &range);
        let mut table = vec![0.0f64; vocabulary * width];
        for &r in &range {
            for w in 0..width {
                table[ids[r] as usize * width + w] += f64::from(e[r * width + w]);
            }
        }
        let expected: f64 = head.iter().zip(&table).map(|(h, t)| h * t).sum();
        let found = tied_cross_term((&a, &g, vocabulary, &range), &ids, &e, width, &range);
        assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "{found} {expected}");
        let squared: f64 = table.iter().map(|t| t * t).sum();
        assert!((embedding(&ids, &e, width, &range) / squared - 1.0).abs() < 1e-9);
    }
}
