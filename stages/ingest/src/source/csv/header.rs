//! The first line of a CSV file, which names its columns – or is the first row of a file without a
//! header, and must not be shown. `JS,John Smith` could be either, so that names are listed only
//! where one of them is a column that the config names.

use std::path::Path;

use pft_stage::StageError;

use super::records::{complete_records, records};
use crate::config::{Config, SplitBy};
use crate::counted::counted;
use crate::source::columns::{Missing, looks_like_a_name, missing_column};
use crate::source::lines::Blocks;

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
    pub(super) fn read(config: &Config, path: &Path, separator: u8) -> Result<Self, StageError> {
        let mut blocks = Blocks::open(path, complete_records, config.invalid_text)?;
        let empty = || {
            StageError::input(format!("{}: is empty", path.display()))
                .with_help("a CSV file begins with a line of column names")
        };
        let block = blocks.next()?.ok_or_else(empty)?;
        let records = records(block.text.as_bytes(), block.first_line, separator);
        let record = records.first().ok_or_else(empty)?;
        let text = block.text[record.start..record.end].trim_end_matches(['\n', '\r']);
        if outside_quotes(text).any(|character| character == '\r') {
            return Err(StageError::input(format!(
                "{}: its lines end in CR alone",
                path.display()
            ))
            .with_help("convert it to LF, for example with `tr '\\r' '\\n' < OLD > NEW`"));
        }
        let separator = char::from(separator);
        let names = split_fields(text, separator);
        let header = Self {
            is_known: names.iter().any(|name| is_wanted(config, name)),
            names,
            text: text.to_string(),
            line: record.line,
            separator,
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

fn split_fields(record: &str, separator: char) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = record.chars().peekable();
    while let Some(character) = characters.next() {
        let last = fields.len() - 1;
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => fields.push(String::new()),
            _ => fields[last].push(character),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_may_be_quoted() {
        assert_eq!(split_fields("a,\"b,\"\"b\",", ','), ["a", "b,\"b", ""]);
    }

    #[test]
    fn a_line_that_is_no_header_is_not_shown() {
        let message = |text: &str, separator: char| {
            let names = split_fields(text, separator);
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
