//! Documents that are made of several values of a row: of texts, or of the turns of a conversation.

use pft_artifact::Role;
use pft_stage::StageError;
use serde_json::Value;

use crate::config::{Config, ConversationConfig, ConversationFormat};

/// What stands between texts that make one.
const BETWEEN: &str = "\n\n";

/// The columns that make a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// Their names, which may lead into objects: `a.b`.
    pub(super) names: Vec<String>,
    /// The setting that names each.
    keys: Vec<&'static str>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Texts, one below the other.
    Texts,
    /// A list of messages.
    Messages,
    /// What each of these roles says.
    Turns(Vec<Role>),
}

/// Why a row is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoDocument {
    /// The value of this column is missing or null.
    Missing(String),
    /// A value is not what it should be.
    WrongType(String),
    /// It is no conversation to learn from.
    Broken(String),
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// A text.
    Text(String),
    /// Turns.
    Turns(Vec<(Role, String)>),
}

/// Whether a column is there, by its name or by that of the object that it leads into.
pub(super) fn is_known(available: &[String], name: &str) -> bool {
    let root = name.split('.').next().unwrap_or(name);
    available.iter().any(|known| known == name || known == root)
}

/// The value that a name leads to.
pub(super) fn lookup<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    name.split('.').try_fold(object, |value, name| value.get(name))
}

impl Parts {
    /// The parts that a config asks for, of the columns that are `available`; none where a document is one
    /// value of one column. `missing` words the error for a setting whose column is not there.
    pub(super) fn find(
        config: &Config,
        available: &[String],
        missing: impl Fn(&str, &str) -> StageError,
    ) -> Result<Option<Self>, StageError> {
        let check = |key: &'static str, name: &str| match is_known(available, name) {
            true => Ok(name.to_string()),
            false => Err(missing(key, name)),
        };
        if let Some(conversation) = &config.conversation {
            return Self::of_conversation(conversation, available, check).map(Some);
        }
        if let Some(columns) = &config.text_columns {
            let names = columns.iter().map(|name| check("text_columns", name));
            let names: Vec<String> = names.collect::<Result<_, _>>()?;
            let keys = vec!["text_columns"; names.len()];
            return Ok(Some(Self { names, keys, kind: Kind::Texts }));
        }
        let name = &config.text_column;
        let is_nested = name.contains('.') && !available.contains(name);
        if is_nested && is_known(available, name) {
            let (names, keys) = (vec![name.clone()], vec!["text_column"]);
            return Ok(Some(Self { names, keys, kind: Kind::Texts }));
        }
        Ok(None)
    }

    fn of_conversation(
        config: &ConversationConfig,
        available: &[String],
        check: impl Fn(&'static str, &str) -> Result<String, StageError>,
    ) -> Result<Self, StageError> {
        let has = |name: &&str| is_known(available, name);
        let usual = |given: &Option<String>, usual: &[&str]| {
            let there = usual.iter().copied().find(has).unwrap_or(usual[0]);
            given.clone().unwrap_or_else(|| there.to_string())
        };
        let messages = usual(&config.messages, &["messages", "conversations", "conversation"]);
        let prompt = usual(&config.prompt, &["prompt"]);
        let completion = usual(&config.completion, &["completion", "response"]);
        let instruction = usual(&config.instruction, &["instruction"]);
        let output = usual(&config.output, &["output", "response"]);
        let format = match config.format {
            ConversationFormat::Auto if is_known(available, &messages) => {
                ConversationFormat::Messages
            }
            ConversationFormat::Auto if is_known(available, &prompt) => ConversationFormat::Prompt,
            ConversationFormat::Auto if is_known(available, &instruction) => {
                ConversationFormat::Instruction
            }
            ConversationFormat::Auto => ConversationFormat::Messages,
            format => format,
        };
        if format == ConversationFormat::Messages {
            let (names, keys) =
                (vec![check("conversation.messages", &messages)?], vec!["conversation.messages"]);
            return Ok(Self { names, keys, kind: Kind::Messages });
        }
        let mut names = Vec::new();
        let mut keys = Vec::new();
        let mut roles = Vec::new();
        let mut add = |role, key: &'static str, name: &str| {
            names.push(check(key, name)?);
            keys.push(key);
            roles.push(role);
            Ok::<(), StageError>(())
        };
        if let Some(system) = &config.system {
            add(Role::System, "conversation.system", system)?;
        }
        if format == ConversationFormat::Prompt {
            add(Role::User, "conversation.prompt", &prompt)?;
            add(Role::Assistant, "conversation.completion", &completion)?;
        } else {
            add(Role::User, "conversation.instruction", &instruction)?;
            let input = config.input.as_deref().or(Some("input").filter(has));
            if let Some(input) = input {
                add(Role::User, "conversation.input", input)?;
            }
            add(Role::Assistant, "conversation.output", &output)?;
        }
        Ok(Self { names, keys, kind: Kind::Turns(roles) })
    }

    /// The setting that names a column, if it is one of these.
    pub(super) fn key_of(&self, name: &str) -> Option<&'static str> {
        let at = self.names.iter().position(|part| part == name)?;
        self.keys.get(at).copied()
    }

    /// What a row with these values says.
    pub(super) fn read(
        &self,
        values: &[Option<Value>],
        config: &Config,
    ) -> Result<Said, NoDocument> {
        let columns = self.names.iter().zip(values);
        let rules = config.conversation.clone().unwrap_or_default();
        match &self.kind {
            Kind::Texts => {
                let texts = columns.map(|(name, value)| match value {
                    Some(Value::String(text)) => Ok(text.as_str()),
                    Some(Value::Null) | None => Err(NoDocument::Missing(name.clone())),
                    Some(_) => Err(NoDocument::WrongType(name.clone())),
                });
                let texts: Vec<&str> = texts.collect::<Result<_, _>>()?;
                Ok(Said::Text(texts.join(BETWEEN)))
            }
            Kind::Messages => {
                let (name, value) = (&self.names[0], values.first().and_then(Option::as_ref));
                let mut turns = Vec::new();
                match value {
                    None | Some(Value::Null) => return Err(NoDocument::Missing(name.clone())),
                    Some(value) => messages(value, name, &rules, &mut turns)?,
                }
                finished(turns).map(Said::Turns)
            }
            Kind::Turns(roles) => {
                let mut turns: Vec<(Role, String)> = Vec::new();
                for ((name, value), role) in columns.zip(roles) {
                    // An instruction may have no input, and a conversation no system's turn.
                    let continues = turns.last().is_some_and(|(last, _)| last == role);
                    let may_lack = *role == Role::System || continues;
                    match value {
                        None | Some(Value::Null) if may_lack => {}
                        Some(Value::String(text)) if may_lack && text.is_empty() => {}
                        None | Some(Value::Null) => {
                            return Err(NoDocument::Missing(name.clone()));
                        }
                        Some(Value::String(text)) => match turns.last_mut() {
                            Some((_, last)) if continues => {
                                last.push_str(BETWEEN);
                                last.push_str(text);
                            }
                            _ => turns.push((*role, text.clone())),
                        },
                        Some(value) => messages(value, name, &rules, &mut turns)?,
                    }
                }
                finished(turns).map(Said::Turns)
            }
        }
    }
}

/// Adds the messages of a list, which may be written as text.
fn messages(
    value: &Value,
    name: &str,
    rules: &ConversationConfig,
    turns: &mut Vec<(Role, String)>,
) -> Result<(), NoDocument> {
    let parsed: Value;
    let list = match value {
        Value::Array(list) => list,
        Value::String(text) => {
            parsed =
                serde_json::from_str(text).map_err(|_| NoDocument::WrongType(name.to_string()))?;
            parsed.as_array().ok_or_else(|| NoDocument::WrongType(name.to_string()))?
        }
        _ => return Err(NoDocument::WrongType(name.to_string())),
    };
    for message in list {
        let number = turns.len() + 1;
        let broken = |what: &str| Err(NoDocument::Broken(format!("turn {number} {what}")));
        let field = |names: [&str; 2]| names.into_iter().find_map(|name| message.get(name));
        let Some(Value::String(role)) = field(["role", "from"]) else {
            return broken("has no role");
        };
        // Its name may be anything, and so may be text of a person.
        let Some(role) = rules.role(role) else {
            return broken("has a role that is not known");
        };
        let calls = ["tool_calls", "function_call"].map(|name| message.get(name));
        let is_call =
            |call: &Value| !call.is_null() && call.as_array().is_none_or(|c| !c.is_empty());
        if calls.into_iter().flatten().any(is_call) {
            return broken(
                "calls tools, which is no text that could be searched for personal data",
            );
        }
        match field(["content", "value"]).map(content) {
            Some(Some(content)) => turns.push((role, content)),
            _ => return broken("has no text"),
        }
    }
    Ok(())
}

/// The text of a message: a text, or parts that are all texts.
fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| match part {
                Value::String(text) => Some(text.as_str()),
                part => part["text"].as_str().filter(|_| part["type"] != "image_url"),
            });
            texts.collect::<Option<Vec<&str>>>().map(|texts| texts.concat())
        }
        _ => None,
    }
}

/// Turns of which each has a text, and one is an answer.
fn finished(turns: Vec<(Role, String)>) -> Result<Vec<(Role, String)>, NoDocument> {
    let empty = turns.iter().position(|(_, text)| text.trim().is_empty());
    if let Some(index) = empty {
        return Err(NoDocument::Broken(format!("turn {} is empty", index + 1)));
    }
    if !turns.iter().any(|(role, _)| *role == Role::Assistant) {
        return Err(NoDocument::Broken("no turn is an answer of the assistant".to_string()));
    }
    Ok(turns)
}
