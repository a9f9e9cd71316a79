//! `ingest survey PATH`: what there is to choose from before a config is written.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pft_stage::{OutsidePath, StageError, subcommand};
use serde::Serialize;

use crate::config::{Config, Paths, SourceKind, name};
use crate::reading::Reading;
use crate::source;
pub use crate::source::survey::Column;
use crate::source::survey::Counts;

/// Says what a corpus has to choose from: its columns, and how many values they have
#[derive(Debug, Parser)]
#[command(name = "ingest survey")]
struct Arguments {
    /// A file, a folder, a glob or an address, as `path` in a config
    path: String,
    /// What it holds, as `source` in a config, where its name does not tell
    #[arg(long, value_name = "KIND")]
    source: Option<String>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// What a corpus is like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Survey {
    /// `jsonl`, `csv` and so on.
    pub source: String,
    /// How many documents there are.
    pub documents: u64,
    /// How many units there are where the source itself tells them: senders of mail, or files.
    pub units: Option<u64>,
    /// How many documents the largest of these units has.
    pub largest_unit: Option<u64>,
    /// The columns; none where the source has no rows.
    pub columns: Vec<Column>,
}

/// Looks at a corpus as a whole, once for each of its columns.
///
/// # Errors
/// When it cannot be read, is empty, or holds no text.
pub fn survey(config: Config) -> Result<Survey, StageError> {
    let reading = Arc::new(Reading::of(config)?);
    let source = name(&reading.source);
    if reading.source.is_table() {
        let (documents, columns) = source::survey::columns(&reading)?;
        return Ok(Survey { source, documents, units: None, largest_unit: None, columns });
    }
    let (mut documents, mut units) = (0, Counts::default());
    for document in source::open(&reading)?.documents {
        let document = document?;
        documents += 1;
        // A document without a unit is one of its own.
        units.add(&document.unit_id.unwrap_or_else(|| format!("\0{documents}")));
    }
    if documents == 0 {
        return Err(StageError::input("there is no document").with_help("name a folder with some"));
    }
    let (units, largest_unit) = (Some(units.distinct()), Some(units.most()));
    Ok(Survey { source, documents, units, largest_unit, columns: Vec::new() })
}

/// The `main` of `ingest survey`.
pub fn main(arguments: &[OsString]) -> ExitCode {
    subcommand::run("ingest survey", arguments, |arguments: Arguments| {
        let base = std::env::current_dir().unwrap_or_default();
        let path = OutsidePath::resolve(&arguments.path, &base);
        let source = match &arguments.source {
            None => SourceKind::Auto,
            Some(source) => serde_json::from_value(source.as_str().into())
                .map_err(|error| StageError::config(format!("--source {source}: {error}")))?,
        };
        let path = Some(Paths::One(OutsidePath(path)));
        let survey = survey(Config { path, source, ..Config::default() })?;
        if arguments.json {
            subcommand::print(&serde_json::json!(survey).to_string());
            return Ok(());
        }
        subcommand::print(&format!("{}: {} documents", survey.source, survey.documents));
        if let (Some(units), Some(largest)) = (survey.units, survey.largest_unit) {
            let said = format!("{units} units, the largest of {largest} documents");
            subcommand::print(&said);
        }
        for column in &survey.columns {
            subcommand::print(&match &column.problem {
                Some(problem) => format!("  {}: {problem}", column.name),
                None => format!(
                    "  {}: {} different values, {:.0} characters each{}",
                    column.name,
                    column.distinct,
                    column.mean_chars,
                    if column.is_text { "" } else { ", not text" }
                ),
            });
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &std::path::Path, source: SourceKind) -> Result<Survey, StageError> {
        let path = Some(Paths::One(OutsidePath(path.to_string_lossy().into_owned())));
        survey(Config { path, source, ..Config::default() })
    }

    #[test]
    fn columns_are_counted_over_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.csv"), "who,note,gap\n1,One two,x\n1,Three,\n").unwrap();
        std::fs::write(at("b.csv"), "note,who,extra\n\"Four, five\",2,y\n").unwrap();
        let survey = of(folder.path(), SourceKind::Csv).unwrap();
        assert_eq!((survey.documents, &survey.source[..]), (3, "csv"));
        let counts: Vec<(&str, u64, u64)> =
            survey.columns.iter().map(|c| (&c.name[..], c.distinct, c.most)).collect();
        assert_eq!(counts, [("who", 2, 2), ("note", 3, 1)]);
        let lines = at("c.jsonl");
        std::fs::write(&lines, "{\"n\": 7, \"t\": \"abcd\"}\n{\"n\": null, \"t\": \"ab\"}\n")
            .unwrap();
        let survey = of(&lines, SourceKind::Auto).unwrap();
        assert!(survey.columns[0].problem.as_ref().is_some_and(|why| why.contains("`n`")));
        assert!(survey.columns[1].is_text && survey.columns[1].mean_chars == 3.0);
    }

    #[test]
    fn files_of_text_are_units_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.txt", "b.txt"] {
            std::fs::write(folder.path().join(name), "Some text.").unwrap();
        }
        let survey = of(folder.path(), SourceKind::Text).unwrap();
        assert_eq!((survey.documents, survey.units, survey.largest_unit), (2, Some(2), Some(1)));
    }
}
