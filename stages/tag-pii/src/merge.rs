//! `tag-pii merge`: puts the parts of `--shard I/N` together, to the bits of the whole.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use pft_artifact::{CorpusReader, Kind, Manifest, Quoted, TaggedDocument, TagsReader, TagsWriter};
use pft_stage::{StageError, subcommand};
use serde_json::json;

/// Puts the parts that --shard I/N made of a corpus's tags together
#[derive(Debug, Parser)]
#[command(name = "tag-pii merge")]
pub struct Arguments {
    /// The corpus that the parts were made from
    #[arg(long, value_name = "DIR")]
    corpus: PathBuf,
    /// The folder to write; it must not exist or be empty
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Accepts documents that no part has tags for, as `on_error: drop` leaves them
    #[arg(long)]
    allow_dropped: bool,
    /// The parts, in any order
    #[arg(required = true, value_name = "PART")]
    parts: Vec<PathBuf>,
}

/// The subcommand's `main`; the first argument is the subcommand's name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    subcommand::run(
        "tag-pii merge",
        arguments,
        |Arguments { corpus, parts, output, allow_dropped }| {
            let rows = merge(&corpus, &parts, &output, allow_dropped)?;
            subcommand::say(&format!("tag-pii merge: {rows} documents"));
            Ok(())
        },
    )
}

/// Writes the parts' rows in the corpus's order into a new artifact and returns their number.
///
/// # Errors
/// When a document has no tags in any part, a part has rows that the corpus lacks, or the output
/// folder is in use. Nothing is left behind then.
pub fn merge(
    corpus: &Path,
    parts: &[PathBuf],
    output: &Path,
    allow_dropped: bool,
) -> Result<u64, StageError> {
    let at = |error: std::io::Error| {
        StageError::config(format!("--output {}: {error}", output.display())).because(&error)
    };
    if output.exists() && output.read_dir().map_err(at)?.next().is_some() {
        return Err(StageError::config(format!(
            "--output {}: the folder is not empty",
            output.display()
        )));
    }
    let mut partial = output.as_os_str().to_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(at)?;
    }
    std::fs::create_dir_all(&partial).map_err(at)?;
    let merged = write(corpus, parts, &partial, allow_dropped).and_then(|rows| {
        if output.exists() {
            std::fs::remove_dir(output).map_err(at)?;
        }
        std::fs::rename(&partial, output).map_err(at)?;
        Ok(rows)
    });
    if merged.is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    merged
}

fn write(
    corpus: &Path,
    parts: &[PathBuf],
    output: &Path,
    allow_dropped: bool,
) -> Result<u64, StageError> {
    let mut hashes = Vec::new();
    let mut readers = Vec::new();
    for part in parts {
        let reader = TagsReader::open(part)?;
        hashes.push(reader.manifest().content_hash.clone());
        readers.push(reader.iter().peekable());
    }
    let corpus = CorpusReader::open(corpus)?;
    let corpus_hash = corpus.manifest().content_hash.clone();
    let mut writer = TagsWriter::create(output)?;
    for document in corpus.iter() {
        let document = document?;
        let mut row: Option<TaggedDocument> = None;
        for reader in &mut readers {
            let head = reader
                .next_if(|head| head.as_ref().map_or(true, |head| head.doc_id == document.doc_id));
            if let Some(head) = head {
                row = Some(head?);
                break;
            }
        }
        match row {
            Some(row) => writer.push(&row)?,
            None if allow_dropped => {}
            None => {
                return Err(StageError::input(format!(
                    "no part has tags for document {}",
                    Quoted(&document.doc_id)
                ))
                .with_help(
                    "name every part, or add --allow-dropped if the parts dropped documents",
                ));
            }
        }
    }
    for (reader, part) in readers.iter_mut().zip(parts) {
        if let Some(extra) = reader.next() {
            return Err(StageError::input(format!(
                "{}: document {} is not in the corpus, or is there twice",
                part.display(),
                Quoted(&extra?.doc_id)
            ))
            .with_help("name the corpus that the parts were made from, and each part once"));
        }
    }
    let rows = writer.finish()?;
    let provenance =
        json!({ "stage": "tag-pii merge", "inputs": { "corpus": corpus_hash, "parts": hashes } });
    Manifest::seal(output, Kind::Tags, rows, provenance)?;
    Ok(rows)
}
