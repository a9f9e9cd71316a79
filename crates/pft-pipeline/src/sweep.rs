//! A matrix of settings: each stage whose settings are swept, and each that stands on one, becomes as
//! many stages as there are values. What stands on none is shared.
//!
//! ```yaml
//! sweep: { model.privacy.target_epsilon: [1, 3, 8] }
//! ```
//! makes `target_epsilon=1/model`, `target_epsilon=3/model` and so on; `--set model.max_steps=10` still
//! means all of them.

use std::collections::{BTreeMap, BTreeSet};

use pft_stage::yaml::{self, Data, Node};

use crate::RunError;
use crate::entry::{Setting, StageEntry};

/// One swept setting.
#[derive(Debug, Clone)]
pub struct Axis {
    /// The stage, by its name; where there is none of this name, those with this last part of it.
    pub stage: String,
    /// Dotted key of its config.
    pub key: String,
    /// The values.
    pub values: Vec<Node>,
    /// Where it was said, for messages.
    pub place: String,
    /// The line it stands on.
    pub line: u64,
}

impl Axis {
    /// `STAGE.KEY` and a list of values.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(name: &str, value: &Node, place: String) -> Result<Self, RunError> {
        let wrong = |message: &str| RunError::config(format!("{place}: {name}: {message}"));
        let Some((stage, key)) = name.split_once('.') else {
            return Err(wrong("a sweep is STAGE.KEY and a list of values"));
        };
        let Data::Sequence(values) = &value.data else {
            return Err(wrong("must be a list of values"));
        };
        if values.is_empty() {
            return Err(wrong("the list of values is empty"));
        }
        let labels: BTreeSet<String> = (0..values.len()).map(|i| label(values, i)).collect();
        if labels.len() < values.len() {
            return Err(wrong("the list holds a value twice"));
        }
        let (stage, key, values) = (stage.to_string(), key.to_string(), values.clone());
        Ok(Self { stage, key, values, place, line: value.line })
    }

    /// `STAGE.KEY=[VALUE, …]` of a command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, RunError> {
        let wrong = |message: &str| RunError::config(format!("--sweep {text}: {message}"));
        let (name, value) =
            text.split_once('=').ok_or_else(|| wrong("it must be STAGE.KEY=[VALUE, …]"))?;
        let value = yaml::parse(value).map_err(|error| wrong(&error))?;
        Self::new(name.trim(), &value, "--sweep".to_string())
    }
}

/// A value as it stands in a stage's name.
fn label(values: &[Node], index: usize) -> String {
    match &values[index].data {
        Data::Sequence(_) | Data::Mapping(_) => format!("{}", index + 1),
        // YAML's infinity, however it is written.
        Data::String(text) if text.trim_start_matches(['.', '+']).eq_ignore_ascii_case("inf") => {
            "inf".to_string()
        }
        Data::String(text) => text.replace(['/', '\n', '\0'], "_"),
        _ => values[index].to_json().to_string(),
    }
}

/// For each stage that is affected, the index of the value of each axis that affects it.
type Choice = BTreeMap<usize, usize>;

/// The stages of a pipeline with its axes spread out.
///
/// # Errors
/// When an axis names no stage.
pub(crate) fn expand(stages: Vec<StageEntry>, axes: &[Axis]) -> Result<Vec<StageEntry>, RunError> {
    if axes.is_empty() {
        return Ok(stages);
    }
    let whole = |axis: &Axis| stages.iter().any(|entry| entry.name == axis.stage);
    let own = |entry: &StageEntry, axis: &Axis| match whole(axis) {
        true => entry.name == axis.stage,
        false => entry.name.rsplit('/').next() == Some(&axis.stage),
    };
    for axis in axes {
        if !stages.iter().any(|entry| own(entry, axis)) {
            let known: Vec<&str> = stages.iter().map(|entry| entry.name.as_str()).collect();
            let hint = pft_stage::schema::suggestion(&axis.stage, &known);
            let message =
                format!("{}: the pipeline has no stage `{}`{hint}", axis.place, axis.stage);
            return Err(RunError::config(message));
        }
    }
    let affected = affected(&stages, axes, &own);
    let mut expanded = Vec::new();
    for entry in &stages {
        for choice in choices(&affected[&entry.name], axes) {
            let mut variant = entry.clone();
            variant.name = named(&entry.name, &choice, axes);
            for input in &mut variant.inputs {
                if let Some(of) = affected.get(&input.from) {
                    let part = choice.iter().filter(|(axis, _)| of.contains(axis));
                    let part: Choice = part.map(|(axis, value)| (*axis, *value)).collect();
                    input.from = named(&input.from, &part, axes);
                }
            }
            for (&axis, &value) in &choice {
                if own(entry, &axes[axis]) {
                    variant.set.push(Setting {
                        key: axes[axis].key.clone(),
                        value: axes[axis].values[value].clone(),
                        line: axes[axis].line,
                    });
                }
            }
            expanded.push(variant);
        }
    }
    Ok(expanded)
}

/// Which axes each stage depends on, by its own settings or through its inputs.
fn affected(
    stages: &[StageEntry],
    axes: &[Axis],
    own: &dyn Fn(&StageEntry, &Axis) -> bool,
) -> BTreeMap<String, BTreeSet<usize>> {
    let mut affected: BTreeMap<String, BTreeSet<usize>> = stages
        .iter()
        .map(|entry| {
            let by = (0..axes.len()).filter(|axis| own(entry, &axes[*axis])).collect();
            (entry.name.clone(), by)
        })
        .collect();
    loop {
        let mut changed = false;
        for entry in stages {
            let through: BTreeSet<usize> = entry
                .inputs
                .iter()
                .filter_map(|input| affected.get(&input.from))
                .flatten()
                .copied()
                .collect();
            if let Some(known) = affected.get_mut(&entry.name) {
                let before = known.len();
                known.extend(through);
                changed |= known.len() > before;
            }
        }
        if !changed {
            return affected;
        }
    }
}

fn choices(axes_of_stage: &BTreeSet<usize>, axes: &[Axis]) -> Vec<Choice> {
    let mut choices = vec![Choice::new()];
    for &axis in axes_of_stage {
        choices = choices
            .into_iter()
            .flat_map(|choice| {
                (0..axes[axis].values.len()).map(move |value| {
                    let mut choice = choice.clone();
                    choice.insert(axis, value);
                    choice
                })
            })
            .collect();
    }
    choices
}

/// `echr/model` becomes `echr/target_epsilon=8,rank=4/model`.
fn named(name: &str, choice: &Choice, axes: &[Axis]) -> String {
    if choice.is_empty() {
        return name.to_string();
    }
    let last = |axis: &Axis| axis.key.rsplit('.').next().unwrap_or(&axis.key).to_string();
    let parts: Vec<String> = choice
        .iter()
        .map(|(&axis, &value)| {
            let short = last(&axes[axis]);
            let alone = axes.iter().filter(|other| last(other) == short).count() == 1;
            let full = format!("{}-{}", axes[axis].stage, axes[axis].key.replace('.', "-"));
            let key = if alone { short } else { full };
            format!("{key}={}", label(&axes[axis].values, value))
        })
        .collect();
    let (folder, own) = name.rsplit_once('/').map_or(("", name), |(folder, own)| (folder, own));
    let between = if folder.is_empty() { "" } else { "/" };
    format!("{folder}{between}{}/{own}", parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Connection;

    fn entry(name: &str, from: &[&str]) -> StageEntry {
        let connect = |from: &&str| Connection {
            port: (*from).to_string(),
            from: (*from).to_string(),
            from_port: None,
            line: 1,
        };
        StageEntry {
            name: name.into(),
            stage: "x".into(),
            config: None,
            inputs: from.iter().map(connect).collect(),
            set: Vec::new(),
            limits: crate::limits::Limits::default(),
            file: "p.yml".into(),
            line: 1,
        }
    }

    #[test]
    fn what_stands_on_no_axis_is_shared() {
        let stages = vec![
            entry("cases", &[]),
            entry("model", &["cases"]),
            entry("release", &["model", "cases"]),
            entry("other", &["cases"]),
        ];
        let axes = [
            Axis::parse("model.privacy.target_epsilon=[1, 0.5]").unwrap(),
            Axis::parse("release.format=[hf, peft]").unwrap(),
        ];
        let expanded = expand(stages, &axes).unwrap();
        let names: Vec<&str> = expanded.iter().map(|entry| &entry.name[..]).collect();
        let expected = [
            "cases",
            "target_epsilon=1/model",
            "target_epsilon=0.5/model",
            "target_epsilon=1,format=hf/release",
            "target_epsilon=1,format=peft/release",
            "target_epsilon=0.5,format=hf/release",
            "target_epsilon=0.5,format=peft/release",
            "other",
        ];
        assert_eq!(names, expected);
        assert_eq!(expanded[6].inputs[0].from, "target_epsilon=0.5/model");
        assert_eq!(expanded[6].inputs[1].from, "cases");
        assert_eq!(expanded[6].set.len(), 1, "the setting of `model` is not one of `release`");
        assert!(expand(vec![entry("a", &[])], &axes).is_err());
    }

    #[test]
    fn a_whole_name_is_meant_before_the_last_part_of_others() {
        let stages = vec![entry("other/model", &[]), entry("model", &[])];
        let axes = [Axis::parse("model.privacy.target_epsilon=[8, .inf]").unwrap()];
        let expanded = expand(stages, &axes).unwrap();
        let names: Vec<&str> = expanded.iter().map(|entry| &entry.name[..]).collect();
        assert_eq!(names, ["other/model", "target_epsilon=8/model", "target_epsilon=inf/model"]);
        for twice in ["model.a=[.inf, inf]", "model.a=[inf, +.Inf]"] {
            assert!(Axis::parse(twice).is_err(), "{twice}");
        }
    }

    #[test]
    fn a_sweep_is_a_list_of_different_values() {
        for wrong in ["model=[1]", "model.a=1", "model.a=[]", "model.a=[1, 1]", "model.a"] {
            assert!(Axis::parse(wrong).is_err(), "{wrong}");
        }
    }
}
