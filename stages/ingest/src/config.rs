//! The settings of the stage.

use pft_stage::{OutsidePath, StageError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::file_name::{unpacked, without_query};
use crate::synthetic::SyntheticConfig;

/// Where the documents come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Told by the path: `hf://…`, or the file's extension (.jsonl, .ndjson, .csv, .tsv,
    /// .parquet, .txt, .eml, .mbox), with .gz or .zst behind it if the file is packed.
    #[default]
    Auto,
    /// JSON Lines: one object a line. One that has a field twice is refused, if that is read.
    Jsonl,
    /// Comma separated values with a header line, read strictly by RFC 4180. Blank lines are skipped.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Text files, one document each; a folder means every .txt file below it.
    Text,
    /// Folders of RFC 822 messages, one message a file, and mbox files, which hold many. A message is
    /// called by its path below `path`, in an mbox by the mbox and a hash of the message.
    Maildir,
    /// The layout of the `ecthr_cases` data set, JSON Lines or Parquet: one row a case, whose
    /// `facts` is a list of paragraphs.
    Ecthr,
    /// A data set of the Hugging Face hub, `path: hf://datasets/OWNER/NAME`, whose files are JSON
    /// Lines, CSV or Parquet.
    Hf,
    /// Fictional documents with gold spans, made from a seed.
    Synthetic,
}

/// One path or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// One file, folder or glob.
    One(OutsidePath),
    /// Several, read in this order.
    Many(Vec<OutsidePath>),
}

impl Paths {
    /// The paths in order.
    pub fn as_slice(&self) -> &[OutsidePath] {
        match self {
            Paths::One(path) => std::slice::from_ref(path),
            Paths::Many(paths) => paths,
        }
    }
}

/// One flat choice: whoever resolves relative paths looks for lists one level deep.
fn paths_schema(generator: &mut SchemaGenerator) -> Schema {
    let path = OutsidePath::json_schema(generator);
    json_schema!({
        "anyOf": [path.clone(), { "type": "array", "items": path }, { "type": "null" }]
    })
}

/// What the privacy unit is, where no column says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// `unit_column` if it is set, else what is usual for the source: the document, the case of
    /// ecthr, the sender of maildir.
    #[default]
    Auto,
    /// Every document is its own unit.
    Document,
    /// The case that a paragraph belongs to (ecthr).
    Case,
    /// The address that a message is from, in lower case (maildir, and `text_format: mail`). Messages
    /// without one are one unit together.
    Sender,
    /// The mailbox that a message lies in: the first folder below `path`, or an mbox file right
    /// below it (maildir).
    Mailbox,
    /// The folder that a file lies in (text).
    Folder,
}

/// What a text column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TextFormat {
    /// The text.
    #[default]
    Plain,
    /// A whole RFC 822 message with its headers, as in the column `message` of the Enron corpus: its
    /// body is the text, and its sender the unit where no column says it.
    Mail,
}

/// What an ecthr document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// A paragraph.
    #[default]
    Paragraph,
    /// All paragraphs of a case, separated by a newline.
    Case,
}

/// Removal of documents whose text is the same, byte for byte. The first stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deduplicate {
    /// Nothing is removed.
    #[default]
    Off,
    /// Copies within one unit are removed.
    WithinUnit,
    /// Copies anywhere are removed. Whether a unit's document stays then depends on other units,
    /// which the privacy guarantee does not cover.
    AcrossUnits,
}

/// What to do with text that is not valid UTF-8 or has NUL characters. Of mail, that is text which
/// declares UTF-8, US-ASCII or nothing; other charsets are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InvalidText {
    /// Stop and say where.
    #[default]
    Refuse,
    /// Put U+FFFD in place of invalid bytes and of halves of surrogate pairs in JSON (`"\ud800"`),
    /// and drop NUL characters. In mail that declares no charset, or US-ASCII, bytes that are not
    /// UTF-8 are read as windows-1252.
    Repair,
}

/// What decides the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SplitBy {
    /// A keyed hash of the unit's id. Removing a unit never moves another.
    #[default]
    Unit,
    /// The column `split.column`. A unit in two splits is an error.
    Column,
    /// The word train, validation or test in the file's name. A unit in two splits is an error.
    File,
    /// LLM-PFT's order and positions, to compare with published runs: documents shuffled as by
    /// CPython's `random.Random(42)`, the first 45 % train, to 55 % test, the rest validation.
    /// Documents of one unit fall in different splits.
    LlmPft,
}

/// How units are divided into train, validation and test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// What decides the split.
    pub by: SplitBy,
    /// The share of units in train.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub train: f64,
    /// The share of units in validation.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub validation: f64,
    /// The share of units in test.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub test: f64,
    /// Another seed is another division.
    pub seed: u64,
    /// The column that says the split.
    pub column: String,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            by: SplitBy::Unit,
            train: 0.45,
            validation: 0.10,
            test: 0.45,
            seed: 0,
            column: "split".to_string(),
        }
    }
}

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
    /// The column that holds the text; `facts` for ecthr where this is `text`.
    pub text_column: String,
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

    /// Checks what the schema cannot express.
    ///
    /// # Errors
    /// Names the keys that do not fit together.
    pub fn validate(&self) -> Result<(), StageError> {
        let source = self.source_kind()?;
        if source != SourceKind::Synthetic {
            self.paths()?;
        }
        let split = &self.split;
        let sum = split.train + split.validation + split.test;
        if (sum - 1.0).abs() > 1e-9 {
            return Err(StageError::config(format!(
                "split: train, validation and test add up to {sum}, but must add up to 1"
            )));
        }
        if self.max_chars.is_some_and(|max| max < self.min_chars) {
            return Err(StageError::config(format!(
                "max_chars: is less than min_chars ({}), so that no document would be left",
                self.min_chars
            )));
        }
        self.check_signs()?;
        // As for columns below, the synthetic source overlooks it.
        let holds_mail =
            source == SourceKind::Synthetic || (source.is_table() && source != SourceKind::Ecthr);
        if self.text_format == TextFormat::Mail && !holds_mail {
            return Err(StageError::config(format!(
                "text_format: mail does not exist in source {}",
                name(&source)
            ))
            .with_help("it is for jsonl, csv, parquet and hf, with a message in a column"));
        }
        let allowed: &[Unit] = match source {
            SourceKind::Ecthr => &[Unit::Case, Unit::Document],
            SourceKind::Maildir => &[Unit::Sender, Unit::Mailbox, Unit::Document],
            SourceKind::Text => &[Unit::Folder, Unit::Document],
            _ if self.text_format == TextFormat::Mail => &[Unit::Sender, Unit::Document],
            _ => &[Unit::Document],
        };
        if self.unit != Unit::Auto && !allowed.contains(&self.unit) {
            return Err(StageError::config(format!(
                "unit: {} does not exist in source {}",
                name(&self.unit),
                name(&source)
            ))
            .with_help(format!(
                "use {}{}",
                allowed.iter().map(name).collect::<Vec<_>>().join(" or "),
                if source.is_table() { ", or set unit_column" } else { "" }
            )));
        }
        if self.unit != Unit::Auto && self.unit_column.is_some() {
            return Err(StageError::config(
                "unit and unit_column both say what the unit is; leave one out",
            ));
        }
        // The synthetic source overlooks columns, so that a config can turn to real data by `source`
        // and `path` alone.
        let has_no_columns = !source.is_table() && source != SourceKind::Synthetic;
        if has_no_columns && (self.unit_column.is_some() || self.id_column.is_some()) {
            return Err(StageError::config(format!(
                "id_column and unit_column: source {} has no columns",
                name(&source)
            ))
            .with_help("leave them out; `unit` says what the privacy unit is"));
        }
        if matches!(split.by, SplitBy::Column | SplitBy::File) && !source.is_table() {
            return Err(StageError::config(format!(
                "split.by: {} does not exist in source {}",
                name(&split.by),
                name(&source)
            ))
            .with_help("use `split.by: unit`"));
        }
        Ok(())
    }
}

impl Config {
    /// The signs of CSV must be told apart.
    fn check_signs(&self) -> Result<(), StageError> {
        let is_sign = |c: char| c.is_ascii() && c != '\n' && c != '\r';
        let quote = match self.quote.as_deref() {
            None => Some('"'),
            Some("none") => None,
            Some(text) => {
                let mut characters = text.chars();
                match (characters.next().filter(|c| is_sign(*c)), characters.next()) {
                    (Some(quote), None) => Some(quote),
                    _ => {
                        return Err(StageError::config(
                            "quote: must be one ASCII character other than a line end, or `none`",
                        ));
                    }
                }
            }
        };
        let signs = [("separator", self.separator), ("quote", quote), ("escape", self.escape)];
        for (index, (key, sign)) in signs.into_iter().enumerate() {
            let Some(sign) = sign else { continue };
            if !is_sign(sign) {
                return Err(StageError::config(format!(
                    "{key}: must be one ASCII character other than a line end"
                )));
            }
            if let Some((other, _)) = signs[..index].iter().find(|(_, other)| *other == Some(sign))
            {
                return Err(StageError::config(format!(
                    "{other} and {key} are the same character, so that neither has a meaning"
                )));
            }
        }
        Ok(())
    }
}

impl SourceKind {
    /// The source that a file's extension tells.
    pub fn of_file(path: &str) -> Option<Self> {
        let name = unpacked(without_query(path));
        let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
        Some(match extension.as_str() {
            "jsonl" | "ndjson" | "json" => Self::Jsonl,
            "csv" | "tsv" => Self::Csv,
            "parquet" => Self::Parquet,
            "txt" => Self::Text,
            "eml" | "mbox" => Self::Maildir,
            _ => return None,
        })
    }

    /// Whether documents are rows with columns.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Jsonl | Self::Csv | Self::Parquet | Self::Ecthr | Self::Hf)
    }
}

/// The name that a value has in a config.
pub(crate) fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_string))
        .unwrap_or_default()
}
