//! Embeddings of words by themselves, such as GloVe.

use std::collections::HashMap;
use std::sync::LazyLock;

use pft_pii::LoadError;
use regex::Regex;

use super::checkpoint::{Checkpoint, setting};
use super::job::{Columns, Job};
use crate::pickle::Value;
use crate::pickle::numpy::array;

/// A table of words.
pub(super) struct StaticWords {
    rows: HashMap<String, u32>,
    /// `[words + 1, width]`; the last row is for words that are not in the table.
    table: Vec<f32>,
    width: usize,
}

impl StaticWords {
    pub(super) fn load(
        model: &Checkpoint<'_, '_>,
        value: Value<'_, '_>,
        prefix: &str,
    ) -> Result<Self, LoadError> {
        if setting(value, "stable").and_then(Value::as_bool) == Some(true) {
            return Err(model.error("WordEmbeddings with `stable` are not read"));
        }
        if setting(value, "field").is_some() {
            return Err(model.error("WordEmbeddings of a `field` are not read"));
        }
        // Before Flair 0.12 the table was an object of gensim.
        let (vocabulary, table) = match setting(value, "precomputed_word_embeddings") {
            Some(vectors) => {
                let table = vectors.get("vectors").and_then(array).map(|mut table| {
                    // A row for unknown words, as Flair adds it.
                    if let [count, width] = &mut table.shape[..] {
                        *count += 1;
                        table.values.resize(table.values.len() + *width, 0.0);
                    }
                    table
                });
                let table = table.ok_or_else(|| model.error("its table of words is not known"))?;
                (vectors.get("key_to_index").or_else(|| vectors.get("vocab")), table)
            }
            None => {
                let table = model.read(&format!("{prefix}.embedding.weight"))?;
                (setting(value, "vocab"), table)
            }
        };
        let vocabulary = vocabulary.and_then(Value::entries);
        let vocabulary = vocabulary.ok_or_else(|| model.error("its table has no words"))?;
        let rows: HashMap<String, u32> = vocabulary
            .filter_map(|(word, row)| {
                // gensim 3 has an object for every word.
                let row = row.as_int().or_else(|| row.get("index")?.as_int())?;
                Some((word.as_str()?.to_string(), u32::try_from(row).ok()?))
            })
            .collect();
        match table.shape[..] {
            [count, width]
                if count > 0 && width > 0 && rows.values().all(|&row| (row as usize) < count) =>
            {
                Ok(Self { rows, table: table.values, width })
            }
            _ => Err(model.error("its table of words and its vocabulary differ in size")),
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn embed(&self, jobs: &[Job<'_>], columns: &mut Columns<'_>) {
        for (token, content) in jobs.iter().flat_map(|job| job.tokens()).enumerate() {
            let row = self.row(&content.text);
            columns.row(token, self.width).copy_from_slice(row);
        }
    }

    /// The row of a word: as it is, in lower case, or with its digits as `#` or `0`.
    fn row(&self, word: &str) -> &[f32] {
        static DIGIT: LazyLock<Regex> = LazyLock::new(|| match Regex::new(r"\d") {
            Ok(regex) => regex,
            Err(error) => panic!("{error}"),
        });
        let found = self.rows.get(word).or_else(|| {
            let lower = word.to_lowercase();
            self.rows
                .get(&lower)
                .or_else(|| self.rows.get(&*DIGIT.replace_all(&lower, "#")))
                .or_else(|| self.rows.get(&*DIGIT.replace_all(&lower, "0")))
        });
        let unknown = self.table.len() / self.width - 1;
        let row = found.map_or(unknown, |&row| row as usize);
        &self.table[row * self.width..][..self.width]
    }
}
