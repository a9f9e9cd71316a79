//! The config as sources go by it: what it leaves open is settled once.

use pft_stage::{OutsidePath, StageError};

use crate::config::{Config, SourceKind, Unit};

/// A config and what follows from it.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The settings.
    pub(crate) config: Config,
    /// The source, which is not `auto`.
    pub(crate) source: SourceKind,
    /// What the unit is, which is not `auto`; `None` where a column says it.
    pub(crate) unit: Option<Unit>,
    /// What is read; nothing for the synthetic source.
    pub(crate) paths: Vec<OutsidePath>,
}

impl Reading {
    /// Settles a config.
    ///
    /// # Errors
    /// When its path is missing or does not tell the source.
    pub(crate) fn of(config: Config) -> Result<Self, StageError> {
        let source = config.source_kind()?;
        let paths = match source {
            SourceKind::Synthetic => Vec::new(),
            _ => config.paths()?.to_vec(),
        };
        Ok(Self { unit: config.unit_rule(source), source, paths, config })
    }
}
