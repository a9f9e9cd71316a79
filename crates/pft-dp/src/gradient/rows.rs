//! Which rows of a batch belong to which unit.

use std::ops::Range;

/// The division of a packed batch into sequences, and of sequences into units.
#[derive(Debug, Clone, Default)]
pub(crate) struct BatchRows {
    pub(crate) rows: usize,
    /// Row ranges of each unit, ascending, adjacent ones joined.
    pub(crate) ranges: Vec<Vec<Range<usize>>>,
    /// The unit of each sequence.
    pub(crate) unit_of_sequence: Vec<usize>,
}

impl BatchRows {
    /// `offsets[i]..offsets[i + 1]` are the rows of sequence i, which belongs to unit `units[i]`;
    /// units are numbered from 0 without gaps.
    pub(crate) fn new(offsets: &[usize], units: &[usize]) -> Self {
        assert_eq!(offsets.len(), units.len() + 1, "one unit for each sequence");
        let count = units.iter().max().map_or(0, |last| last + 1);
        let mut ranges: Vec<Vec<Range<usize>>> = vec![Vec::new(); count];
        for (pair, &unit) in offsets.windows(2).zip(units) {
            match ranges[unit].last_mut() {
                Some(last) if last.end == pair[0] => last.end = pair[1],
                _ => ranges[unit].push(pair[0]..pair[1]),
            }
        }
        Self {
            rows: offsets.last().copied().unwrap_or(0),
            ranges,
            unit_of_sequence: units.to_vec(),
        }
    }

    pub(crate) fn units(&self) -> usize {
        self.ranges.len()
    }

    /// How many rows a unit has.
    pub(crate) fn rows_of(&self, unit: usize) -> usize {
        self.ranges[unit].iter().map(Range::len).sum()
    }

    /// The rows of a unit that lie within `count` rows from `first` on, counted from there.
    pub(crate) fn within(
        &self,
        unit: usize,
        first: usize,
        count: usize,
    ) -> impl Iterator<Item = Range<usize>> + '_ {
        self.ranges[unit].iter().filter_map(move |range| {
            let start = range.start.max(first);
            let end = range.end.min(first + count);
            (start < end).then(|| start - first..end - first)
        })
    }
}

/// The rows `ranges` of a matrix of `columns` columns: borrowed if in one piece, else gathered.
pub(crate) fn gather<'a>(
    data: &'a [f32],
    columns: usize,
    mut ranges: impl Iterator<Item = Range<usize>>,
) -> std::borrow::Cow<'a, [f32]> {
    let slice = |range: Range<usize>| &data[range.start * columns..range.end * columns];
    let Some(first) = ranges.next() else { return (&[][..]).into() };
    match ranges.next() {
        None => slice(first).into(),
        Some(second) => {
            let mut gathered = slice(first).to_vec();
            gathered.extend_from_slice(slice(second));
            ranges.for_each(|range| gathered.extend_from_slice(slice(range)));
            gathered.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_several_sequences() {
        let rows = BatchRows::new(&[0, 3, 5, 6, 10], &[0, 0, 1, 0]);
        assert_eq!(rows.units(), 2);
        assert_eq!(rows.ranges[0], vec![0..5, 6..10]);
        let within: Vec<_> = rows.within(0, 4, 4).collect();
        assert_eq!(within, vec![0..1, 2..4]);
        let data: Vec<f32> = (0..20).map(|x| x as f32).collect();
        assert_eq!(&gather(&data, 2, rows.within(1, 0, 10))[..], &[10.0, 11.0]);
        assert_eq!(gather(&data, 2, rows.within(0, 0, 10)).len(), 18);
    }
}
