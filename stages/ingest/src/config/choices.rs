//! What the settings choose from.

use pft_stage::OutsidePath;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::file_name::{unpacked, without_query};

/// Where the documents come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Told by the path: `hf://…`, or the file's extension (.jsonl, .ndjson, .csv, .tsv,
    /// .parquet, .txt, .eml, .mbox), with .gz or .zst behind it if the file is packed.
    #[default]
    Auto,
    /// JSON Lines: one object a line. One that has a field twice is refused, if that is read. A file that
    /// begins with `[` is one list of objects.
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
pub(super) fn paths_schema(generator: &mut SchemaGenerator) -> Schema {
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

/// What to do with a row without a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingText {
    /// Stop and say where.
    #[default]
    Refuse,
    /// It is left out and counted.
    LeaveOut,
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
