//! The ingest stage: raw files in, a `corpus` out. This crate reads every source format, gives
//! each document its id, privacy unit and split, and refuses bad input with its place. The
//! synthetic source also knows where its personal data is and writes it as `tags`. It may depend
//! on polars, parquet and `mail-parser` for formats, `ureq` for the hub, and `pft-artifact` and
//! `pft-stage`.

pub mod config;
mod counted;
mod file_name;
mod intake;
mod left_out;
pub mod mersenne_twister;
pub mod source;
pub mod split;
mod spool;
pub mod synthetic;

use std::collections::HashMap;

use pft_artifact::{CorpusWriter, Document, Quoted, Split, TaggedDocument, TagsWriter, text_hash};
use pft_stage::{Bar, Context, Kind, Port, Stage, StageError};

use crate::config::{Config, Deduplicate, SourceKind, SplitBy};
use crate::counted::counted;
use crate::intake::{Accepted, Intake, fingerprint};
use crate::source::Opened;
use crate::source::label::twin;
use crate::split::{UnitSplitter, llm_pft_order, llm_pft_split};
use crate::spool::Spool;

/// How many documents pass between looks at whether to stop.
const DOCUMENTS_PER_LOOK: u64 = 256;

/// The stage.
pub struct Ingest;

impl Stage for Ingest {
    const NAME: &'static str = "ingest";
    const REVISION: u32 = 4;
    const ABOUT: &'static str = "Reads raw documents into a corpus";
    type Config = Config;

    fn inputs() -> Vec<Port> {
        Vec::new()
    }

    fn outputs() -> Vec<Port> {
        vec![Port::required("corpus", Kind::Corpus), Port::optional_output("tags", Kind::Tags)]
    }

    fn validate(config: &Config) -> Result<(), StageError> {
        config.validate()
    }

    fn run(config: Config, context: &Context) -> Result<(), StageError> {
        note_units(&config, context)?;
        let opened = source::open(&config)?;
        let bar = context.progress().start("ingesting", opened.total, "documents");
        if config.source == SourceKind::Synthetic && !config.synthetic.canaries.is_empty() {
            let table = config.synthetic.canary_table(&config.split)?;
            let table =
                serde_json::to_value(table).map_err(|error| StageError::bug(error.to_string()))?;
            context.metric("canaries", table);
        }
        let mut sink = Sink::create(&config, context, opened.has_spans)?;
        let mut intake = Intake::new(&config);
        if config.split.by == SplitBy::LlmPft {
            ingest_as_llm_pft(&config, context, opened, &mut intake, &mut sink, &bar)?;
        } else {
            ingest_by_unit(&config, context, opened, &mut intake, &mut sink, &bar)?;
        }
        bar.finish();
        sink.finish(context, &config, &intake)
    }
}

/// Says what a unit is, and by which settings units decide about each other.
fn note_units(config: &Config, context: &Context) -> Result<(), StageError> {
    let source = config.source_kind()?;
    context.unit_is(match (config.unit_rule(source), &config.unit_column) {
        _ if source == SourceKind::Synthetic => config.synthetic.kind.unit().to_string(),
        (Some(rule), _) => config::name(&rule),
        (None, column) => format!("unit (column {})", column.as_deref().unwrap_or_default()),
    });
    if config.split.by == SplitBy::LlmPft {
        context.units_coupled(
            "ingest, split.by: llm-pft: which documents were trained on depended on the number of \
             all documents",
        );
    }
    if config.deduplicate == Deduplicate::AcrossUnits {
        context.units_coupled(
            "ingest, deduplicate: across_units: whether a unit's document was trained on depended \
             on the texts of other units",
        );
    }
    if config.limit.is_some() {
        context.units_coupled(
            "ingest, limit: which documents were trained on depended on how many came before them",
        );
    }
    Ok(())
}

/// Documents in the order of the source, each in its unit's split.
fn ingest_by_unit(
    config: &Config,
    context: &Context,
    opened: Opened,
    intake: &mut Intake,
    sink: &mut Sink,
    bar: &Bar,
) -> Result<(), StageError> {
    let splitter = UnitSplitter::new(&config.split);
    let given_split = matches!(config.split.by, SplitBy::Column | SplitBy::File);
    let mut documents: u64 = 0;
    for raw in opened.documents {
        if documents.is_multiple_of(DOCUMENTS_PER_LOOK) {
            context.check_interrupted()?;
        }
        let raw = raw?;
        bar.advance(1);
        let (split, origin) = (raw.split, raw.origin.clone());
        let Some(document) = intake.accept(raw)? else {
            continue;
        };
        let split = match split {
            Some(split) if given_split => split,
            _ => splitter.split(&document.unit_id),
        };
        sink.write(document, split, &origin, intake)?;
        documents += 1;
        if config.limit == Some(documents) {
            break;
        }
    }
    Ok(())
}

/// Documents in LLM-PFT's order and splits.
fn ingest_as_llm_pft(
    config: &Config,
    context: &Context,
    opened: Opened,
    intake: &mut Intake,
    sink: &mut Sink,
    bar: &Bar,
) -> Result<(), StageError> {
    context.progress().note(
        "warning: split.by: llm-pft divides documents, not units, so that documents of one case \
         or author are in train, validation and test at once; held-out figures are then not those \
         of unseen units",
    );
    let mut spool = Spool::create(context.scratch())?;
    for (number, raw) in opened.documents.enumerate() {
        if (number as u64).is_multiple_of(DOCUMENTS_PER_LOOK) {
            context.check_interrupted()?;
        }
        bar.advance(1);
        if let Some(document) = intake.accept(raw?)? {
            spool.push(&document)?;
        }
    }
    let count = u32::try_from(spool.len())
        .map_err(|_| StageError::input("split.by: llm-pft takes at most 4 billion documents"))?;
    let mut spooled = spool.finish()?;
    let mut train = 0;
    for (position, index) in (0..).zip(llm_pft_order(count)) {
        if u64::from(position).is_multiple_of(DOCUMENTS_PER_LOOK) {
            context.check_interrupted()?;
        }
        let split = llm_pft_split(position, count);
        if split == Split::Train {
            train += 1;
            if config.limit.is_some_and(|limit| train > limit) {
                continue;
            }
        }
        let document = spooled.get(index as usize)?;
        sink.write(document, split, "", intake)?;
    }
    spooled.remove()
}

/// The output ports and what is counted.
struct Sink {
    corpus: CorpusWriter,
    tags: Option<TagsWriter>,
    copies: u32,
    /// The split of each unit that has several documents, unless splits divide units. By bytes, which
    /// take half of what an aligned number would beside a split.
    unit_splits: Option<HashMap<[u8; 16], Split>>,
    documents: [u64; 3],
    units: u64,
}

impl Sink {
    fn create(config: &Config, context: &Context, has_spans: bool) -> Result<Self, StageError> {
        let has_spans = has_spans && config.split.by != SplitBy::LlmPft;
        let tags = has_spans.then(|| TagsWriter::create(context.output("tags"))).transpose()?;
        Ok(Self {
            corpus: CorpusWriter::create(context.output("corpus"))?,
            tags,
            copies: config.sample_duplication_rate,
            unit_splits: (config.split.by != SplitBy::LlmPft).then(HashMap::new),
            documents: [0; 3],
            units: 0,
        })
    }

    fn write(
        &mut self,
        document: Accepted,
        split: Split,
        origin: &str,
        intake: &mut Intake,
    ) -> Result<(), StageError> {
        self.check_unit(&document, split, origin)?;
        let Accepted { doc_id, unit_id, text, spans } = document;
        let mut row = Document { doc_id: doc_id.clone(), unit_id, split, text };
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

    fn finish(self, context: &Context, config: &Config, intake: &Intake) -> Result<(), StageError> {
        let left_out = intake.left_out;
        let documents: u64 = self.documents.iter().sum();
        if documents == 0 {
            let reason = left_out.reasons(config).map(|reasons| format!(": {reasons}"));
            let has_columns = config.source_kind()?.is_table();
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
        let [train, validation, test] = self.documents;
        context.progress().note(format!(
            "{}: {train} train, {validation} validation, {test} test",
            counted(documents, "document")
        ));
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
