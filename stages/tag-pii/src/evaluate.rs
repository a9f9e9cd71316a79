//! `tag-pii evaluate`: measures tags, or a config's tagging, against gold annotations.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Parser};
use pft_artifact::{Quoted, TagsReader, access, text_hash};
use pft_pii::Span;
use pft_pii::evaluate::{GoldDocument, Report, evaluate, svg};
use pft_pii::labels::LabelMap;
use pft_stage::{ConfigSource, Description, Override, StageError, load_config, subcommand};

use crate::{Config, TagPii, Tagging, gold};

/// Measures tags against gold annotations
#[derive(Debug, Parser)]
#[command(name = "tag-pii evaluate")]
#[command(group = ArgGroup::new("tagged").required(true).args(["tags", "config"]))]
pub struct Arguments {
    /// Gold annotations: TAB's JSON (.json, .jsonl), tokens with IOB2 tags (.iob2, .bio, .conll, .txt, .tsv),
    /// or a `tags` artifact (a folder; needs --corpus)
    #[arg(long, value_name = "FILE")]
    gold: PathBuf,
    /// The corpus that gold tags belong to
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Tags to measure, found by their document's id and text, or by the text alone where ids differ
    #[arg(long, value_name = "ARTIFACT")]
    tags: Option<PathBuf>,
    /// A config to tag the gold texts with, each a unit of its own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides a key of the config; the value is YAML
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The gold's label set for the figures by label: tab, conll, ontonotes, presidio, or `as-is`; guessed from the
    /// gold's form without it
    #[arg(long, value_name = "NAME")]
    label_set: Option<String>,
    /// Prints the figures as one JSON object
    #[arg(long)]
    json: bool,
    /// Draws the figures into an SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Shows the texts of missed mentions: they are personal information
    #[arg(long)]
    show_text: bool,
}

/// The subcommand's `main`; the first argument is the subcommand's name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    subcommand::run("tag-pii evaluate", arguments, |arguments: Arguments| {
        let report = run(&arguments)?;
        let json = || serde_json::json!(report).to_string();
        subcommand::print(&if arguments.json {
            json()
        } else {
            report.table().trim_end().to_owned()
        });
        Ok(())
    })
}

/// Measures as the arguments say.
///
/// # Errors
/// When a file cannot be read, is not of its form, or lacks a gold text.
pub fn run(arguments: &Arguments) -> Result<Report, StageError> {
    let (gold, guessed_set) = gold::read(&arguments.gold, arguments.corpus.as_deref())?;
    if gold.is_empty() {
        return Err(StageError::input(format!("{}: no documents", arguments.gold.display())));
    }
    let (predicted, map) = match (&arguments.tags, &arguments.config) {
        (Some(tags), _) => (read_tags(tags, &gold)?, LabelMap::built_in()),
        (None, Some(config)) => {
            let tagging = Tagging::new(&read_config(config, &arguments.set)?)?;
            let texts: Vec<&str> = gold.iter().map(|document| document.text.as_str()).collect();
            (tagging.tag(&texts)?, tagging.combining.policy.labels)
        }
        (None, None) => return Err(StageError::config("name --tags ARTIFACT or --config FILE")),
    };
    let set = match arguments.label_set.as_deref().or(guessed_set) {
        None | Some("as-is") => None,
        Some(set) => {
            gold::check_set(&map, set)?;
            Some(set)
        }
    };
    let pairs: Vec<(&GoldDocument, &[Span])> =
        gold.iter().zip(predicted.iter().map(Vec::as_slice)).collect();
    let report = evaluate(&pairs, &map, set, arguments.show_text);
    if let Some(path) = &arguments.plot {
        // A picture is made to be shown.
        std::fs::write(path, svg(&report)).and_then(|()| access::share(path)).map_err(|error| {
            StageError::config(format!("--plot {}: {error}", path.display())).because(&error)
        })?;
    }
    Ok(report)
}

fn read_tags(folder: &Path, gold: &[GoldDocument]) -> Result<Vec<Vec<Span>>, StageError> {
    let mut by_hash: HashMap<String, Vec<usize>> = HashMap::new();
    for (n, document) in gold.iter().enumerate() {
        by_hash.entry(text_hash(&document.text)).or_default().push(n);
    }
    let mut predicted: Vec<Option<Found>> = Vec::new();
    predicted.resize_with(gold.len(), || None);
    for tagged in TagsReader::open(folder)?.iter() {
        let tagged = tagged?;
        let Some(wanted) = by_hash.get(&tagged.text_hash) else { continue };
        let spans: Vec<Span> = tagged
            .spans
            .iter()
            .map(|span| {
                Span::new(
                    span.start as usize,
                    span.end as usize,
                    &span.label,
                    span.score,
                    &span.source,
                )
            })
            .collect();
        for &n in wanted {
            let text = &gold[n].text;
            if spans.iter().any(|span| text.get(span.start..span.end).is_none()) {
                return Err(StageError::input(format!(
                    "{}: document {} has a span that is not on characters of its text",
                    folder.display(),
                    Quoted(&tagged.doc_id)
                )));
            }
            let has_id = gold[n].id == tagged.doc_id;
            match &mut predicted[n] {
                // The same text may have other tags in another unit, by the names found there.
                Some(found) if found.has_id || !has_id => {
                    found.is_ambiguous |= !found.has_id && found.spans != spans;
                }
                found => *found = Some(Found { spans: spans.clone(), has_id, is_ambiguous: false }),
            }
        }
    }
    predicted
        .into_iter()
        .zip(gold)
        .map(|(found, document)| {
            let found = found.ok_or_else(|| {
                StageError::input(format!(
                    "{}: no tags for the text of gold document {}",
                    folder.display(),
                    Quoted(&document.id)
                ))
                .with_help("tag a corpus of exactly the gold's texts, or use --config FILE")
            })?;
            if found.is_ambiguous {
                return Err(StageError::input(format!(
                    "{}: several documents have the text of gold document {}, with different tags, and \
                     none has its id",
                    folder.display(),
                    Quoted(&document.id)
                ))
                .with_help("give the gold's documents the ids of the corpus"));
            }
            Ok(found.spans)
        })
        .collect()
}

/// The tags found for a gold document.
struct Found {
    spans: Vec<Span>,
    /// Whether they are those of its id, and not only of its text.
    has_id: bool,
    /// Whether another document has the same text and other tags.
    is_ambiguous: bool,
}

fn read_config(path: &Path, set: &[String]) -> Result<Config, StageError> {
    let overrides = set
        .iter()
        .map(|text| Override::parse(text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(StageError::config)?;
    let source = ConfigSource::read(path).map_err(StageError::config)?;
    let schema = Description::of::<TagPii>().config;
    let value = load_config(Some(&source), &overrides, &schema).map_err(StageError::config)?;
    let config: Config = serde_json::from_value(value)
        .map_err(|error| StageError::config(format!("config: {error}")))?;
    config.validate()?;
    Ok(config)
}
