//! Pipelines for somebody's own corpus: a look at it ([`corpus`]), what to choose and what to warn of
//! ([`choice`]), the files ([`pipelines`]), and configs of other tools in their place ([`moved`]). What is
//! written is written as a whole or not at all, and never over what is there ([`files`]).

pub(crate) mod choice;
pub(crate) mod corpus;
mod fates;
pub(crate) mod files;
pub(crate) mod moved;
mod old;
pub(crate) mod pipelines;
mod unmoved;

/// A text as it stands in YAML.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '.');
    let is_plain = text.chars().all(plain)
        && text
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || text.starts_with("../"))
        && !["null", "true", "false", "yes", "no", "on", "off", "inf", "nan"]
            .contains(&text.to_ascii_lowercase().as_str());
    match is_plain {
        true => text.to_string(),
        false => serde_json::Value::from(text).to_string(),
    }
}
