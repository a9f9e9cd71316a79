//! The `tag-pii` stage: finds personal information in a corpus.
//!
//! Two passes over the corpus. The first lets every backend tag every text that its cache does not
//! know yet, and collects the names of each privacy unit; the second combines what the backends
//! found, looks for each unit's names in all its documents, and writes `tags`. Memory is bounded by a batch
//! of documents and the units' names. It depends on `pft-ner` for the taggers, and on the artifact and stage crates.

mod architecture;
mod backends;
mod batch;
pub mod cache;
mod combining;
pub mod config;
pub mod evaluate;
mod gold;
pub mod merge;
pub mod shard;
mod tagging;
pub mod train;
mod turns;

pub use config::{Backend, Config, OnError};
pub use tagging::Tagging;

use pft_stage::{Context, Kind, Port, Stage, StageError};

/// The stage.
#[derive(Debug)]
pub struct TagPii;

impl Stage for TagPii {
    const NAME: &'static str = "tag-pii";
    const REVISION: u32 = 5;
    const ABOUT: &'static str = "Finds personal information in a corpus.\n\nWith --shard I/N it tags the I-th of N parts \
        (units stay whole); `tag-pii merge` puts the parts together; `tag-pii evaluate` measures tags against gold \
        annotations; `tag-pii train` trains a tagger on them. PFT_CACHE_DIR names a folder of finished work that runs share.";
    type Config = Config;

    fn inputs() -> Vec<Port> {
        vec![Port::required("corpus", Kind::Corpus)]
    }

    fn outputs() -> Vec<Port> {
        vec![Port::required("tags", Kind::Tags)]
    }

    fn validate(config: &Config) -> Result<(), StageError> {
        config.validate()
    }

    fn run(config: Config, context: &Context) -> Result<(), StageError> {
        tagging::run(&config, context)
    }
}
