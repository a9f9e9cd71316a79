//! Which rows of a batch belong to which unit, in rectangles that one product covers.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};

/// The row that `index_select` answers with zeros.
const NO_ROW: u32 = u32::MAX;
/// Elements of one group's rows, or of their Gram matrix, at most, unless one unit alone has more
/// (512 MB).
const ELEMENTS: usize = 1 << 27;

/// Units of similar numbers of rows, each filled up to the same number with rows of zeros.
#[derive(Debug, Clone)]
pub(super) struct UnitGroup {
    /// The units.
    pub(super) units: Vec<usize>,
    /// Rows of each.
    pub(super) length: usize,
    /// Which rows they are, `[units · length]`.
    rows: Vec<u32>,
}

impl UnitGroup {
    /// The units' rows of `matrix` in f32, `[units, length, columns]`.
    pub(super) fn of(&self, matrix: &Tensor) -> Result<Tensor> {
        let rows = Tensor::from_slice(&self.rows, self.rows.len(), matrix.device())?;
        let columns = matrix.dim(1)?;
        let spread = matrix.contiguous()?.index_select(&rows, 0)?;
        spread.reshape((self.units.len(), self.length, columns))?.to_dtype(DType::F32)
    }

    /// The units' own values of `ids`, one a row, `[units, length]`; 0 where there is no row.
    pub(super) fn ids(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        let at = |&row: &u32| if row == NO_ROW { 0 } else { ids[row as usize] };
        let ids: Vec<u32> = self.rows.iter().map(at).collect();
        Tensor::from_vec(ids, (self.units.len(), self.length), device)
    }

    /// The group in parts so small that rows of `columns` columns, and their Gram matrices, stay
    /// within bounds.
    pub(super) fn parts(&self, columns: usize) -> Vec<Self> {
        let most = (ELEMENTS / (self.length * columns.max(self.length)).max(1)).max(1);
        self.units
            .chunks(most)
            .zip(self.rows.chunks(most * self.length))
            .map(|(units, rows)| Self { units: units.to_vec(), rows: rows.to_vec(), ..*self })
            .collect()
    }
}

/// The division of a packed batch into units, whose rows each lie together.
#[derive(Debug, Default)]
pub(super) struct Units {
    /// Rows of each unit.
    pub(super) ranges: Vec<Range<usize>>,
    /// The unit of each sequence.
    pub(super) of_sequence: Vec<u32>,
    /// The rows at which units begin, and the end.
    pub(super) borders: Vec<usize>,
}

impl Units {
    /// `offsets[i]..offsets[i + 1]` are the rows of sequence i, which belongs to unit `units[i]`.
    pub(super) fn new(offsets: &[usize], units: &[usize]) -> Self {
        assert_eq!(offsets.len(), units.len() + 1, "one unit for each sequence");
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for (pair, &unit) in offsets.windows(2).zip(units) {
            if unit == ranges.len() {
                ranges.push(pair[0]..pair[1]);
            } else {
                assert_eq!(unit + 1, ranges.len(), "a unit's sequences lie together, in order");
                ranges[unit].end = pair[1];
            }
        }
        let ends = ranges.iter().map(|range| range.end);
        let borders = std::iter::once(0).chain(ends).collect();
        let of_sequence = units.iter().map(|&unit| unit as u32).collect();
        Self { ranges, of_sequence, borders }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.ranges.last().map_or(0, |range| range.end)
    }

    /// The units whose rows are `count` from `first` on.
    pub(super) fn within(&self, first: usize, count: usize) -> Range<usize> {
        let at = |row| {
            let found = self.borders.binary_search(&row);
            found.unwrap_or_else(|_| panic!("row {row} is no unit's border"))
        };
        at(first)..at(first + count)
    }

    /// The unit of each of `count` rows from `first` on, counted from the first of them.
    pub(super) fn of_rows(&self, first: usize, count: usize) -> Vec<u32> {
        let units = self.within(first, count);
        let begin = units.start;
        units
            .flat_map(|unit| std::iter::repeat_n((unit - begin) as u32, self.ranges[unit].len()))
            .collect()
    }

    /// A value for each of `count` rows from `first` on: its unit's.
    pub(super) fn by_row<T: Copy>(
        &self,
        first: usize,
        count: usize,
        value: impl Fn(usize) -> T,
    ) -> Vec<T> {
        self.within(first, count)
            .flat_map(|unit| std::iter::repeat_n(value(unit), self.ranges[unit].len()))
            .collect()
    }

    /// The units whose rows are `count` from `first` on, in groups of which none has a unit more
    /// than twice as long as another. Rows count from `first`.
    pub(super) fn groups(&self, first: usize, count: usize) -> Vec<UnitGroup> {
        let size = |unit: usize| self.ranges[unit].len().next_power_of_two();
        let mut order: Vec<usize> = self.within(first, count).collect();
        order.sort_by_key(|&unit| size(unit));
        order
            .chunk_by(|&left, &right| size(left) == size(right))
            .map(|units| {
                let length = units.iter().map(|&unit| self.ranges[unit].len()).max().unwrap_or(0);
                let mut rows = vec![NO_ROW; units.len() * length];
                for (rows, &unit) in rows.chunks_mut(length).zip(units) {
                    for (into, row) in rows.iter_mut().zip(self.ranges[unit].clone()) {
                        *into = (row - first) as u32;
                    }
                }
                UnitGroup { units: units.to_vec(), length, rows }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_each_unit_s_rows_and_zeros() {
        let units = Units::new(&[0, 3, 5, 6, 12, 17], &[0, 0, 1, 2, 3]);
        assert_eq!(units.ranges, [0..5, 5..6, 6..12, 12..17]);
        assert_eq!(units.borders, [0, 5, 6, 12, 17]);
        assert_eq!(units.of_rows(5, 7), [0, 1, 1, 1, 1, 1, 1]);
        let groups = units.groups(0, 17);
        let members: Vec<&[usize]> = groups.iter().map(|group| &group.units[..]).collect();
        assert_eq!(members, [&[1][..], &[0, 2, 3]]);
        let values: Vec<f32> = (0..17).map(|row| row as f32 + 1.0).collect();
        let column = Tensor::from_vec(values, (17, 1), &Device::Cpu).unwrap();
        let spread = groups[1].of(&column).unwrap().squeeze(2).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(spread[0], [1.0, 2.0, 3.0, 4.0, 5.0, 0.0]);
        assert_eq!(spread[1], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
        let parts = groups[1].parts(ELEMENTS / 12);
        assert_eq!(parts.iter().map(|part| part.units.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(parts[1].rows, groups[1].rows[12..]);
    }

    #[test]
    #[should_panic(expected = "together")]
    fn a_unit_s_sequences_lie_together() {
        Units::new(&[0, 1, 2, 3], &[0, 1, 0]);
    }
}
