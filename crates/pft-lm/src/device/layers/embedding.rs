//! Token and position embeddings: a row of a table for each row of the batch. Their gradients are
//! those of the output, row by row, and the sink's to add up by id.

use candle_core::{Result, Tensor};

/// `tokens[ids[r]] + positions[places[r]]` for each row `r`.
pub(crate) fn forward(
    tokens: &Tensor,
    ids: &[u32],
    positions: Option<(&Tensor, &[u32])>,
) -> Result<Tensor> {
    let look_up = |table: &Tensor, ids: &[u32]| {
        table.index_select(&Tensor::from_slice(ids, ids.len(), table.device())?, 0)
    };
    let x = look_up(tokens, ids)?;
    match positions {
        Some((table, places)) => x + look_up(table, places)?,
        None => Ok(x),
    }
}
