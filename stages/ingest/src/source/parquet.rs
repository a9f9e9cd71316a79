//! Parquet through polars' streaming engine: batches are pushed through a bounded channel, so that
//! a slow writer slows the reader down instead of filling memory.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use pft_stage::StageError;
use polars::prelude::{
    DataFrame, DataType, Engine, Expr, LazyFrame, PlRefPath, PlanCallback, PolarsError,
    PolarsResult, ScanArgsParquet, col,
};

use super::discover::unreadable;
use super::table::{Columns, Row, Rows, rows_of};
use crate::config::{Config, SourceKind};

const BATCH_ROWS: usize = 2048;

fn scan(path: &Path) -> Result<LazyFrame, StageError> {
    // Opened first, since polars' own message for a missing file is long.
    std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
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
    let expressions: Vec<Expr> = columns
        .names()
        .into_iter()
        .map(|name| match schema.get(name) {
            Some(DataType::String) => col(name).cast(DataType::String),
            _ => col(name),
        })
        .collect();
    let frame = scan(path)?.select(expressions);
    let (sender, receiver) = sync_channel::<PolarsResult<DataFrame>>(2);
    let batches = sender.clone();
    let query = frame
        .sink_batches(
            // The answer true stops the query: nobody listens any more.
            PlanCallback::new(move |frame| Ok(batches.send(Ok(frame)).is_err())),
            true,
            NonZeroUsize::new(BATCH_ROWS),
        )
        .map_err(|error| broken(path, &error))?;
    std::thread::spawn(move || {
        if let Err(error) = query.collect_with_engine(Engine::Streaming) {
            // Nobody listening is how a reader stops early.
            let _ = sender.send(Err(error));
        }
    });
    Ok(Box::new(Reader { path: path.to_path_buf(), columns, receiver, row: 0, failed: false }))
}

struct Reader {
    path: PathBuf,
    columns: Columns,
    receiver: Receiver<PolarsResult<DataFrame>>,
    row: usize,
    failed: bool,
}

impl Iterator for Reader {
    type Item = Result<Vec<Row>, StageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let first = self.row + 1;
        let rows = match self.receiver.recv().ok()? {
            Ok(frame) => {
                self.row += frame.height();
                rows_of(&frame, &self.columns, |row| {
                    format!("{}: row {}", self.path.display(), first + row)
                })
            }
            Err(error) => Err(broken(&self.path, &error)),
        };
        self.failed = rows.is_err();
        Some(rows)
    }
}

/// A file that polars cannot read. Its first line says why; the rest is the query plan.
fn broken(path: &Path, error: &PolarsError) -> StageError {
    let reason = error.to_string();
    let reason = reason.lines().next().unwrap_or_default();
    StageError::input(format!("{}: not a readable Parquet file ({reason})", path.display()))
        .with_help("the file may be cut off or damaged: fetch or make it again")
}
