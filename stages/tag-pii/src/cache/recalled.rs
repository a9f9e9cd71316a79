//! The spans of one text, as a record's payload holds them and as they are recalled.

use std::borrow::Cow;
use std::sync::Arc;

use pft_pii::Span;
use pft_pii::combine::SpanList;
use serde::Deserialize;
use serde::de::{Error as _, SeqAccess, Visitor};

/// One span in a payload: start, end, the bits of the score, label.
#[derive(Deserialize)]
struct Row<'p>(usize, usize, u32, #[serde(borrow)] Cow<'p, str>);

/// A backend's spans of one text, in less than half the memory of [`Span`]s.
#[derive(Debug)]
pub struct Recalled {
    source: Arc<str>,
    labels: Vec<Arc<str>>,
    rows: Vec<RecalledRow>,
}

#[derive(Debug)]
struct RecalledRow {
    start: usize,
    end: usize,
    score: f32,
    /// Its place in `labels`.
    label: u32,
}

impl SpanList for Recalled {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn span(&self, index: usize) -> Span {
        let row = &self.rows[index];
        Span::new(row.start, row.end, &self.labels[row.label as usize], row.score, &self.source)
    }
}

/// Recalls those of a payload's rows whose labels are wanted, as they are read.
pub(super) struct Rows<'s, W> {
    pub(super) source: &'s Arc<str>,
    pub(super) wanted: W,
}

impl<'p, W: Fn(&Arc<str>) -> bool> Visitor<'p> for Rows<'_, W> {
    type Value = Recalled;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of spans")
    }

    fn visit_seq<A: SeqAccess<'p>>(self, mut seq: A) -> Result<Recalled, A::Error> {
        let mut rows = Vec::new();
        let mut labels: Vec<Arc<str>> = Vec::new();
        let mut are_wanted = Vec::new();
        while let Some(Row(start, end, score, label)) = seq.next_element()? {
            let known = labels.iter().position(|known| **known == *label);
            let known = known.unwrap_or_else(|| {
                let label = Arc::from(&*label);
                are_wanted.push((self.wanted)(&label));
                labels.push(label);
                labels.len() - 1
            });
            if are_wanted[known] {
                let label = u32::try_from(known).map_err(A::Error::custom)?;
                rows.push(RecalledRow { start, end, score: f32::from_bits(score), label });
            }
        }
        rows.shrink_to_fit();
        Ok(Recalled { source: Arc::clone(self.source), labels, rows })
    }
}
