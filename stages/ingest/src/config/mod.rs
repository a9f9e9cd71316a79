//! The settings of the stage.

mod check;
mod choices;
mod conversation;

use pft_stage::{OutsidePath, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::choices::name;
use self::choices::paths_schema;
pub use self::choices::{
    Deduplicate, Granularity, InvalidText, MissingText, Paths, SourceKind, TextFormat, Unit,
};
pub use self::conversation::{Broken, ConversationConfig, ConversationFormat};
use crate::split::SplitConfig;
use crate::synthetic::config::SyntheticConfig;

/// The settings of ingest. `source: jsonl`, `path: cases.jsonl`, `id_column: id`, `text_column:
/// text` is a whole config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the documents come from.
    pub source: SourceKind,
    /// A file, a folder, a glob, `https://HOST/FILE`, `hf://datasets/OWNER/NAME[@REVISION][/FILE OR
    /// GLOB]`, or a list. Files packed by gzip or zstd are read as what is in them.
    #[schemars(schema_with = "paths_schema")]
    pub path: Option<Paths>,
    /// The column that holds the text; `facts` for ecthr where this is `text`. Of JSON and Parquet, this
    /// and other names of columns may lead into objects: `ticket.body`.
    pub text_column: String,
    /// Several columns of text that make a document, one below the other with an empty line between;
    /// instead of `text_column`.
    pub text_columns: Option<Vec<String>>,
    /// Rows that are conversations, whose turns are kept apart; instead of `text_column`.
    pub conversation: Option<ConversationConfig>,
    /// What to do with a row whose text, or conversation, is missing or null.
    pub missing_text: MissingText,
    /// What the text column holds.
    pub text_format: TextFormat,
    /// The column that holds a document's id. Without it a document is called by a number within
    /// its unit, or by a hash of its text.
    pub id_column: Option<String>,
    /// The column that holds the privacy unit's id. `7` and `7.0` in columns of numbers are one unit.
    pub unit_column: Option<String>,
    /// What the privacy unit is, where no column says it.
    pub unit: Unit,
    /// For ecthr, what a document is.
    pub granularity: Granularity,
    /// For csv, the character between fields.
    pub separator: Option<char>,
    /// For csv, the character around fields, which is doubled within them, or `none`; a double quote
    /// where this is left out.
    pub quote: Option<String>,
    /// For csv, the character that makes the next one stand for itself, such as a backslash before a
    /// quote.
    pub escape: Option<char>,
    /// For mail, headers put above the text, such as `[subject]`.
    pub headers: Vec<String>,
    /// For synthetic, what is made.
    pub synthetic: SyntheticConfig,
    /// How units are divided into train, validation and test.
    pub split: SplitConfig,
    /// Only the first so many documents. With `split.by: llm-pft`, of train alone, as there.
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
    /// Shorter documents are left out.
    pub min_chars: u64,
    /// Longer documents are left out.
    pub max_chars: Option<u64>,
    /// Removal of documents whose text is the same.
    pub deduplicate: Deduplicate,
    /// Every document is written this many times. Copies belong to the unit of the first.
    #[schemars(range(min = 1))]
    pub sample_duplication_rate: u32,
    /// What to do with text that is not valid UTF-8 or has NUL characters.
    pub invalid_text: InvalidText,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: SourceKind::Auto,
            path: None,
            text_column: "text".to_string(),
            text_columns: None,
            conversation: None,
            missing_text: MissingText::Refuse,
            text_format: TextFormat::Plain,
            id_column: None,
            unit_column: None,
            unit: Unit::Auto,
            granularity: Granularity::Paragraph,
            separator: None,
            quote: None,
            escape: None,
            headers: Vec::new(),
            synthetic: SyntheticConfig::default(),
            split: SplitConfig::default(),
            limit: None,
            min_chars: 1,
            max_chars: None,
            deduplicate: Deduplicate::Off,
            sample_duplication_rate: 1,
            invalid_text: InvalidText::Refuse,
        }
    }
}

impl Config {
    /// The paths, of which there is at least one.
    ///
    /// # Errors
    /// When there is none.
    pub fn paths(&self) -> Result<&[OutsidePath], StageError> {
        match self.path.as_ref().map(Paths::as_slice) {
            Some(paths) if !paths.is_empty() && paths.iter().all(|path| !path.0.is_empty()) => {
                Ok(paths)
            }
            _ => Err(StageError::config("path: is missing").with_help(
                "name the file, folder or glob to read, or set `source: synthetic` to try the \
                 pipeline on fictional documents",
            )),
        }
    }

    /// The source, with `auto` settled by the first path.
    ///
    /// # Errors
    /// When the path does not tell the source.
    pub fn source_kind(&self) -> Result<SourceKind, StageError> {
        if self.source != SourceKind::Auto {
            return Ok(self.source);
        }
        let path = &self.paths()?[0];
        if path.0.starts_with("hf://") {
            return Ok(SourceKind::Hf);
        }
        SourceKind::of_file(&path.0).ok_or_else(|| {
            StageError::config(format!(
                "source: is missing, and the path {} does not tell it",
                path.0
            ))
            .with_help("set source to jsonl, csv, parquet, text, maildir, ecthr or hf")
        })
    }

    /// The unit, with `auto` settled by the source; `None` where a column says it.
    pub fn unit_rule(&self, source: SourceKind) -> Option<Unit> {
        match (self.unit, &self.unit_column) {
            (Unit::Auto, Some(_)) => None,
            (Unit::Auto, None) => Some(match source {
                SourceKind::Ecthr => Unit::Case,
                SourceKind::Maildir => Unit::Sender,
                _ if source.is_table() && self.text_format == TextFormat::Mail => Unit::Sender,
                _ => Unit::Document,
            }),
            (unit, _) => Some(unit),
        }
    }
}
