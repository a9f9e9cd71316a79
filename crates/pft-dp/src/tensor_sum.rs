//! A parameter's clipped sum: all of it, or the rows of a table that were looked up.
//!
//! A batch looks few rows of a large table up. Where nothing else touches the table, only those rows
//! are held; the others are zero until noise is drawn for them.

use std::collections::BTreeMap;
use std::ops::Range;

/// The elements of a sum, row-major.
#[derive(Debug)]
pub(crate) enum TensorSum {
    /// All of them.
    Dense(Vec<f32>),
    /// Some rows; all other elements are zero.
    Rows(TableRows),
}

/// Rows of a table of `elements` elements.
#[derive(Debug)]
pub(crate) struct TableRows {
    elements: usize,
    /// Elements of a row; 0 while there is none.
    width: usize,
    /// Where in `values` each row lies, in rows.
    places: BTreeMap<u32, usize>,
    values: Vec<f32>,
}

impl TensorSum {
    /// A sum of zero, which takes no memory.
    pub(crate) fn zero(elements: usize) -> Self {
        Self::Rows(TableRows { elements, width: 0, places: BTreeMap::new(), values: Vec::new() })
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Dense(values) => values.len(),
            Self::Rows(rows) => rows.elements,
        }
    }

    /// Whether nothing was added yet.
    pub(crate) fn is_untouched(&self) -> bool {
        matches!(self, Self::Rows(rows) if rows.places.is_empty())
    }

    /// Back to zero; the memory is kept.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Dense(values) => values.fill(0.0),
            Self::Rows(rows) => {
                rows.places.clear();
                rows.values.clear();
            }
        }
    }

    /// All elements, from now on all of them in memory.
    pub(crate) fn dense(&mut self) -> &mut [f32] {
        if let Self::Rows(_) = self {
            *self = Self::Dense(self.to_vec());
        }
        match self {
            Self::Dense(values) => values,
            Self::Rows(_) => unreachable!("it was just made dense"),
        }
    }

    /// Row `id` of a table whose rows have `width` elements, to be added to.
    pub(crate) fn row(&mut self, id: u32, width: usize) -> &mut [f32] {
        // With half of the table the rows' memory, which grows by doubling, is no longer less.
        if let Self::Rows(rows) = self
            && 2 * (rows.values.len() + width) > rows.elements
        {
            self.dense();
        }
        match self {
            Self::Dense(values) => &mut values[id as usize * width..][..width],
            Self::Rows(rows) => {
                rows.width = width;
                let next = rows.places.len();
                let place = *rows.places.entry(id).or_insert(next);
                if place == next {
                    rows.values.resize((next + 1) * width, 0.0);
                }
                &mut rows.values[place * width..][..width]
            }
        }
    }

    /// Copies the elements of `range` to `into`, which has as many.
    pub(crate) fn copy_to(&self, range: Range<usize>, into: &mut [f32]) {
        let rows = match self {
            Self::Dense(values) => return into.copy_from_slice(&values[range]),
            Self::Rows(rows) => rows,
        };
        into.fill(0.0);
        if rows.places.is_empty() || range.is_empty() {
            return;
        }
        let width = rows.width;
        let (first, last) = (range.start / width, (range.end - 1) / width);
        for (&id, &place) in rows.places.range(first as u32..=last as u32) {
            let at = id as usize * width;
            let (start, end) = (at.max(range.start), (at + width).min(range.end));
            let from = &rows.values[place * width..][start - at..end - at];
            into[start - range.start..end - range.start].copy_from_slice(from);
        }
    }

    /// A copy of all elements.
    pub(crate) fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.copy_to(0..self.len(), &mut values);
        values
    }

    /// All elements.
    pub(crate) fn into_vec(self) -> Vec<f32> {
        match self {
            Self::Dense(values) => values,
            Self::Rows(_) => self.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Rows and the whole table are two ways to hold one sum.
        #[test]
        fn rows_are_the_table_that_they_are_of(
            width in 1_usize..5,
            added in prop::collection::vec((0_u32..8, -9_i8..9), 0..12),
            made_dense in prop::option::of(0_usize..12),
            cut in (0_usize..40, 0_usize..40),
        ) {
            let elements = 8 * width;
            let mut expected = vec![0.0; elements];
            let mut sum = TensorSum::zero(elements);
            for round in 0..2 {
                for (index, &(id, value)) in added.iter().enumerate() {
                    if made_dense == Some(index) && round == 1 {
                        prop_assert_eq!(&*sum.dense(), &expected[..]);
                    }
                    sum.row(id, width).iter_mut().for_each(|x| *x += f32::from(value));
                    expected[id as usize * width..][..width]
                        .iter_mut()
                        .for_each(|x| *x += f32::from(value));
                }
                prop_assert_eq!(&sum.to_vec(), &expected);
                let (a, b) = (cut.0.min(elements), cut.1.min(elements));
                let range = a.min(b)..a.max(b);
                let mut part = vec![7.0; range.len()];
                sum.copy_to(range.clone(), &mut part);
                prop_assert_eq!(&part[..], &expected[range]);
                if round == 0 {
                    sum.clear();
                    expected.fill(0.0);
                    prop_assert_eq!(&sum.to_vec(), &expected);
                }
            }
            prop_assert_eq!(sum.into_vec(), expected);
        }
    }

    #[test]
    fn a_few_rows_take_a_few_rows_memory() {
        let mut sum = TensorSum::zero(1_000_000);
        for id in 0..10 {
            sum.row(id * 90, 1000).fill(1.0);
        }
        let TensorSum::Rows(rows) = &sum else { panic!("ten rows of a thousand") };
        assert!(rows.values.capacity() <= 32_000, "{}", rows.values.capacity());
        for id in 0..600 {
            sum.row(id, 1000).fill(1.0);
        }
        assert!(matches!(sum, TensorSum::Dense(_)), "most of the rows");
        assert_eq!(sum.to_vec().iter().sum::<f32>(), 603_000.0, "three of the ten lie beyond");
    }
}
