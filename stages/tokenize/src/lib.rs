//! The `tokenize` stage: documents become examples of token ids.
//!
//! An example never mixes two documents, so it never mixes two privacy units, and no block border
//! depends on a neighbour. Each token knows whether it touches personal data, by the byte offsets
//! of `tags`. Depends on the artifact and contract crates, on `pft-gguf` for tokenizers inside
//! GGUF files, on `pft-hub` for what else a path may be, and on `tokenizers`.

mod chat;
mod config;
mod control;
mod conversation;
mod examples;
mod gguf;
mod load;
mod loaded;
mod outcomes;
mod settings;
mod words;

use std::collections::HashSet;

use outcomes::Outcomes;
use pft_artifact::kinds::tagged::{Tagged, TaggedCorpus};
use pft_artifact::{
    ArtifactError, CorpusReader, ExampleRow, Quoted, Split, StoredDocument, StoredTags, TagsReader,
    TokensWriter,
};
use pft_stage::{Context, Facts, Kind, Port, Stage, StageError};
use rayon::prelude::*;

pub use config::{
    ChatConfig, Config, LongConversation, Loss, Mode, Refused, SpecialTokensInText, SplitName,
};
pub use examples::{Cutter, DocumentExamples};
pub use load::load_tokenizer;
pub use loaded::LoadedTokenizer;
pub use words::{Encoded, Sink, WordEncoder};

/// Documents are tokenized in batches of about this many bytes for each thread, in parallel within a
/// batch: few enough to be in the processor's caches still when they are written.
const BATCH_BYTES: usize = 1 << 20;

/// The stage.
#[derive(Debug)]
pub struct Tokenize;

impl Stage for Tokenize {
    const NAME: &'static str = "tokenize";
    const REVISION: u32 = 8;
    const ABOUT: &'static str = "Turns documents into examples of token ids";
    type Config = Config;

    fn inputs() -> Vec<Port> {
        vec![Port::required("corpus", Kind::Corpus), Port::optional("tags", Kind::Tags)]
    }

    fn outputs() -> Vec<Port> {
        vec![Port::required("tokens", Kind::Tokens)]
    }

    fn validate(config: &Config) -> Result<(), StageError> {
        config.validate()
    }

    fn facts(config: &Config) -> Result<Facts, StageError> {
        let longest = match config.mode {
            Mode::Truncate => config.max_length,
            Mode::Blocks => config.block_size,
        };
        Ok(Facts::default().give("tokens", "sequence_length", longest.into()))
    }

    fn run(config: Config, context: &Context) -> Result<(), StageError> {
        let loaded = load_tokenizer(&config)?;
        let output = context.output("tokens");
        loaded.save(output)?;
        let corpus = CorpusReader::open(context.input("corpus")?)?;
        let mut documents = Documents::open(&corpus, context.input_optional("tags"))?;
        let wanted: Option<HashSet<Split>> =
            config.splits.as_ref().map(|splits| splits.iter().map(|&s| s.into()).collect());
        let cutter = Cutter::new(&config, &loaded);
        let mut writer = TokensWriter::create(output)?;
        let bar = context.progress().start("tokenizing", Some(corpus.num_rows()), "documents");
        let mut counts = Counts::default();
        let batch_bytes = BATCH_BYTES * rayon::current_num_threads();
        loop {
            context.check_interrupted()?;
            let mut batch: Vec<(StoredDocument, Option<StoredTags>)> = Vec::new();
            let mut bytes = 0;
            let mut read = 0;
            while bytes < batch_bytes {
                let Some((document, tagged)) = documents.next()? else { break };
                read += 1;
                let row = document.row();
                if wanted.as_ref().is_none_or(|wanted| wanted.contains(&row.split)) {
                    bytes += row.text.len() + 64;
                    batch.push((document, tagged));
                }
            }
            if read == 0 {
                break;
            }
            let results: Vec<Result<DocumentExamples<'_>, StageError>> = batch
                .par_iter()
                .map(|(document, tagged)| {
                    let spans = tagged.iter().flat_map(StoredTags::spans);
                    cutter.examples(document.row(), spans)
                })
                .collect();
            for result in results {
                let result = result?;
                counts.documents += 1;
                counts.truncated += u64::from(result.truncated);
                counts.too_short += u64::from(result.is_too_short());
                counts.outcomes.add(&result.outcomes);
                result.each(|example| {
                    counts.add(&example);
                    writer.push_row(example)
                })?;
            }
            bar.advance(read);
        }
        writer.finish()?;
        bar.finish();
        counts.report(context);
        Ok(())
    }
}

/// A corpus, with its tags where they are given. Unlike in `scrub`, a document without tags among
/// others that have some is an error whatever config says: its personal data would silently count as
/// none.
enum Documents {
    Untagged(Box<dyn Iterator<Item = Result<StoredDocument, ArtifactError>>>),
    Tagged(TaggedCorpus),
}

impl Documents {
    fn open(corpus: &CorpusReader, tags: Option<&std::path::Path>) -> Result<Self, StageError> {
        Ok(match tags {
            None => Self::Untagged(Box::new(corpus.stored())),
            Some(path) => Self::Tagged(TaggedCorpus::new(corpus, &TagsReader::open(path)?)),
        })
    }

    fn next(&mut self) -> Result<Option<(StoredDocument, Option<StoredTags>)>, StageError> {
        let rows = match self {
            Self::Untagged(rows) => {
                return Ok(rows.next().transpose()?.map(|document| (document, None)));
            }
            Self::Tagged(rows) => rows,
        };
        let Some(Tagged { document, tags }) = rows.next().transpose()? else { return Ok(None) };
        if tags.is_none() {
            return Err(StageError::input(format!(
                "document {} has no tags, or the tags are in another order",
                Quoted(document.row().doc_id)
            ))
            .with_help("use the tags that were made from this corpus"));
        }
        Ok(Some((document, tags)))
    }
}

#[derive(Default)]
struct Counts {
    documents: u64,
    truncated: u64,
    too_short: u64,
    examples: u64,
    tokens: u64,
    pii_tokens: u64,
    /// Of examples that have a loss mask.
    learned_tokens: Option<u64>,
    outcomes: Outcomes,
}

impl Counts {
    fn add(&mut self, example: &ExampleRow<'_>) {
        self.examples += 1;
        self.tokens += example.input_ids.len() as u64;
        self.pii_tokens += example.pii.iter().filter(|&&flag| flag).count() as u64;
        if !example.loss_mask.is_empty() {
            let learned = example.loss_mask.iter().filter(|&&flag| flag).count() as u64;
            *self.learned_tokens.get_or_insert(0) += learned;
        }
    }

    fn report(&self, context: &Context) {
        for (name, value) in [
            ("documents", self.documents),
            ("documents_truncated", self.truncated),
            ("documents_too_short", self.too_short),
            ("examples", self.examples),
            ("tokens", self.tokens),
            ("pii_tokens", self.pii_tokens),
        ] {
            context.metric(name, value);
        }
        context.progress().note(format!(
            "{} examples, {} tokens ({} in personal data), {} of {} documents truncated",
            self.examples, self.tokens, self.pii_tokens, self.truncated, self.documents
        ));
        if let Some(learned) = self.learned_tokens {
            context.metric("learned_tokens", learned);
            context.progress().note(format!("{learned} tokens are learned: those of answers"));
        }
        self.outcomes.report(context);
    }
}
