//! What chat templates take from Python and Jinja2 beyond what minijinja has: methods of texts, and
//! tests that hold for other types there.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

/// Teaches an environment.
pub(super) fn extend(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(method);
    // Of texts and mappings too, as in Jinja2.
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map)
    });
    environment.add_test("iterable", |value: &Value| {
        !matches!(value.kind(), ValueKind::None) && value.try_iter().is_ok()
            || value.kind() == ValueKind::String
    });
    environment.add_filter("trim", |text: &str, characters: Option<String>| {
        let goes = |c: char| match &characters {
            Some(characters) => characters.contains(c),
            None => is_space(c),
        };
        text.trim_matches(goes).to_string()
    });
    // As in Jinja2, what is no number is the default, 0.
    environment.add_filter("int", |value: &Value, default: Option<i64>| {
        let default = default.unwrap_or(0);
        match value.kind() {
            ValueKind::Bool => i64::from(value.is_true()),
            ValueKind::Number => value
                .as_i64()
                .or_else(|| f64::try_from(value.clone()).ok().map(|number| number as i64))
                .unwrap_or(default),
            ValueKind::String => {
                let text = value.as_str().unwrap_or_default().trim();
                let whole = text.parse::<i64>().ok();
                whole.or_else(|| text.parse::<f64>().ok().map(|n| n as i64)).unwrap_or(default)
            }
            _ => default,
        }
    });
}

fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return pycompat::unknown_method_callback(state, value, name, args);
    };
    let argument = |index: usize| args.get(index).filter(|value| !value.is_none());
    let wanted = |index: usize| {
        argument(index).and_then(Value::as_str).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("{name}: an argument is no text"))
        })
    };
    let parts = |parts: [&str; 3]| Value::from_iter(parts.map(Value::from));
    Ok(match name {
        "strip" | "lstrip" | "rstrip" => {
            let characters = match argument(0) {
                Some(_) => Some(wanted(0)?),
                None => None,
            };
            let goes = |c: char| match characters {
                Some(characters) => characters.contains(c),
                None => is_space(c),
            };
            let text = if name == "rstrip" { text } else { text.trim_start_matches(goes) };
            Value::from(if name == "lstrip" { text } else { text.trim_end_matches(goes) })
        }
        "removeprefix" => Value::from(text.strip_prefix(wanted(0)?).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(wanted(0)?).unwrap_or(text)),
        "partition" => match text.split_once(wanted(0)?) {
            Some((before, after)) => parts([before, wanted(0)?, after]),
            None => parts([text, "", ""]),
        },
        "rpartition" => match text.rsplit_once(wanted(0)?) {
            Some((before, after)) => parts([before, wanted(0)?, after]),
            None => parts(["", "", text]),
        },
        "rsplit" => {
            let most =
                argument(1).and_then(Value::as_i64).and_then(|most| usize::try_from(most).ok());
            let mut pieces: Vec<&str> = match (argument(0), most) {
                (None, None) => text.split(is_space).filter(|piece| !piece.is_empty()).collect(),
                (None, Some(_)) => {
                    return pycompat::unknown_method_callback(state, value, name, args);
                }
                (Some(_), None) => text.split(wanted(0)?).collect(),
                (Some(_), Some(most)) => {
                    let mut pieces: Vec<&str> = text.rsplitn(most + 1, wanted(0)?).collect();
                    pieces.reverse();
                    pieces
                }
            };
            Value::from_iter(pieces.drain(..).map(Value::from))
        }
        "split" if argument(0).is_none() && argument(1).is_none() => {
            Value::from_iter(text.split(is_space).filter(|p| !p.is_empty()).map(Value::from))
        }
        _ => return pycompat::unknown_method_callback(state, value, name, args),
    })
}

/// White space as Python's `str.isspace` has it: beyond Unicode's property, the four separators of
/// ASCII.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}
