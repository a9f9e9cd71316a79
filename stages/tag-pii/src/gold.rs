//! Reads gold annotations: TAB's JSON, tokens with IOB2 tags, or a `tags` artifact with its corpus.

use std::collections::HashMap;
use std::path::Path;

use pft_artifact::{CorpusReader, Quoted, TagsReader, text_hash};
use pft_pii::evaluate::{GoldDocument, Mention, parse_iob2, parse_tab};
use pft_pii::labels::LabelMap;
use pft_stage::StageError;

/// The documents of `path`, and the label set that its form is usually written in. A `tags` artifact
/// needs the corpus that it belongs to.
///
/// # Errors
/// When a file cannot be read or is not of its form, or the corpus lacks a text.
pub(crate) fn read(
    path: &Path,
    corpus: Option<&Path>,
) -> Result<(Vec<GoldDocument>, Option<&'static str>), StageError> {
    if path.is_dir() {
        let corpus = corpus.ok_or_else(|| {
            StageError::config("gold tags need the texts they belong to")
                .with_help("add --corpus DIR")
        })?;
        return Ok((from_tags(path, corpus)?, None));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        StageError::input(format!("{}: cannot read the gold: {error}", path.display()))
    })?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let (gold, set) = match extension {
        "json" | "jsonl" => (parse_tab(&text), "tab"),
        _ => (parse_iob2(&text), "conll"),
    };
    let gold = gold.map_err(|error| StageError::input(format!("{}: {error}", path.display())))?;
    Ok((gold, Some(set)))
}

/// Refuses a label set that the map does not know.
pub(crate) fn check_set(map: &LabelMap, set: &str) -> Result<(), StageError> {
    if map.sets().any(|known| known == set) {
        return Ok(());
    }
    let known: Vec<&str> = map.sets().collect();
    Err(StageError::config(format!("--label-set {set}: not a known set"))
        .with_help(format!("known sets: {}", known.join(", "))))
}

fn from_tags(tags: &Path, corpus: &Path) -> Result<Vec<GoldDocument>, StageError> {
    let mut texts: HashMap<String, String> = HashMap::new();
    for document in CorpusReader::open(corpus)?.iter() {
        let document = document?;
        texts.insert(document.doc_id, document.text);
    }
    TagsReader::open(tags)?
        .iter()
        .map(|tagged| {
            let tagged = tagged?;
            let text = texts
                .remove(&tagged.doc_id)
                .filter(|text| text_hash(text) == tagged.text_hash)
                .ok_or_else(|| {
                    StageError::input(format!(
                        "the corpus has no text of document {} that its gold tags were made for",
                        Quoted(&tagged.doc_id)
                    ))
                })?;
            let mentions = tagged
                .spans
                .into_iter()
                .map(|span| Mention {
                    start: span.start as usize,
                    end: span.end as usize,
                    label: span.label.to_string(),
                    must_mask: true,
                    identifier: None,
                    entity: None,
                })
                .collect();
            Ok(GoldDocument { id: tagged.doc_id, text, mentions })
        })
        .collect()
}
