//! A chat template, rendered as transformers does.
//!
//! Where pft goes its own way: the day is a setting, and what a template refuses a conversation for is
//! said only as far as it stands in the template, since the rest may be text of the conversation.

use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Kwargs, Object};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use pft_artifact::Role;

use super::date::Day;
use super::marks::{GENERATION, is_mark};
use super::{json, python};

/// The name of the one template.
const NAME: &str = "chat_template";

/// The function behind `{% generation %}`.
const GENERATION_FUNCTION: &str = "pft_generation";

/// A template that was read.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
    source: String,
    /// The texts of special tokens, by the names that templates know.
    tokens: Vec<(String, Value)>,
    /// Whether it says itself what a model generates.
    pub(super) marks_generation: bool,
}

impl Template {
    /// Reads a template. `tokens` are the texts of special tokens by name.
    ///
    /// # Errors
    /// Says what is wrong with it, and in which line.
    pub(super) fn new(
        source: &str,
        tokens: Vec<(String, Value)>,
        day: Option<Day>,
    ) -> Result<Self, String> {
        if source.chars().any(is_mark) {
            return Err("holds characters of the last private plane of Unicode".to_string());
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        python::extend(&mut environment);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", move |format: &str| -> Result<String, Error> {
            let wrong = |what| Error::new(ErrorKind::InvalidOperation, what);
            let day = day.ok_or_else(|| wrong(NO_DAY))?;
            day.format(format).ok_or_else(|| wrong("strftime_now: unknown code in the format"))
        });
        environment.add_function(GENERATION_FUNCTION, generation);
        let (rewritten, marks_generation) = with_generation_calls(source);
        environment.add_template_owned(NAME, rewritten).map_err(|error| {
            format!("is no template that can be read: {}", said(&error, source))
        })?;
        Ok(Self { environment, source: source.to_string(), tokens, marks_generation })
    }

    /// Renders turns, as `apply_chat_template(messages, tokenize=False)`.
    ///
    /// # Errors
    /// What the template refuses, without text of the conversation.
    pub(super) fn render<'t>(
        &self,
        turns: impl IntoIterator<Item = (Role, &'t str)>,
    ) -> Result<String, String> {
        let messages = turns.into_iter().map(|(role, content)| {
            let fields = [("role", Value::from(role.as_str())), ("content", Value::from(content))];
            Value::from_object(Fields(fields.map(named).to_vec()))
        });
        let given = [
            ("messages", Value::from_iter(messages)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(false)),
        ];
        let given = given.map(named).into_iter();
        let context =
            Value::from_object(Fields(given.chain(self.tokens.iter().cloned()).collect()));
        let template = self.environment.get_template(NAME).map_err(|error| error.to_string())?;
        template.render(context).map_err(|error| said(&error, &self.source))
    }
}

/// A mapping whose keys stay in their order.
#[derive(Debug)]
struct Fields(Vec<(String, Value)>);

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Value::from(name.as_str())).collect())
    }
}

fn named((name, value): (&str, Value)) -> (String, Value) {
    (name.to_string(), value)
}

const NO_DAY: &str = "strftime_now: the template asks for the date; set chat.date";

/// What may be said of an error: its kind, its line, and of its words those that stand in the template.
fn said(error: &Error, source: &str) -> String {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    match error.detail() {
        Some(detail) if detail == NO_DAY || (detail.len() > 3 && source.contains(detail)) => {
            format!("{detail}{line}")
        }
        Some(detail) if error.kind() == ErrorKind::SyntaxError => format!("{detail}{line}"),
        _ => format!("{}{line}", error.kind()),
    }
}

/// Puts marks around what a `{% generation %}` block holds.
fn generation(state: &mut State, kwargs: Kwargs) -> Result<Value, Error> {
    let caller: Value = kwargs.get("caller")?;
    let inner = caller.call(state, &[])?;
    let (open, close) = GENERATION;
    Ok(Value::from(format!("{open}{inner}{close}")))
}

/// Templates of transformers have `{% generation %}` blocks, which the engine does not know: they become
/// calls that give back what they hold, between marks. Also whether there was one.
fn with_generation_calls(source: &str) -> (String, bool) {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut found = false;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let inner = &tag[2..end];
        let word = inner.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let replacement = match word {
            "generation" => Some(format!("call {GENERATION_FUNCTION}()")),
            "endgeneration" => Some("endcall".to_string()),
            _ => None,
        };
        match replacement {
            Some(replacement) => {
                found = true;
                out.push_str("{%");
                out.push_str(&inner.replacen(word, &replacement, 1));
                out.push_str("%}");
            }
            None => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    (out, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_blocks_become_calls() {
        let source = "a{% generation %}b{%- endgeneration -%}c{% if x %}{% endif %}{%";
        let (rewritten, found) = with_generation_calls(source);
        let expected = "a{% call pft_generation() %}b{%- endcall -%}c{% if x %}{% endif %}{%";
        assert_eq!(rewritten, expected);
        assert!(found);
        assert!(!with_generation_calls("{% for generation in x %}{% endfor %}").1);
    }

    /// What a template says of a conversation may quote it.
    #[test]
    fn errors_hold_words_of_the_template_alone() {
        let source = "{% if messages[0].content == 'x' %}{{ raise_exception('no x') }}{% endif %}\
                      {{ raise_exception('not ' + messages[0].content) }}";
        let template = Template::new(source, Vec::new(), None).unwrap();
        let refused = template.render([(Role::User, "x")]).unwrap_err();
        assert!(refused.contains("no x"), "{refused}");
        let refused = template.render([(Role::User, "Ekdal")]).unwrap_err();
        assert!(!refused.contains("Ekdal"), "{refused}");
    }

    #[test]
    fn the_day_is_a_setting() {
        let source = "{{ strftime_now('%d %b %Y') }}";
        let template = Template::new(source, Vec::new(), Day::parse("2024-07-26")).unwrap();
        assert_eq!(template.render([]).unwrap(), "26 Jul 2024");
        let template = Template::new(source, Vec::new(), None).unwrap();
        assert!(template.render([]).unwrap_err().contains("set chat.date"));
    }
}
