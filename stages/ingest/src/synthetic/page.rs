//! A text that is being written, and where its personal data stands.

use pft_artifact::{Role, Span, Turn};

/// The source that gold spans name.
const SOURCE: &str = "gold";

/// A text with labelled spans.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Page {
    pub(super) text: String,
    pub(super) spans: Vec<Span>,
    /// The turns of a conversation.
    pub(super) turns: Vec<Turn>,
    /// An article was written whose form what follows decides.
    open_article: bool,
}

impl Page {
    /// Appends text that is no personal data.
    pub(super) fn push(&mut self, text: &str) {
        self.close_article(text);
        self.text.push_str(text);
    }

    /// Appends personal data.
    pub(super) fn push_labelled(&mut self, text: &str, label: &str) {
        self.close_article(text);
        let start = self.text.len() as u32;
        self.text.push_str(text);
        self.spans.push(Span {
            start,
            end: self.text.len() as u32,
            label: label.into(),
            score: 1.0,
            source: SOURCE.into(),
            other_labels: None,
        });
    }

    /// Appends a or an, as the next word wants it.
    pub(super) fn push_article(&mut self, capital: bool) {
        self.push(if capital { "A" } else { "a" });
        self.open_article = true;
    }

    /// Removes white space at the end, which no span reaches.
    pub(super) fn trim_end(&mut self) {
        self.text.truncate(self.text.trim_end().len());
    }

    /// Appends a page.
    pub(super) fn append(&mut self, other: Page) {
        let offset = self.text.len() as u32;
        self.text.push_str(&other.text);
        self.spans.extend(other.spans.into_iter().map(|mut span| {
            span.start += offset;
            span.end += offset;
            span
        }));
    }

    /// Appends a turn of a conversation.
    pub(super) fn append_turn(&mut self, role: Role, said: Page) {
        if !self.turns.is_empty() {
            self.push(Turn::SEPARATOR);
        }
        let start = self.text.len() as u32;
        self.append(said);
        self.turns.push(Turn { role, start, end: self.text.len() as u32 });
    }

    /// The turns, of which the last holds what was appended since.
    pub(super) fn take_turns(&mut self) -> Vec<Turn> {
        let mut turns = std::mem::take(&mut self.turns);
        if let Some(last) = turns.last_mut() {
            last.end = self.text.len() as u32;
        }
        turns
    }

    fn close_article(&mut self, next: &str) {
        if std::mem::take(&mut self.open_article) {
            let vowel = next.starts_with(['A', 'E', 'I', 'O', 'U', 'a', 'e', 'i', 'o', 'u']);
            // Letters that are vowels and do not sound like one.
            let consonant = ["Uk", "Eu", "Uni", "one"].iter().any(|start| next.starts_with(start));
            self.text.push_str(if vowel && !consonant { "n " } else { " " });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn the_article_fits_the_word() {
        for (word, expected) in
            [("Italian", "an Italian"), ("Polish", "a Polish"), ("Ukrainian", "a Ukrainian")]
        {
            let mut page = Page::default();
            page.push_article(false);
            page.push_labelled(word, "NORP");
            assert_eq!(page.text, expected);
            assert_eq!(&page.text[page.spans[0].start as usize..], word);
        }
    }
}
