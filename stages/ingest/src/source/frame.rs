//! Blocks of rows that polars has read.

use pft_stage::StageError;
use polars::prelude::{Column, DataFrame};

use super::table::Cells;

impl Cells for DataFrame {
    fn height(&self) -> usize {
        self.height()
    }

    fn strings(&self, name: &str) -> Result<Vec<Option<String>>, StageError> {
        let strings = column(self, name)?.str().map_err(|error| unexpected(&error))?;
        Ok(strings.iter().map(|value| value.map(str::to_string)).collect())
    }

    fn lists(&self, name: &str) -> Result<Vec<Option<Vec<String>>>, StageError> {
        let lists = column(self, name)?.list().map_err(|error| unexpected(&error))?;
        lists
            .series_iter()
            .map(|list| {
                let Some(list) = list else {
                    return Ok(None);
                };
                let strings = list.str().map_err(|error| unexpected(&error))?;
                Ok(strings.iter().map(|value| value.map(str::to_string)).collect())
            })
            .collect()
    }
}

fn column<'f>(frame: &'f DataFrame, name: &str) -> Result<&'f Column, StageError> {
    frame.column(name).map_err(|error| unexpected(&error))
}

/// What polars says about types, never about data.
fn unexpected(error: &polars::error::PolarsError) -> StageError {
    StageError::bug(format!("unexpected column: {error}"))
}
