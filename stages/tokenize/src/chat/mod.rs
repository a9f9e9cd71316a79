//! Conversations as the text that a model reads, and what of it is learned.

mod date;
mod json;
mod marks;
mod python;
mod template;

use std::ops::Range;

use minijinja::Value;
use pft_artifact::{DocumentRow, Role, Turn};

use crate::loaded::LoadedTokenizer;
use date::Day;
use marks::{MOST_TURNS, Region, Rendered, is_mark, marked};
use template::Template;

/// A chat template beside the tokenizer that it belongs to.
#[derive(Debug)]
pub(crate) struct Chat {
    template: Template,
    /// The texts of the tokens that a template may end a turn with.
    ends: Vec<String>,
}

/// A conversation as the text that a model reads.
#[derive(Debug, Clone)]
pub(crate) struct ChatText {
    /// The text.
    pub(crate) text: String,
    /// What people wrote of it, in order: its bytes, and where the document has the same.
    pub(crate) contents: Vec<Content>,
    /// What is learned where answers alone are.
    pub(crate) answers: Vec<Range<usize>>,
    /// Whether each answer ends with a token of its own, so that a model learns to stop.
    pub(crate) ends_answers: bool,
}

/// A part of a text that is no template's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Its bytes in the text.
    pub(crate) range: Range<usize>,
    /// The bytes of the document that it was made of.
    pub(crate) source: Range<usize>,
    /// Whether it stands in the text as in the document.
    pub(crate) is_verbatim: bool,
}

impl Content {
    /// The bytes of the text that hold what bytes of the document say; all, where the template
    /// changed them.
    pub(crate) fn place_of(&self, span: &Range<usize>) -> Option<Range<usize>> {
        let start = span.start.max(self.source.start);
        let end = span.end.min(self.source.end);
        if start >= end {
            return None;
        }
        Some(match self.is_verbatim {
            true => {
                let by = self.range.start;
                by + start - self.source.start..by + end - self.source.start
            }
            false => self.range.clone(),
        })
    }
}

/// The texts of special tokens by the names that templates know them by.
fn token_names(tokenizer: &LoadedTokenizer) -> Vec<(String, Value)> {
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.tokenizer.id_to_token(id));
    let named = [("bos_token", text(tokenizer.bos)), ("eos_token", text(tokenizer.eos))];
    let mut names: Vec<(String, Value)> = named
        .into_iter()
        .filter_map(|(name, token)| Some((name.to_string(), Value::from(token?))))
        .collect();
    for (name, value) in &tokenizer.carried {
        if let (true, Some(token)) = (name.ends_with("_token"), value.as_str()) {
            names.push((name.clone(), Value::from(token)));
        } else if let (true, Some(tokens)) = (name.ends_with("_tokens"), value.as_array()) {
            let tokens = tokens.iter().filter_map(|token| token.as_str()).map(Value::from);
            names.push((name.clone(), Value::from_iter(tokens)));
        }
    }
    names
}

impl Chat {
    /// The template that the tokenizer carries.
    ///
    /// # Errors
    /// When it carries none, or one that cannot be read, or `date` is no day.
    pub(crate) fn new(tokenizer: &LoadedTokenizer, date: Option<&str>) -> Result<Self, String> {
        let day = match date {
            None => None,
            Some(date) => Some(Day::parse(date).ok_or("chat.date: is no day such as 2026-01-31")?),
        };
        let carried = tokenizer.carried.get("chat_template");
        let default = |value: &serde_json::Value| {
            let named = value.as_array()?.iter();
            let default = named.clone().find(|entry| entry["name"] == "default");
            default?["template"].as_str().map(str::to_string)
        };
        let source = carried
            .and_then(|value| value.as_str().map(str::to_string).or_else(|| default(value)))
            .ok_or(
                "the corpus holds conversations, and the tokenizer's files have no chat template; \
                 set chat.template to a file with one",
            )?;
        let template = Template::new(&source, token_names(tokenizer), day)
            .map_err(|error| format!("the chat template {error}"))?;
        let added = tokenizer.tokenizer.get_added_tokens_decoder().into_values();
        let mut ends: Vec<String> = added.map(|token| token.content).collect();
        ends.retain(|token| !token.trim().is_empty());
        // The longest of those that begin alike.
        ends.sort_by_key(|token| std::cmp::Reverse(token.len()));
        Ok(Self { template, ends })
    }

    /// What the template makes of turns of a document.
    ///
    /// # Errors
    /// When the template refuses them, without text of theirs.
    pub(crate) fn render(
        &self,
        document: DocumentRow<'_>,
        turns: &[Turn],
    ) -> Result<ChatText, String> {
        let contents: Vec<&str> = turns.iter().map(|turn| &document.text[turn.range()]).collect();
        if contents.iter().any(|content| content.chars().any(is_mark)) {
            return Err("a turn holds a character of the last private plane of Unicode".into());
        }
        if turns.len() > MOST_TURNS {
            return Err(format!("it has {} turns, more than {MOST_TURNS}", turns.len()));
        }
        let with_marks: Vec<String> =
            contents.iter().enumerate().map(|(turn, content)| marked(turn, content)).collect();
        let roles = || turns.iter().map(|turn| turn.role);
        let rendered = self.template.render(roles().zip(with_marks.iter().map(String::as_str)))?;
        let rendered = marks::read(&rendered, &contents)?;
        let plain = self.template.render(roles().zip(contents.iter().copied()))?;
        let plain = marks::read(&plain, &contents)?;
        if plain.text != rendered.text {
            return Err(
                "the chat template looks into the turns, so that it is not known which of its \
                 text is theirs"
                    .into(),
            );
        }
        Ok(self.chat_text(rendered, turns))
    }

    fn chat_text(&self, rendered: Rendered, turns: &[Turn]) -> ChatText {
        let Rendered { text, regions, generated } = rendered;
        let (answers, ends_answers) = match self.template.marks_generation {
            true => {
                let ends = |answer: &Range<usize>| self.ends_with_token(&text[answer.clone()]);
                let all = generated.iter().all(ends);
                (generated, all)
            }
            false => self.answers(&text, &regions, turns),
        };
        let contents = regions
            .into_iter()
            .map(|Region { turn, range, source }| {
                let of_turn = turns[turn].range();
                let is_verbatim = source.is_some();
                let source = match source {
                    Some(at) => of_turn.start + at..of_turn.start + at + range.len(),
                    None => of_turn,
                };
                Content { range, source, is_verbatim }
            })
            .collect();
        ChatText { text, contents, answers, ends_answers }
    }

    /// The assistant's turns, each with the token that ends it; and whether all have one.
    fn answers(&self, text: &str, regions: &[Region], turns: &[Turn]) -> (Vec<Range<usize>>, bool) {
        let mut all_end = true;
        let is_answer = |region: &&Region| turns[region.turn].role == Role::Assistant;
        let answers = regions.iter().filter(is_answer).map(|region| {
            let rest = &text[region.range.end..];
            let blank = rest.len() - rest.trim_start().len();
            match self.ends.iter().find(|token| rest[blank..].starts_with(token.as_str())) {
                Some(token) => region.range.start..region.range.end + blank + token.len(),
                None => {
                    all_end = false;
                    region.range.clone()
                }
            }
        });
        (answers.collect(), all_end)
    }

    fn ends_with_token(&self, answer: &str) -> bool {
        self.ends.iter().any(|token| answer.trim_end().ends_with(token.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What transformers makes of awkward conversations (tests/reference/chat_templates.py).
    #[test]
    fn templates_render_as_in_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/chat/expected.json");
        let expected: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let tokens = || {
            let tokens =
                [("bos_token", "<s>"), ("eos_token", "</s>"), ("pad_token", "<|endoftext|>")];
            tokens.map(|(name, text)| (name.to_string(), Value::from(text))).to_vec()
        };
        let day = Day::parse(expected["date"].as_str().unwrap());
        let mut errors = 0;
        for row in expected["rows"].as_array().unwrap() {
            let name = row["template"].as_str().unwrap();
            let source = expected["templates"][name].as_str().unwrap();
            let template = Template::new(source, tokens(), day).unwrap();
            let turns = row["messages"].as_array().unwrap().iter().map(|message| {
                let role = Role::named(message["role"].as_str().unwrap()).unwrap();
                (role, message["content"].as_str().unwrap())
            });
            match (template.render(turns), row["error"].as_str()) {
                (Ok(text), None) => {
                    let text = marks::read(&text, &[]).unwrap().text;
                    assert_eq!(text, row["text"].as_str().unwrap(), "{name}");
                }
                (Err(said), Some(error)) => {
                    errors += 1;
                    assert!(said.contains(error), "{name}: {said}");
                }
                (made, _) => panic!("{name}: {made:?} beside {row}"),
            }
        }
        assert_eq!(errors, 2, "roles that do not alternate");
    }
}
