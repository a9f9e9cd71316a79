//! The two ways through the documents of a source: as they come, or in LLM-PFT's order.

use pft_artifact::Split;
use pft_stage::{Bar, Context, StageError};

use crate::config::Config;
use crate::document::Opened;
use crate::intake::Intake;
use crate::sink::Sink;
use crate::split::{SplitBy, UnitSplitter, llm_pft_order, llm_pft_split};
use crate::spool::Spool;

/// How many documents pass between looks at whether to stop.
const DOCUMENTS_PER_LOOK: u64 = 256;

/// Documents in the order of the source, each in its unit's split.
pub(crate) fn ingest_by_unit(
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
pub(crate) fn ingest_as_llm_pft(
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
