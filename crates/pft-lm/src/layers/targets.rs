//! Which linear layers get adapters: PEFT's `target_modules`, and the paths that it speaks of.

use std::collections::BTreeSet;

use fancy_regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{HEAD, HEADS};
use crate::parameters::ParameterError;
use crate::spec::{ParameterKind, ParameterSpec};

/// PEFT's word for every linear layer but the head.
const ALL_LINEAR: &str = "all-linear";

/// PEFT's `target_modules`: a list of names, or one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TargetModules {
    /// Layers whose path is one of these names, or ends in a dot and one of them: `q_proj`,
    /// `layers.0.mlp.up_proj`.
    Names(Vec<String>),
    /// `all-linear`, every linear layer of the blocks; or a regular expression that matches a
    /// layer's path from end to end.
    Pattern(String),
}

impl TargetModules {
    /// Layers of these names.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Names(names.into_iter().map(Into::into).collect())
    }

    /// Every linear layer of the blocks.
    pub fn all_linear() -> Self {
        Self::Pattern(ALL_LINEAR.to_owned())
    }

    /// The weights among `specs` that get an adapter, in their order.
    ///
    /// # Errors
    /// When a name or the pattern fits no linear layer, or the pattern is none, or it fits a module
    /// that gets no adapter here.
    pub(crate) fn select<'a>(
        &self,
        specs: &'a [ParameterSpec],
    ) -> Result<Vec<&'a ParameterSpec>, ParameterError> {
        let layers: Vec<&ParameterSpec> = specs.iter().filter(|spec| is_target(spec)).collect();
        match self {
            Self::Names(names) if names.is_empty() => {
                Err(ParameterError::Lora("names no target module".to_owned()))
            }
            Self::Names(names) => {
                if let Some(name) =
                    names.iter().find(|name| !layers.iter().any(|spec| is_named(spec, name)))
                {
                    return Err(unknown(name, &layers));
                }
                let named = |spec: &&ParameterSpec| names.iter().any(|name| is_named(spec, name));
                Ok(layers.into_iter().filter(named).collect())
            }
            Self::Pattern(word) if word.eq_ignore_ascii_case(ALL_LINEAR) => {
                Ok(layers.into_iter().filter(|spec| spec.name != HEAD).collect())
            }
            Self::Pattern(pattern) => matching(pattern, specs, layers),
        }
    }

    /// What PEFT is to read, so that it gives adapters to the same layers of the model of `specs`:
    /// names alone, which mean the same to every version and dialect.
    ///
    /// # Errors
    /// As [`TargetModules::select`].
    pub(crate) fn written(&self, specs: &[ParameterSpec]) -> Result<Vec<String>, ParameterError> {
        let selected = self.select(specs)?;
        let paths = || selected.iter().map(|spec| path(&spec.name));
        let names: BTreeSet<&str> = match self {
            Self::Names(names) => return Ok(names.clone()),
            Self::Pattern(word) if word.eq_ignore_ascii_case(ALL_LINEAR) => {
                paths().map(last_part).collect()
            }
            Self::Pattern(_) => paths().collect(),
        };
        Ok(names.into_iter().map(str::to_owned).collect())
    }
}

/// A module's path, from the name of its weight.
pub(crate) fn path(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Whether it is the weight of a linear layer: of a block, or a head that is no embedding. GPT-NeoX's
/// head is none: transformers 4 and 5 have other names for it, so that one file cannot serve both.
fn is_target(spec: &ParameterSpec) -> bool {
    let name = spec.name.as_str();
    spec.kind == ParameterKind::Weight && (name == HEAD || !HEADS.contains(&name))
}

/// PEFT's rule: the module's path is the name or ends in `.name`.
fn is_named(spec: &ParameterSpec, name: &str) -> bool {
    let rest = path(&spec.name).strip_suffix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn unknown(name: &str, layers: &[&ParameterSpec]) -> ParameterError {
    let known: BTreeSet<&str> = layers.iter().map(|spec| last_part(path(&spec.name))).collect();
    ParameterError::NoSuchModule {
        name: name.to_owned(),
        known: known.into_iter().collect::<Vec<_>>().join(", "),
    }
}

/// The layers whose path a pattern matches as Python's `re.fullmatch` does. PEFT fails where it
/// matches what can have no adapter, and adapts embeddings and tied heads: both are refused.
fn matching<'a>(
    pattern: &str,
    specs: &[ParameterSpec],
    layers: Vec<&'a ParameterSpec>,
) -> Result<Vec<&'a ParameterSpec>, ParameterError> {
    let wrong =
        |problem: String| ParameterError::Lora(format!("target pattern `{pattern}` {problem}"));
    // A pattern that is none may become one between other characters.
    let expression = Regex::new(pattern)
        .and_then(|_| Regex::new(&format!(r"\A(?:{pattern})\z")))
        .map_err(|error| wrong(format!("is no regular expression: {error}")))?;
    let matches = |path: &str| {
        expression.is_match(path).map_err(|error| wrong(format!("takes too long: {error}")))
    };
    let adapted: BTreeSet<&str> = layers.iter().map(|spec| path(&spec.name)).collect();
    for module in modules(specs).difference(&adapted) {
        if matches(module)? {
            return Err(wrong(format!(
                "matches `{module}`, which gets no adapter; match paths of linear layers alone, such \
                 as `{}`",
                adapted.first().unwrap_or(&"")
            )));
        }
    }
    let mut selected = Vec::new();
    for spec in &layers {
        if matches(path(&spec.name))? {
            selected.push(*spec);
        }
    }
    if selected.is_empty() {
        return Err(unknown(pattern, &layers));
    }
    Ok(selected)
}

/// The paths of all modules that hold weights, themselves or in modules within.
fn modules(specs: &[ParameterSpec]) -> BTreeSet<&str> {
    let mut all = BTreeSet::new();
    for spec in specs {
        let mut rest = spec.name.as_str();
        while let Some((module, _)) = rest.rsplit_once('.') {
            all.insert(module);
            rest = module;
        }
    }
    all
}
