//! Settings that do not fit together.

use pft_stage::StageError;

use super::{Config, SourceKind, TextFormat, Unit, name};
use crate::split::SplitBy;

impl Config {
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
        self.check_parts(source)?;
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

    /// What a document is made of must be said once, and be there.
    fn check_parts(&self, source: SourceKind) -> Result<(), StageError> {
        let given = [
            ("text_columns", self.text_columns.is_some()),
            ("conversation", self.conversation.is_some()),
        ];
        let Some((key, _)) = given.into_iter().find(|(_, given)| *given) else { return Ok(()) };
        if given.iter().all(|(_, given)| *given) {
            return Err(StageError::config(
                "text_columns and conversation both say what a document is made of; leave one out",
            ));
        }
        // As of columns below, the synthetic source overlooks it.
        if source == SourceKind::Synthetic {
            return Ok(());
        }
        if !source.is_table() || source == SourceKind::Ecthr {
            return Err(StageError::config(format!(
                "{key}: does not exist in source {}",
                name(&source)
            ))
            .with_help("it is for jsonl, csv, parquet and hf"));
        }
        if self.text_format == TextFormat::Mail {
            return Err(StageError::config(format!(
                "{key}: does not go with text_format: mail, where one column holds a message"
            )));
        }
        if self.text_columns.as_ref().is_some_and(Vec::is_empty) {
            return Err(StageError::config("text_columns: the list is empty"));
        }
        let Some(conversation) = &self.conversation else { return Ok(()) };
        if self.split.by == SplitBy::LlmPft {
            return Err(StageError::config("conversation: does not go with split.by: llm-pft")
                .with_help("use `split.by: unit`, which divides by units"));
        }
        conversation.validate()
    }

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
