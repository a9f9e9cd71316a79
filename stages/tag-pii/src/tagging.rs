//! The two passes over a corpus.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use pft_artifact::{CorpusReader, Document, Quoted, TaggedDocument, TagsWriter};
use pft_pii::combine::tag_texts;
use pft_pii::consistency::{NameFinder, UnitNames};
use pft_pii::{LoadError, Span, TagError, Tagger};
use pft_stage::{Context, StageError};
use rayon::prelude::*;
use serde_json::json;

use crate::backends;
use crate::batch::{Batch, Part};
use crate::cache::{Cache, TextHash};
use crate::combining::Combining;
use crate::shard::Shard;
use crate::turns;
use crate::{Config, OnError};

/// Text in memory at once, a thread. A killed run loses at most one batch's work.
const BATCH_BYTES: usize = 512 * 1024;
/// A batch with more bytes than this has a text so long that what one backend leaves behind is given
/// back before the next begins.
const LONG_BYTES: usize = 8 << 20;
/// Finders of units kept in memory; a unit's documents mostly follow each other.
const FINDERS: usize = 64;

/// Taggers, what counts of their answers, and the consistency pass.
pub struct Tagging {
    /// The taggers, in the config's order.
    taggers: Vec<Arc<dyn Tagger>>,
    pub(crate) combining: Combining,
}

impl Tagging {
    /// Makes everything that the config names.
    ///
    /// # Errors
    /// When a setting is wrong (exit code 2) or a model cannot be read (3).
    pub fn new(config: &Config) -> Result<Self, StageError> {
        let (taggers, ranks) = backends::load(config)?.into_iter().unzip();
        Ok(Self { taggers, combining: Combining::new(config, ranks)? })
    }

    /// Tags documents in memory, each a unit of its own.
    ///
    /// # Errors
    /// When a text cannot be tagged; the error names its position in the list.
    pub fn tag(&self, texts: &[&str]) -> Result<Vec<Vec<Span>>, StageError> {
        let mut found: Vec<Vec<Vec<Span>>> = texts.iter().map(|_| Vec::new()).collect();
        let combining = &self.combining;
        for (tagger, rank) in self.taggers.iter().zip(&combining.ranks) {
            for (n, result) in tag_texts(&**tagger, texts).into_iter().enumerate() {
                let mut spans =
                    result.map_err(|error| untaggable(&format!("number {}", n + 1), &error))?;
                spans.retain(|span| rank.is_heard(&span.label, &combining.policy));
                found[n].push(spans);
            }
        }
        texts
            .par_iter()
            .zip(found)
            .map(|(text, found)| {
                let spans = combining.combine(text, &found, None);
                let Some(consistency) = &combining.consistency else {
                    return Ok(spans);
                };
                let mut names = UnitNames::default();
                consistency.collect(text, &spans, &mut names);
                Ok(combining.combine(text, &found, Some(&names.finder().map_err(too_many)?)))
            })
            .collect()
    }
}

/// Runs the stage.
pub(crate) fn run(config: &Config, context: &Context) -> Result<(), StageError> {
    pft_stage::allocator::return_large_blocks();
    let Tagging { taggers, combining } = Tagging::new(config)?;
    let shard = Shard::parse(&config.shard)?;
    let corpus = CorpusReader::open(context.input("corpus")?)?;
    let part = Part { corpus: &corpus, shard, batch_bytes: BATCH_BYTES * context.threads() };
    let root = match std::env::var_os("PFT_TAG_CACHE") {
        Some(shared) if !shared.is_empty() => PathBuf::from(shared),
        _ => context.cache().unwrap_or(context.scratch()).join("tagged"),
    };
    let caches = taggers
        .iter()
        .map(|tagger| Cache::open(&root, &**tagger))
        .collect::<Result<Vec<_>, _>>()?;
    let mut first = FirstPass {
        taggers: &taggers,
        combining: &combining,
        on_error: config.on_error,
        caches,
        names: HashMap::new(),
        failed: HashSet::new(),
        tagged: vec![0; taggers.len()],
        entities: 0,
    };
    first.run(&part, context)?;

    let FirstPass { caches, names, failed, tagged, .. } = first;
    let tagged: BTreeMap<String, u64> =
        taggers.iter().map(|tagger| tagger.name().to_string()).zip(tagged).collect();
    // Models and what they keep take as much memory as a long document needs from here on.
    drop(taggers);
    pft_stage::allocator::return_freed();
    let mut second =
        SecondPass { combining: &combining, caches: &caches, names, finders: VecDeque::new() };
    let writer = TagsWriter::create(context.output("tags"))?;
    let Written { rows, dropped, entities, by_label } =
        second.run(&part, &failed, writer, context)?;

    context.metric("documents", rows);
    context.metric("dropped_documents", dropped);
    context.metric("entities", entities);
    context.metric("entities_by_label", json!(by_label));
    context.metric("newly_tagged_texts", json!(tagged));
    if dropped > 0 {
        context.progress().note(format!(
            "{dropped} documents could not be tagged and have no row in the tags; scrub and tokenize refuse or drop them"
        ));
    }
    Ok(())
}

struct FirstPass<'t> {
    taggers: &'t [Arc<dyn Tagger>],
    combining: &'t Combining,
    on_error: OnError,
    caches: Vec<Cache>,
    names: HashMap<String, UnitNames>,
    failed: HashSet<TextHash>,
    /// Texts that each backend had to tag.
    tagged: Vec<u64>,
    entities: u64,
}

impl FirstPass<'_> {
    /// Tags every text that is not in the caches yet.
    fn run(&mut self, part: &Part<'_>, context: &Context) -> Result<(), StageError> {
        let bar = context.progress().start("tagging", part.total(), "documents");
        let mut documents = part.corpus.iter();
        loop {
            let batch = Batch::next(&mut documents, part)?;
            if batch.is_empty() {
                break;
            }
            self.tag(&batch)?;
            context.check_interrupted()?;
            bar.message(format!("{} entities", self.entities));
            bar.advance(batch.documents.len() as u64);
        }
        bar.finish();
        Ok(())
    }

    fn tag(&mut self, batch: &Batch) -> Result<(), StageError> {
        for (n, tagger) in self.taggers.iter().enumerate() {
            let mut seen = HashSet::new();
            let new: Vec<usize> = (0..batch.documents.len())
                .filter(|&d| {
                    let hash = &batch.hashes[d];
                    !self.caches[n].holds(hash) && !self.failed.contains(hash) && seen.insert(*hash)
                })
                .collect();
            let texts: Vec<&str> = new.iter().map(|&d| batch.documents[d].text.as_str()).collect();
            let results = tag_texts(&**tagger, &texts);
            let mut finished = Vec::with_capacity(new.len());
            let mut error = None;
            for (&d, result) in new.iter().zip(&results) {
                match result {
                    Ok(spans) => finished.push((batch.hashes[d], spans.as_slice())),
                    Err(reason) if self.on_error == OnError::Stop => {
                        error.get_or_insert_with(|| {
                            untaggable(&Quoted(&batch.documents[d].doc_id).to_string(), reason)
                        });
                    }
                    Err(_) => {
                        self.failed.insert(batch.hashes[d]);
                    }
                }
            }
            self.tagged[n] += finished.len() as u64;
            self.caches[n].add(&finished)?;
            drop(finished);
            drop(results);
            if batch.bytes > LONG_BYTES {
                pft_stage::allocator::return_freed();
            }
            if let Some(error) = error {
                return Err(error);
            }
        }
        self.collect_names(batch)
    }

    fn collect_names(&mut self, batch: &Batch) -> Result<(), StageError> {
        let consistency = self.combining.consistency.as_ref();
        let found: Vec<(u64, UnitNames)> = (0..batch.documents.len())
            .into_par_iter()
            .map(|d| {
                let mut names = UnitNames::default();
                if self.failed.contains(&batch.hashes[d]) {
                    return Ok((0, names));
                }
                let text = &batch.documents[d].text;
                let found = self.combining.recall(&self.caches, &batch.hashes[d])?;
                let spans = self.combining.combine(text, &found, None);
                let spans = turns::within(text, &batch.documents[d].turns, spans);
                if let Some(consistency) = consistency {
                    consistency.collect(text, &spans, &mut names);
                }
                Ok((spans.len() as u64, names))
            })
            .collect::<Result<_, StageError>>()?;
        for (document, (entities, names)) in batch.documents.iter().zip(found) {
            self.entities += entities;
            if !names.is_empty() {
                self.names.entry(document.unit_id.clone()).or_default().merge(names);
            }
        }
        Ok(())
    }
}

/// What the second pass wrote.
#[derive(Default)]
struct Written {
    rows: u64,
    dropped: u64,
    entities: u64,
    by_label: BTreeMap<Arc<str>, u64>,
}

struct SecondPass<'t> {
    combining: &'t Combining,
    caches: &'t [Cache],
    names: HashMap<String, UnitNames>,
    finders: VecDeque<(String, Arc<NameFinder>)>,
}

impl SecondPass<'_> {
    /// Writes the tags of every document whose text could be tagged.
    fn run(
        &mut self,
        part: &Part<'_>,
        failed: &HashSet<TextHash>,
        mut writer: TagsWriter,
        context: &Context,
    ) -> Result<Written, StageError> {
        let bar = context.progress().start("combining", part.total(), "documents");
        let mut documents = part.corpus.iter();
        let mut written = Written::default();
        loop {
            let batch = Batch::next(&mut documents, part)?;
            if batch.is_empty() {
                break;
            }
            bar.advance(batch.documents.len() as u64);
            let kept: Batch = batch.without(failed, &mut written.dropped);
            let all_tagged = self.tags(&kept)?;
            // Writing takes as much memory again as the texts of a batch do.
            drop(kept);
            for tagged in all_tagged {
                written.rows += 1;
                written.entities += tagged.spans.len() as u64;
                for span in &tagged.spans {
                    *written.by_label.entry(span.label.clone()).or_default() += 1;
                }
                writer.push(&tagged)?;
            }
            context.check_interrupted()?;
            bar.message(format!("{} entities", written.entities));
        }
        writer.finish()?;
        bar.finish();
        Ok(written)
    }

    fn tags(&mut self, batch: &Batch) -> Result<Vec<TaggedDocument>, StageError> {
        let finders = batch
            .documents
            .iter()
            .map(|document| self.finder(&document.unit_id))
            .collect::<Result<Vec<_>, _>>()?;
        (0..batch.documents.len())
            .into_par_iter()
            .map(|d| {
                let document = &batch.documents[d];
                let found = self.combining.recall(self.caches, &batch.hashes[d])?;
                let spans = self.combining.combine(&document.text, &found, finders[d].as_deref());
                let spans = turns::within(&document.text, &document.turns, spans);
                drop(found);
                Ok(TaggedDocument {
                    doc_id: document.doc_id.clone(),
                    text_hash: blake3::Hash::from(batch.hashes[d]).to_hex().to_string(),
                    spans: spans
                        .into_iter()
                        .map(|span| stored(document, span))
                        .collect::<Result<_, _>>()?,
                })
            })
            .collect()
    }

    fn finder(&mut self, unit_id: &str) -> Result<Option<Arc<NameFinder>>, StageError> {
        let Some(names) = self.names.get(unit_id) else {
            return Ok(None);
        };
        if let Some((_, finder)) = self.finders.iter().find(|(unit, _)| unit == unit_id) {
            return Ok(Some(Arc::clone(finder)));
        }
        let finder = Arc::new(names.finder().map_err(too_many)?);
        if self.finders.len() == FINDERS {
            self.finders.pop_front();
        }
        self.finders.push_back((unit_id.to_string(), Arc::clone(&finder)));
        Ok(Some(finder))
    }
}

fn stored(document: &Document, span: Span) -> Result<pft_artifact::Span, StageError> {
    let offset = |at: usize| {
        u32::try_from(at).map_err(|_| {
            StageError::input(format!("document {} is longer than 4 GiB", Quoted(&document.doc_id)))
                .with_help("cut it into several documents")
        })
    };
    Ok(pft_artifact::Span {
        start: offset(span.start)?,
        end: offset(span.end)?,
        label: span.label,
        score: span.score,
        source: span.source,
        other_labels: span.other_labels.joined(),
    })
}

fn untaggable(document: &str, error: &TagError) -> StageError {
    let message = format!("document {document} could not be tagged: {error}");
    match error {
        TagError::Service(_) => StageError::service(message),
        TagError::Text(_) | TagError::Model(_) => StageError::input(message),
    }
    .with_help("mend the cause, or set `on_error: drop` to leave such documents out")
}

fn too_many(error: LoadError) -> StageError {
    StageError::input(error.to_string()).with_help("set `consistency.enabled: false`")
}
