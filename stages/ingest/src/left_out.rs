//! What is said of documents that are not in the corpus.

use crate::config::Config;
use crate::counted::counted;
use crate::intake::LeftOut;

impl LeftOut {
    /// How many were left out for which reason; nothing where none were.
    pub(crate) fn reasons(&self, config: &Config) -> Option<String> {
        let too_short = match config.min_chars {
            0 | 1 => counted(self.too_short, "empty document"),
            least => {
                format!("{} shorter than min_chars ({least})", counted(self.too_short, "document"))
            }
        };
        let too_long = format!(
            "{} longer than max_chars ({})",
            counted(self.too_long, "document"),
            config.max_chars.unwrap_or_default()
        );
        let duplicates = counted(self.duplicates, "duplicate");
        let without_text = format!("{} without text", counted(self.without_text, "row"));
        let broken =
            format!("{} that cannot be learned from", counted(self.broken, "conversation"));
        let all = [
            (self.without_text, without_text),
            (self.broken, broken),
            (self.too_short, too_short),
            (self.too_long, too_long),
            (self.duplicates, duplicates),
        ];
        let reasons: Vec<String> =
            all.into_iter().filter(|(count, _)| *count > 0).map(|(_, reason)| reason).collect();
        (!reasons.is_empty()).then(|| format!("left out: {}", reasons.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_those_without_documents_are_not_named() {
        let config = Config { max_chars: Some(9), ..Config::default() };
        assert_eq!(LeftOut::default().reasons(&config), None);
        let left_out = LeftOut { too_short: 1, duplicates: 2, ..LeftOut::default() };
        let reasons = left_out.reasons(&config).unwrap();
        assert_eq!(reasons, "left out: 1 empty document, 2 duplicates");
        let config = Config { min_chars: 5, ..config };
        let left_out = LeftOut { too_short: 2, too_long: 1, ..LeftOut::default() };
        assert_eq!(
            left_out.reasons(&config).unwrap(),
            "left out: 2 documents shorter than min_chars (5), 1 document longer than max_chars (9)"
        );
    }
}
