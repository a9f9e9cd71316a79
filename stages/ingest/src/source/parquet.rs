//! Parquet through polars' lazy streaming engine, a window of rows at a time.
//!
//! A query over a whole file prefetches as much of it as it likes; one over a window holds a window.

use std::fs::File;
use std::path::{Path, PathBuf};

use pft_stage::StageError;
use polars::prelude::{
    DataType, Engine, Expr, IdxSize, LazyFrame, ParquetReader, PlRefPath, PolarsError,
    ScanArgsParquet, SerReader, col,
};

use super::discover::unreadable;
use super::table::{Columns, Row, Rows, rows_of};
use crate::config::{Config, SourceKind};

/// How much is read at once, uncompressed.
const WINDOW_BYTES: usize = 64 << 20;

const HELP: &str = "the file may be cut off or damaged: fetch or make it again";

fn scan(path: &Path) -> Result<LazyFrame, StageError> {
    // Opened first, since polars' own message for a missing file is long.
    File::open(path).map_err(|error| unreadable(path, &error))?;
    let arguments =
        ScanArgsParquet { glob: false, cache: false, low_memory: true, ..Default::default() };
    PlRefPath::try_from_path(path)
        .and_then(|location| LazyFrame::scan_parquet(location, arguments))
        .map_err(|error| broken(path, &error))
}

/// Settles the columns from the file's schema.
pub(super) fn columns(
    config: &Config,
    source: SourceKind,
    path: &Path,
) -> Result<Columns, StageError> {
    let schema = scan(path)?.collect_schema().map_err(|error| broken(path, &error))?;
    let names: Vec<String> = schema.iter_names().map(ToString::to_string).collect();
    let columns = Columns::find(config, source, path, &names)?;
    let wrong = |expected: &str, help: &str| {
        StageError::input(format!(
            "{}: column `{}` is not {expected}",
            path.display(),
            columns.text
        ))
        .with_help(help)
    };
    match (schema.get(&columns.text), columns.paragraphs) {
        (Some(DataType::List(inner)), true) if **inner == DataType::String => {}
        (_, true) => {
            return Err(wrong(
                "a list of strings",
                "set text_column to the column that holds the paragraphs",
            ));
        }
        (Some(DataType::String), false) => {}
        (Some(DataType::List(_)), false) => {
            return Err(wrong(
                "a string but a list",
                "for lists of paragraphs use `source: ecthr`",
            ));
        }
        (_, false) => {
            return Err(wrong("a string", "set text_column to the column that holds the text"));
        }
    }
    Ok(columns)
}

/// The rows of a file.
pub(super) fn read(path: &Path, columns: Columns) -> Result<Rows, StageError> {
    let schema = columns.schema();
    let selection = columns
        .names()
        .into_iter()
        .map(|name| match schema.get(name) {
            Some(DataType::String) => col(name).cast(DataType::String),
            _ => col(name),
        })
        .collect();
    Ok(Box::new(Reader {
        path: path.to_path_buf(),
        columns,
        selection,
        windows: windows(path)?.into_iter(),
        failed: false,
    }))
}

/// Rows that are read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    first: usize,
    rows: usize,
}

/// Cuts a file into windows of about [`WINDOW_BYTES`] along its row groups, which are the smallest
/// thing that can be read without its neighbours; a larger row group is read in parts.
fn windows(path: &Path) -> Result<Vec<Window>, StageError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut reader = ParquetReader::new(file);
    let metadata = reader.get_metadata().map_err(|error| broken(path, &error))?;
    let groups = metadata.row_groups.iter();
    Ok(pack(groups.map(|group| (group.num_rows(), group.total_byte_size()))))
}

fn pack(groups: impl Iterator<Item = (usize, usize)>) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut open = Window { first: 0, rows: 0 };
    let mut open_bytes = 0;
    for (rows, bytes) in groups {
        if open.rows > 0 && open_bytes + bytes > WINDOW_BYTES {
            windows.push(open);
            open = Window { first: open.first + open.rows, rows: 0 };
            open_bytes = 0;
        }
        open.rows += rows;
        open_bytes += bytes;
        if open_bytes > WINDOW_BYTES {
            let part = open.rows.div_ceil(open_bytes.div_ceil(WINDOW_BYTES)).max(1);
            while open.rows > 0 {
                let rows = part.min(open.rows);
                windows.push(Window { first: open.first, rows });
                open = Window { first: open.first + rows, rows: open.rows - rows };
            }
            open_bytes = 0;
        }
    }
    if open.rows > 0 {
        windows.push(open);
    }
    windows
}

struct Reader {
    path: PathBuf,
    columns: Columns,
    selection: Vec<Expr>,
    windows: std::vec::IntoIter<Window>,
    failed: bool,
}

impl Reader {
    fn rows(&self, window: Window) -> Result<Vec<Row>, StageError> {
        let rows = IdxSize::try_from(window.rows).unwrap_or(IdxSize::MAX);
        let frame = scan(&self.path)?
            .slice(i64::try_from(window.first).unwrap_or(i64::MAX), rows)
            .select(&self.selection)
            .collect_with_engine(Engine::Streaming)
            .map_err(|error| broken(&self.path, &error))?
            .unwrap_single();
        if frame.height() != window.rows {
            return Err(StageError::input(format!(
                "{}: not a readable Parquet file (it says {} rows where there are {})",
                self.path.display(),
                window.rows,
                frame.height()
            ))
            .with_help(HELP));
        }
        rows_of(&frame, &self.columns, |row| {
            format!("{}: row {}", self.path.display(), window.first + row + 1)
        })
    }
}

impl Iterator for Reader {
    type Item = Result<Vec<Row>, StageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let window = self.windows.next()?;
        let rows = self.rows(window);
        self.failed = rows.is_err();
        Some(rows)
    }
}

/// A file that polars cannot read. Its first line says why; the rest is the query plan.
fn broken(path: &Path, error: &PolarsError) -> StageError {
    let reason = error.to_string();
    let reason = reason.lines().next().unwrap_or_default();
    StageError::input(format!("{}: not a readable Parquet file ({reason})", path.display()))
        .with_help(HELP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_all_rows_once_and_stay_small() {
        let mega = 1 << 20;
        let groups =
            [(10, mega), (0, 0), (20, 63 * mega), (5, 40 * mega), (1000, 640 * mega), (1, 9)];
        let windows = pack(groups.into_iter());
        let mut next = 0;
        for window in &windows {
            assert_eq!(window.first, next);
            assert!(window.rows > 0);
            next += window.rows;
        }
        assert_eq!(next, 1036);
        assert_eq!(windows[0].rows, 30);
        assert_eq!(windows[1].rows, 5);
        assert!(windows[2..].iter().all(|window| window.rows <= 100));
        assert_eq!(pack(std::iter::empty()), []);
    }
}
