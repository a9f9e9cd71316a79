//! `report RUN...`: one page about runs, for a browser.

use std::path::PathBuf;

use clap::Args;

use super::{StoreArgument, say};
use crate::{RunError, page, runs};

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// The runs: ids, beginnings of ids, or `last`
    #[arg(default_value = "last")]
    run: Vec<String>,
    /// The file to write
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// Leaves out everything that was computed on private data: what stays may be given away
    #[arg(long)]
    public: bool,
    #[command(flatten)]
    store: StoreArgument,
}

impl ReportArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let store = self.store.existing()?;
        let records = self.run.iter().map(|run| runs::record(&store, run));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let page = page::page(&store, &records, self.public);
        let failed =
            |error: std::io::Error| RunError::config(format!("{}: {error}", self.output.display()));
        std::fs::write(&self.output, page).map_err(failed)?;
        say(&format!("wrote {}", self.output.display()));
        Ok(0)
    }
}
