//! `completions` and `man`: made from the command line itself.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::RunError;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

impl CompletionsArguments {
    pub(crate) fn run(&self, mut command: Command) -> Result<u8, RunError> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "pft-pipeline", &mut text);
        super::print(&String::from_utf8_lossy(&text));
        Ok(0)
    }
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// The folder to write the pages into
    folder: PathBuf,
}

impl ManArguments {
    pub(crate) fn run(&self, command: Command) -> Result<u8, RunError> {
        let failed =
            |error: std::io::Error| RunError::config(format!("{}: {error}", self.folder.display()));
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        clap_mangen::generate_to(command, &self.folder).map_err(failed)?;
        Ok(0)
    }
}
