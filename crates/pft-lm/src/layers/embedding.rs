//! Token and position embeddings: a row of a table for each row of the batch.

use pft_gguf::BLOCK_LEN;
use rayon::prelude::*;

use crate::buffer::{Buffer, Pool};
use crate::kernels::{add, rows_per_task};
use crate::parameters::{Tensor, TensorData};

/// `tokens[ids[r]] + positions[places[r]]` for each row `r`.
pub(crate) fn forward(
    pool: &Pool,
    tokens: &Tensor,
    ids: &[u32],
    positions: Option<(&Tensor, &[u32])>,
    width: usize,
) -> Buffer {
    let mut x = pool.take(ids.len() * width);
    let rows = rows_per_task(ids.len());
    x.par_chunks_mut(rows * width).enumerate().for_each(|(block, x)| {
        for (index, x) in x.chunks_exact_mut(width).enumerate() {
            let row = block * rows + index;
            copy_row(x, tokens, ids[row]);
            if let Some((table, places)) = positions {
                add_row(x, table, places[row]);
            }
        }
    });
    x
}

fn copy_row(x: &mut [f32], table: &Tensor, id: u32) {
    x.fill(0.0);
    add_row(x, table, id);
}

fn add_row(x: &mut [f32], table: &Tensor, id: u32) {
    let from = id as usize * x.len();
    match &table.data {
        TensorData::F32(values) => add(x, &values[from..from + x.len()]),
        TensorData::Bf16(values) => {
            for (x, value) in x.iter_mut().zip(&values[from..]) {
                *x += value.to_f32();
            }
        }
        TensorData::Blocks(blocks) => {
            let mut wide = [0.0; BLOCK_LEN];
            for (index, x) in x.chunks_exact_mut(BLOCK_LEN).enumerate() {
                blocks.widen(from + index * BLOCK_LEN, &mut wide);
                add(x, &wide);
            }
        }
    }
}
