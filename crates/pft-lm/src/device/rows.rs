//! How a batch lies on the device.
//!
//! Rows are packed as on the CPU: every layer that works row by row sees the tokens of the
//! sequences one after the other, without padding. Attention alone needs rectangles: sequences of
//! similar length form a [`Group`], `[sequences, length]`, whose missing rows are zeros. A missing
//! row comes after its sequence's own, so the causal mask keeps it from every query that counts,
//! and its own gradient is zero; different sequences are different batch entries of every product.

use candle_core::{DType, Device, Result, Tensor};

use super::ops::NO_ROW;
use crate::batch::Batch;

/// About how many attention scores of one group there may be (512 MB in f32).
const SCORES: usize = 1 << 27;

/// Sequences that attend in one go.
#[derive(Debug)]
pub(crate) struct Group {
    /// Number of sequences.
    pub(crate) sequences: usize,
    /// Rows of each, the missing ones included.
    pub(crate) length: usize,
    /// Which row of the batch each is, `[sequences · length]`; [`NO_ROW`] for a missing one.
    pub(crate) rows: Tensor,
    /// What is added to scores, `[length, length]`, by the window of keys that a query sees: 0 where
    /// it may look, −∞ at what comes after it and at what has left its window.
    masks: Vec<(Option<usize>, Tensor)>,
}

impl Group {
    /// The mask of one of the windows that the rows were made for.
    pub(crate) fn mask(&self, window: Option<usize>) -> Result<&Tensor> {
        let mask = self.masks.iter().find(|(of, _)| *of == window).map(|(_, mask)| mask);
        mask.ok_or_else(|| candle_core::Error::Msg(format!("no mask for the window {window:?}")))
    }
}

/// The rows of one batch.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Number of sequences.
    pub(crate) sequences: usize,
    /// Rows of the longest sequence.
    pub(crate) longest: usize,
    /// The sequence of each row.
    pub(crate) sequence: Tensor,
    /// The groups of attention.
    pub(crate) groups: Vec<Group>,
    /// Where each row of the batch lies among the groups' rows, one group after the other.
    pub(crate) places: Tensor,
}

impl Rows {
    /// The rows of `batch`, for attention of `heads` query heads within each of `windows`, whose
    /// scores are in `dtype`.
    pub(crate) fn new(
        batch: &Batch,
        heads: usize,
        windows: &[Option<usize>],
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let offsets = batch.offsets();
        let lengths: Vec<usize> = offsets.windows(2).map(|range| range[1] - range[0]).collect();
        let mut places = vec![0; batch.rows()];
        let mut before = 0;
        let mut groups = Vec::new();
        for members in group(&lengths, heads) {
            let length = members.iter().map(|&sequence| lengths[sequence]).max().unwrap_or(0);
            let mut rows = vec![NO_ROW; members.len() * length];
            for (index, &sequence) in members.iter().enumerate() {
                for place in 0..lengths[sequence] {
                    let row = offsets[sequence] + place;
                    rows[index * length + place] = row as u32;
                    places[row] = (before + index * length + place) as u32;
                }
            }
            before += rows.len();
            let rows = Tensor::from_vec(rows, members.len() * length, device)?;
            let masks = windows
                .iter()
                .map(|&window| Ok((window, causal_mask(length, window, dtype, device)?)))
                .collect::<Result<_>>()?;
            groups.push(Group { sequences: members.len(), length, rows, masks });
        }
        let sequence: Vec<u32> = lengths
            .iter()
            .enumerate()
            .flat_map(|(sequence, &length)| std::iter::repeat_n(sequence as u32, length))
            .collect();
        Ok(Self {
            sequences: batch.len(),
            longest: lengths.iter().copied().max().unwrap_or(0),
            sequence: Tensor::from_vec(sequence, batch.rows(), device)?,
            groups,
            places: Tensor::from_vec(places, batch.rows(), device)?,
        })
    }
}

fn causal_mask(
    length: usize,
    window: Option<usize>,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let window = window.unwrap_or(usize::MAX);
    let hidden = |query: usize, key: usize| key > query || query - key >= window;
    let mask: Vec<f32> = (0..length * length)
        .map(|i| if hidden(i / length, i % length) { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    Tensor::from_vec(mask, (length, length), device)?.to_dtype(dtype)
}

/// Divides sequences into groups whose longest is at most twice its shortest, each with a bounded
/// number of scores unless one sequence alone has more.
fn group(lengths: &[usize], heads: usize) -> Vec<Vec<usize>> {
    let size = |sequence: usize| lengths[sequence].next_power_of_two();
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&sequence| size(sequence));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for sequence in order {
        let most = (SCORES / (heads * size(sequence).pow(2))).max(1);
        match groups.last_mut() {
            Some(group) if size(group[0]) == size(sequence) && group.len() < most => {
                group.push(sequence);
            }
            _ => groups.push(vec![sequence]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_every_sequence_once_and_like_lengths() {
        let lengths = [5, 100, 7, 1, 8, 128, 65, 2];
        let groups = group(&lengths, 4);
        let mut all = groups.concat();
        all.sort_unstable();
        assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        for group in &groups {
            let of = |pick: fn(usize, usize) -> usize| {
                group.iter().map(|&sequence| lengths[sequence]).reduce(pick).unwrap()
            };
            assert!(of(usize::max) <= 2 * of(usize::min));
        }
        assert!(groups.contains(&vec![1, 5, 6]), "100, 128 and 65 round up to one size");
        // Where one sequence fills the bound, it is alone.
        assert_eq!(group(&[1 << 12, 1 << 12], 8), [vec![0], vec![1]]);
    }

    #[test]
    fn places_undo_the_groups() {
        let sequences: Vec<Vec<u32>> =
            [3usize, 9, 2, 4].iter().map(|&length| vec![0; length]).collect();
        let batch = Batch::new(&sequences).unwrap();
        let rows = Rows::new(&batch, 2, &[None], DType::F32, &Device::Cpu).unwrap();
        let spread: Vec<u32> =
            rows.groups.iter().flat_map(|group| group.rows.to_vec1::<u32>().unwrap()).collect();
        let places = rows.places.to_vec1::<u32>().unwrap();
        let back: Vec<u32> = places.iter().map(|&place| spread[place as usize]).collect();
        assert_eq!(back, (0..18).collect::<Vec<u32>>());
        assert_eq!(spread.iter().filter(|&&row| row == NO_ROW).count(), spread.len() - 18);
        assert_eq!(rows.sequence.to_vec1::<u32>().unwrap()[3..12], [1; 9]);
    }
}
