//! The first line of a CSV file, which names its columns – or is the first row of a file without a
//! header, and must not be shown. `JS,John Smith` could be either, so that names are listed only
//! where one of them is a column that the config names.

use std::path::Path;

use pft_stage::StageError;

use super::dialect::Dialect;
use super::fault::fault_error;
use super::fields::{End, Fault, FaultKind};
use crate::config::Config;
use crate::counted::counted;
use crate::source::columns::{Missing, looks_like_a_name, missing_column};
use crate::source::lines::{Block, Blocks, count_lines};
use crate::split::SplitBy;

/// What stands between fields, in the order of preference.
const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// The columns' names and where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) names: Vec<String>,
    text: String,
    line: u64,
    separator: char,
    /// Whether a column that the config names is among them.
    is_known: bool,
}

impl Header {
    /// Reads the first record of a file.
    pub(super) fn read(config: &Config, path: &Path, dialect: Dialect) -> Result<Self, StageError> {
        let complete = move |text: &[u8]| dialect.complete_length(text);
        let mut blocks = Blocks::open(path, Box::new(complete), config.invalid_text)?;
        let empty = || {
            StageError::input(format!("{}: is empty", path.display()))
                .with_help("a CSV file begins with a line of column names")
        };
        let block = blocks.next()?.ok_or_else(empty)?;
        let start = block.text.find(|c| c != '\n' && c != '\r').ok_or_else(empty)?;
        let line = block.first_line + count_lines(&block.text.as_bytes()[..start]);
        let (names, end) = names(&block, start, dialect).map_err(|fault| match fault.kind {
            FaultKind::LoneReturn => {
                StageError::input(format!("{}: its lines end in CR alone", path.display()))
                    .with_help("convert it to LF, for example with `tr '\\r' '\\n' < OLD > NEW`")
            }
            _ => fault_error(path, &block, dialect, fault),
        })?;
        let header = Self {
            is_known: names.iter().any(|name| is_wanted(config, name)),
            names,
            text: block.text[start..end].trim_end_matches(['\n', '\r']).to_string(),
            line,
            separator: char::from(dialect.separator),
        };
        header.check_repeated(path)?;
        Ok(header)
    }

    /// Two columns of one name cannot be told apart.
    fn check_repeated(&self, path: &Path) -> Result<(), StageError> {
        let mut names = self.names.iter().enumerate();
        let Some((_, name)) = names.find(|(index, name)| self.names[..*index].contains(name))
        else {
            return Ok(());
        };
        let called = match name.as_str() {
            "" => "have no name".to_string(),
            name if self.is_known && looks_like_a_name(name) => format!("are called `{name}`"),
            _ if self.looks_like_a_header() => "have the same name".to_string(),
            _ => "have the same name, and the line does not look like a header".to_string(),
        };
        Err(StageError::input(format!("{}:{}: two columns {called}", path.display(), self.line))
            .with_help("begin the file with a line that gives every column a name of its own"))
    }

    /// Whether all names look like names. An empty one is that of a row number.
    fn looks_like_a_header(&self) -> bool {
        self.names.iter().all(|name| name.is_empty() || looks_like_a_name(name))
    }

    /// The error for a column that is not there.
    pub(super) fn missing(&self, path: &Path, missing: Missing<'_>) -> StageError {
        let Missing { key, name } = missing;
        let looks_like_a_header = self.looks_like_a_header();
        if looks_like_a_header && self.is_known {
            return missing_column(path, &self.names, missing);
        }
        let wrong = format!("{}: there is no column `{name}`", path.display());
        let near = self.names.iter().find(|other| is_near(name, other));
        if let Some(near) = near.filter(|_| looks_like_a_header) {
            return StageError::input(format!("{wrong}; did you mean `{near}`?"))
                .with_help(format!("set {key} to the column's name"));
        }
        let (line, count) = (self.line, counted(self.names.len() as u64, "column"));
        if looks_like_a_header {
            return StageError::input(format!("{wrong} among the {count} of line {line}"))
                .with_help(format!(
                    "set {key} to one of the names in line {line}; if it has none but is a row, put \
                     a line of names above it"
                ));
        }
        StageError::input(format!(
            "{wrong}; line {line} does not look like a header: it has {count}, and not all of them \
             look like names"
        ))
        .with_help(self.what_to_do(key))
    }

    fn what_to_do(&self, key: &str) -> String {
        if self.text.trim_start().starts_with('{') {
            return "the file looks like JSON Lines: set `source: jsonl`".to_string();
        }
        let count = |wanted: char| outside_quotes(&self.text).filter(|c| *c == wanted).count();
        let others = SEPARATORS.into_iter().filter(|other| *other != self.separator);
        let likelier =
            others.filter(|other| count(*other) >= self.names.len()).max_by_key(|c| count(*c));
        match likelier {
            Some('\t') => "fields seem to be separated by tabs: set `separator: \"\\t\"`".into(),
            Some(other) => {
                format!("fields seem to be separated by `{other}`: set `separator: \"{other}\"`")
            }
            None => format!(
                "begin the file with a line of column names and set {key} to one of them; if it \
                 has such a line, check `separator`"
            ),
        }
    }
}

/// Whether a setting names a column.
fn is_wanted(config: &Config, name: &str) -> bool {
    let optional = [config.id_column.as_deref(), config.unit_column.as_deref()];
    let split = (config.split.by == SplitBy::Column).then_some(config.split.column.as_str());
    let mut wanted = optional.into_iter().chain([split]).flatten();
    config.text_column == name || wanted.any(|wanted| wanted == name)
}

/// Whether a name is so near to the one that was asked for that it tells nothing new.
fn is_near(wanted: &str, name: &str) -> bool {
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    strsim::damerau_levenshtein(&wanted, &name) <= wanted.chars().count() / 4
}

/// The characters of a record that are not within quotes.
fn outside_quotes(record: &str) -> impl Iterator<Item = char> {
    let mut quoted = false;
    record.chars().filter(move |character| {
        quoted ^= *character == '"';
        !quoted
    })
}

/// The fields of the record that begins at `at`, and where it ends.
fn names(block: &Block, mut at: usize, dialect: Dialect) -> Result<(Vec<String>, usize), Fault> {
    let text = block.text.as_bytes();
    let mut names = Vec::new();
    loop {
        let (field, end) = dialect.field(text, at)?;
        names.push(dialect.text_of(&block.text, field).into_owned());
        match end {
            End::Field(next) => at = next,
            End::Record(next) => return Ok((names, next)),
            End::Text => return Ok((names, text.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str, separator: char) -> Vec<String> {
        let block = Block { text: text.to_string(), first_line: 1 };
        let separator = u8::try_from(separator).unwrap();
        names(&block, 0, Dialect { separator, quote: Some(b'"'), escape: None }).unwrap().0
    }

    #[test]
    fn header_names_may_be_quoted() {
        assert_eq!(fields("a,\"b,\"\"b\",", ','), ["a", "b,\"b", ""]);
    }

    #[test]
    fn a_line_that_is_no_header_is_not_shown() {
        let message = |text: &str, separator: char| {
            let names = fields(text, separator);
            let is_known = names.contains(&"id".to_string());
            let text = text.to_string();
            let header = Header { names, text, line: 1, separator, is_known };
            let missing = Missing { key: "text_column", name: "text" };
            header.missing(Path::new("a.csv"), missing).to_string()
        };
        assert!(message(",id,body", ',').contains("known here: body, id"));
        assert!(message("a,Texts", ',').contains("did you mean `Texts`?"));
        let unsure = message("JS,John Smith", ',');
        assert!(unsure.contains("no column `text` among the 2 columns of line 1"), "{unsure}");
        assert!(!unsure.contains("JS") && !unsure.contains("Smith"), "{unsure}");
        let data = message("1,SECRETTEXT of Mr Smith,\"a, b\"", ',');
        assert!(data.contains("line 1 does not look like a header: it has 3 columns"), "{data}");
        assert!(!data.contains("SECRET") && data.contains("check `separator`"), "{data}");
        assert!(message("{\"id\": 1, \"t\": \"SECRET\"}", ',').contains("source: jsonl"));
        assert!(message("id;text;date", ',').contains("separator: \";\""));
        assert!(message("id\ttext", ',').contains("separator: \"\\t\""));
        assert!(message("id,text", ';').contains("separator: \",\""));
    }
}
