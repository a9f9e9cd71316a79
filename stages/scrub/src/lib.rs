//! The `scrub` stage: takes the personal data out of a corpus.
//!
//! `corpus` and its `tags` go in; a `corpus` without the tagged text and the `tags` of the new
//! text come out, under numbers instead of the ids. Every document is checked after scrubbing, not a
//! sample of them ([`verify`]): its tagged spans are replaced and nothing else is changed. Whether the
//! tags hold all personal data is not looked at again. Tags that do not belong to the text are refused,
//! and so is a document without tags: it is not known to be clean. Depends on the artifact and contract
//! crates only.

mod config;
mod ids;
mod pairs;
mod planned;
mod replace;
mod secret;
mod surrogate;
mod tally;
mod turns;
pub mod verify;

use pft_artifact::kinds::tagged::TaggedCorpus;
use pft_artifact::{CorpusReader, CorpusWriter, TagsReader, TagsWriter};
use pft_stage::{Context, Kind, Port, Stage, StageError};
use rayon::prelude::*;

use pairs::Pairs;
use planned::Planned;
use tally::Total;

pub use config::{Config, Ids, Mode, Untagged};
pub use replace::{Replacement, Replacer};

/// Documents are scrubbed in batches of about this many bytes for each thread, in parallel within a
/// batch: few enough to be in the processor's caches still when they are written.
const BATCH_BYTES: usize = 1 << 20;

/// The stage.
#[derive(Debug)]
pub struct Scrub;

impl Stage for Scrub {
    const NAME: &'static str = "scrub";
    const REVISION: u32 = 4;
    const ABOUT: &'static str = "Replaces tagged personal data in a corpus";
    type Config = Config;

    fn inputs() -> Vec<Port> {
        vec![Port::required("corpus", Kind::Corpus), Port::required("tags", Kind::Tags)]
    }

    fn outputs() -> Vec<Port> {
        vec![Port::required("corpus", Kind::Corpus), Port::required("tags", Kind::Tags)]
    }

    fn validate(config: &Config) -> Result<(), StageError> {
        config.validate()
    }

    fn run(config: Config, context: &Context) -> Result<(), StageError> {
        let corpus = CorpusReader::open(context.input("corpus")?)?;
        let tags = TagsReader::open(context.input("tags")?)?;
        context.data_used(config.statement());
        let mut corpus_writer = CorpusWriter::create(context.output("corpus"))?;
        let mut tags_writer = TagsWriter::create(context.output("tags"))?;
        let bar = context.progress().start("scrubbing", Some(corpus.num_rows()), "documents");

        let mut pairs = Pairs::new(TaggedCorpus::new(&corpus, &tags), config.untagged);
        let mut ids = ids::Ids::new(config.ids);
        let mut replacer = Replacer::new(&config)?;
        let (mut documents, mut total) = (0_u64, Total::default());
        let batch_bytes = BATCH_BYTES * rayon::current_num_threads();
        loop {
            context.check_interrupted()?;
            let batch = pairs.next_batch(batch_bytes)?;
            if batch.is_empty() {
                break;
            }
            // Placeholders are numbered by first appearance in a unit, so this part is in order.
            let planned = batch.iter().map(|pair| Planned::new(pair, &mut replacer));
            let planned = planned.collect::<Result<Vec<_>, StageError>>()?;
            let scrubbed: Vec<_> = planned.into_par_iter().map(Planned::scrub).collect();
            for result in scrubbed {
                let scrubbed = result?;
                total.add(&scrubbed.tally);
                documents += 1;
                let document = ids.name(scrubbed.document());
                corpus_writer.push_row(document)?;
                tags_writer.push_row(scrubbed.tags(document.doc_id))?;
            }
            bar.advance(batch.len() as u64);
        }
        let unseen = total.check(&config)?;
        corpus_writer.finish()?;
        tags_writer.finish()?;
        bar.finish();
        let (found, replaced) = total.spans();
        context.metric("documents", documents);
        context.metric("spans_replaced", replaced);
        context.metric("spans_by_label", total.to_json());
        context.progress().note(format!("{replaced} of {found} tagged spans replaced"));
        if found > replaced {
            let left = total.left().join(", ");
            context.progress().note(format!("warning: left readable as config says: {left}"));
        }
        if !unseen.is_empty() {
            let unseen = unseen.join(", ");
            context.progress().note(format!("warning: no span has the label {unseen}"));
        }
        context.metric("documents_dropped_untagged", pairs.dropped());
        if config.fixed_seed_not_for_release.is_some() {
            context.metric("not_for_release", "surrogates are chosen by a fixed seed");
            context.progress().note(
                "warning: fixed_seed_not_for_release is set: whoever knows the seed can find out \
                 what surrogates stand for, so this corpus is not for release",
            );
        }
        if pairs.dropped() > 0 {
            context
                .progress()
                .note(format!("{} documents without tags were dropped", pairs.dropped()));
        }
        Ok(())
    }
}
