//! What is written: the corpus, its gold tags, and the counts that are said at the end.

use std::collections::HashMap;

use pft_artifact::{CorpusWriter, Document, Quoted, Split, TaggedDocument, TagsWriter, text_hash};
use pft_stage::{Context, StageError};

use crate::config::{Config, Deduplicate};
use crate::counted::counted;
use crate::fingerprint::fingerprint;
use crate::intake::{Accepted, Intake};
use crate::label::twin;
use crate::reading::Reading;
use crate::spellings::Spellings;
use crate::split::SplitBy;

/// The output ports and what is counted.
pub(crate) struct Sink {
    corpus: CorpusWriter,
    tags: Option<TagsWriter>,
    copies: u32,
    /// The split of each unit that has several documents, unless splits divide units. By bytes, which
    /// take half of what an aligned number would beside a split.
    unit_splits: Option<HashMap<[u8; 16], Split>>,
    documents: [u64; 3],
    units: u64,
    spellings: Spellings,
    /// Units whose ids look like another's.
    repeated: u64,
}

impl Sink {
    pub(crate) fn create(
        config: &Config,
        context: &Context,
        has_spans: bool,
    ) -> Result<Self, StageError> {
        let has_spans = has_spans && config.split.by != SplitBy::LlmPft;
        let tags = has_spans.then(|| TagsWriter::create(context.output("tags"))).transpose()?;
        Ok(Self {
            corpus: CorpusWriter::create(context.output("corpus"))?,
            tags,
            copies: config.sample_duplication_rate,
            unit_splits: (config.split.by != SplitBy::LlmPft).then(HashMap::new),
            documents: [0; 3],
            units: 0,
            spellings: Spellings::default(),
            repeated: 0,
        })
    }

    pub(crate) fn write(
        &mut self,
        document: Accepted,
        split: Split,
        origin: &str,
        intake: &mut Intake,
    ) -> Result<(), StageError> {
        self.check_unit(&document, split, origin)?;
        let Accepted { doc_id, unit_id, text, turns, spans } = document;
        let mut row = Document { doc_id: doc_id.clone(), unit_id, split, text, turns };
        let mut tagged = match (&self.tags, spans) {
            (None, _) => None,
            (Some(_), Some(spans)) => Some(TaggedDocument {
                doc_id: doc_id.clone(),
                text_hash: text_hash(&row.text),
                spans,
            }),
            (Some(_), None) => {
                return Err(StageError::bug(format!("document {} has no spans", Quoted(&doc_id))));
            }
        };
        for copy in 1..=self.copies {
            if copy > 1 {
                row.doc_id = format!("{doc_id}~{copy}");
                intake.claim(&row.doc_id, origin)?;
            }
            self.corpus.push(&row)?;
            if let (Some(writer), Some(tagged)) = (&mut self.tags, &mut tagged) {
                tagged.doc_id.clone_from(&row.doc_id);
                writer.push(tagged)?;
            }
            self.documents[split as usize] += 1;
        }
        Ok(())
    }

    /// A unit is in one split, or held-out figures and the guarantee mean nothing.
    fn check_unit(
        &mut self,
        document: &Accepted,
        split: Split,
        origin: &str,
    ) -> Result<(), StageError> {
        if document.unit_id == document.doc_id {
            self.units += 1;
            return Ok(());
        }
        let Some(unit_splits) = &mut self.unit_splits else {
            return Ok(());
        };
        let mut is_new = false;
        let first = *unit_splits
            .entry(fingerprint(&[&document.unit_id]).to_le_bytes())
            .or_insert_with(|| {
                is_new = true;
                split
            });
        self.units += u64::from(is_new);
        self.repeated += u64::from(is_new && self.spellings.is_repeated(&document.unit_id));
        if is_new && let Some(twin) = twin(&document.unit_id) {
            let known = fingerprint(&[&twin]).to_le_bytes();
            if unit_splits.contains_key(&known) {
                return Err(two_spellings(origin, &document.unit_id, &twin));
            }
        }
        if first != split {
            return Err(StageError::input(format!(
                "{origin}: unit {} is in {} here and in {} before",
                Quoted(&document.unit_id),
                split.as_str(),
                first.as_str()
            ))
            .with_help(
                "a unit's documents must be in one split: mend the data, or use `split.by: unit`",
            ));
        }
        Ok(())
    }

    pub(crate) fn finish(
        self,
        context: &Context,
        reading: &Reading,
        intake: &Intake,
    ) -> Result<(), StageError> {
        let config = &reading.config;
        let left_out = intake.left_out;
        let documents: u64 = self.documents.iter().sum();
        if documents == 0 {
            let reason = left_out.reasons(config).map(|reasons| format!(": {reasons}"));
            let has_columns = reading.source.is_table();
            return Err(StageError::input(format!(
                "the corpus is empty{}",
                reason.unwrap_or_default()
            ))
            .with_help(format!(
                "check `path`,{} `min_chars` and `max_chars`",
                if has_columns { " `text_column`," } else { "" }
            )));
        }
        self.corpus.finish()?;
        if let Some(tags) = self.tags {
            tags.finish()?;
        }
        context.metric("documents", documents);
        for (split, count) in
            [Split::Train, Split::Validation, Split::Test].into_iter().zip(self.documents)
        {
            context.metric(&format!("{}_documents", split.as_str()), count);
        }
        if self.unit_splits.is_some() {
            context.metric("units", self.units);
        }
        context.metric("too_short", left_out.too_short);
        context.metric("too_long", left_out.too_long);
        context.metric("duplicates", left_out.duplicates);
        for (name, count) in
            [("without_text", left_out.without_text), ("broken_conversations", left_out.broken)]
        {
            if count > 0 {
                context.metric(name, count);
            }
        }
        let [train, validation, test] = self.documents;
        context.progress().note(format!(
            "{}: {train} train, {validation} validation, {test} test",
            counted(documents, "document")
        ));
        if self.repeated > 0 {
            context.progress().note(format!(
                "warning: the ids of {} differ from another unit's in nothing but capitals, spaces or \
                 invisible signs: if they are one person, a guarantee for one unit is not one for them",
                counted(self.repeated, "unit")
            ));
        }
        if let Some(reasons) = left_out.reasons(config) {
            context.progress().note(reasons);
        }
        if train == 0 {
            context.progress().note(
                "warning: no document is in train; there are few units, or split.train is small",
            );
        }
        if config.deduplicate == Deduplicate::AcrossUnits && left_out.duplicates > 0 {
            context.progress().note(format!(
                "warning: {} removed across units, which the privacy guarantee does not cover",
                match left_out.duplicates {
                    1 => "1 duplicate was".to_string(),
                    count => format!("{count} duplicates were"),
                }
            ));
        }
        Ok(())
    }
}

/// `7` and `7.0` in files without types: one person would be two units, each with a promise of its own.
fn two_spellings(origin: &str, unit: &str, twin: &str) -> StageError {
    StageError::input(format!(
        "{origin}: unit {} is here, and unit {} before: they may be one",
        Quoted(unit),
        Quoted(twin)
    ))
    .with_help(
        "write the column of units in one way in all files: pandas writes whole numbers with `.0` once \
         a value is missing, unless the column's type is `Int64` or text",
    )
}
