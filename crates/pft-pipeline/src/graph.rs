//! The checked graph: every port connected to an output of its kind, every config valid, no cycle.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pft_stage::schema::suggestion;
use pft_stage::{ConfigSource, Override, Port, load_config};
use serde_json::Value;

use crate::RunError;
use crate::file::{Pipeline, StageEntry};
use crate::limits::Limits;
use crate::stages::{StageBinary, describe_all};

/// A stage that is ready to be keyed and run once its inputs are there.
#[derive(Debug, Clone)]
pub struct Node {
    /// Unique name in the pipeline.
    pub name: String,
    /// Executable and description.
    pub binary: StageBinary,
    /// The config, merged, checked, with defaults.
    pub config: Value,
    /// For each connected input port: the node it comes from, and that node's output port.
    pub inputs: BTreeMap<String, (usize, String)>,
    /// What it may take, and how often it is tried.
    pub limits: Limits,
    /// `file:line`, for messages.
    pub place: String,
}

/// Stages in an order in which every one comes after its inputs.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stages.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// Checks a pipeline as a whole, before anything is started. `overrides` come from the
    /// command line, as `STAGE.KEY=VALUE`.
    ///
    /// # Errors
    /// What is wrong, with file and line.
    pub fn build(pipeline: &Pipeline, overrides: &[Override]) -> Result<Self, RunError> {
        let named = |entry: &'_ StageEntry| entry.place(entry.line);
        let binaries =
            describe_all(pipeline.stages.iter().map(|entry| (entry.stage.as_str(), named(entry))))?;
        let places: BTreeMap<&str, usize> = pipeline
            .stages
            .iter()
            .enumerate()
            .map(|(index, entry)| (entry.name.as_str(), index))
            .collect();
        let order = order(&pipeline.stages, &places)?;
        let mut position = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            position[old] = new;
        }
        let overrides = assign(pipeline, overrides)?;
        let mut nodes = Vec::with_capacity(order.len());
        for &index in &order {
            let entry = &pipeline.stages[index];
            let binary = binaries[&entry.stage].clone();
            let inputs = connect(pipeline, entry, &binaries, &places, &position)?;
            let config = config_of(entry, &binary, &overrides[index])?;
            let place = entry.place(entry.line);
            let (name, limits) = (entry.name.clone(), entry.limits);
            nodes.push(Node { name, binary, config, inputs, limits, place });
        }
        Ok(Self { pipeline: pipeline.name.clone(), nodes })
    }

    /// The indices of a stage and of everything that it needs.
    ///
    /// # Errors
    /// When there is no such stage.
    pub fn needed_for(&self, name: &str) -> Result<Vec<bool>, RunError> {
        let targets = self.find(name)?;
        let mut needed = vec![false; self.nodes.len()];
        targets.iter().for_each(|&target| needed[target] = true);
        for index in (0..self.nodes.len()).rev() {
            if needed[index] {
                self.nodes[index].inputs.values().for_each(|(from, _)| needed[*from] = true);
            }
        }
        Ok(needed)
    }

    /// The stages with this name: the full one, or the last part of it.
    ///
    /// # Errors
    /// When there is none; suggests the nearest.
    pub fn find(&self, name: &str) -> Result<Vec<usize>, RunError> {
        let found: Vec<usize> =
            (0..self.nodes.len()).filter(|&i| is_named(&self.nodes[i].name, name)).collect();
        if found.is_empty() {
            let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            return Err(RunError::config(format!(
                "pipeline {} has no stage `{name}`{}",
                self.pipeline,
                suggestion(name, &known)
            )));
        }
        Ok(found)
    }
}

fn is_named(full: &str, name: &str) -> bool {
    full == name || full.rsplit('/').next() == Some(name)
}

/// Hands each `STAGE.KEY=VALUE` to the stages of that name, with the stage cut off its key.
fn assign(pipeline: &Pipeline, overrides: &[Override]) -> Result<Vec<Vec<Override>>, RunError> {
    let mut assigned = vec![Vec::new(); pipeline.stages.len()];
    for change in overrides {
        let Some((name, key)) = change.key.split_once('.') else {
            return Err(RunError::config(format!(
                "--set {}: it must be STAGE.KEY=VALUE, such as model.max_steps=100",
                change.key
            )));
        };
        let mut found = false;
        for (entry, list) in pipeline.stages.iter().zip(&mut assigned) {
            if is_named(&entry.name, name) {
                found = true;
                list.push(Override { key: key.to_string(), ..change.clone() });
            }
        }
        if !found {
            let known: Vec<&str> = pipeline.stages.iter().map(|s| s.name.as_str()).collect();
            return Err(RunError::config(format!(
                "--set {}: the pipeline has no stage `{name}`{}",
                change.key,
                suggestion(name, &known)
            )));
        }
    }
    Ok(assigned)
}

fn config_of(
    entry: &StageEntry,
    binary: &StageBinary,
    overrides: &[Override],
) -> Result<Value, RunError> {
    let source = match &entry.config {
        Some(path) => Some(ConfigSource::read(path).map_err(|message| {
            RunError::config(format!("{}: {message}", entry.place(entry.line)))
        })?),
        None => None,
    };
    let folder = std::path::absolute(&entry.file)
        .ok()
        .and_then(|path| path.parent().map(PathBuf::from))
        .unwrap_or_default();
    let settings = entry.set.iter().map(|setting| Override {
        key: setting.key.clone(),
        value: setting.value.clone(),
        origin: entry.place(setting.line),
        base: folder.clone(),
    });
    let all: Vec<Override> = settings.chain(overrides.iter().cloned()).collect();
    load_config(source.as_ref(), &all, &binary.description.config).map_err(RunError::config)
}

fn port_names(ports: &[Port]) -> Vec<&str> {
    ports.iter().map(|port| port.name.as_str()).collect()
}

fn connect(
    pipeline: &Pipeline,
    entry: &StageEntry,
    binaries: &BTreeMap<String, StageBinary>,
    places: &BTreeMap<&str, usize>,
    position: &[usize],
) -> Result<BTreeMap<String, (usize, String)>, RunError> {
    let description = &binaries[&entry.stage].description;
    let mut inputs = BTreeMap::new();
    for connection in &entry.inputs {
        let error = |message: String| {
            RunError::config(format!("{}: {message}", entry.place(connection.line)))
        };
        let port =
            description.inputs.iter().find(|p| p.name == connection.port).ok_or_else(|| {
                let known = port_names(&description.inputs);
                let hint = suggestion(&connection.port, &known);
                error(format!("{} has no input port `{}`{hint}", description.name, connection.port))
            })?;
        let from = source_index(places, entry, &connection.from).map_err(&error)?;
        let outputs = &binaries[&pipeline.stages[from].stage].description.outputs;
        let output = match &connection.from_port {
            Some(name) => outputs.iter().find(|output| output.name == *name).ok_or_else(|| {
                let hint = suggestion(name, &port_names(outputs));
                error(format!("`{}` has no output port `{name}`{hint}", connection.from))
            })?,
            None => only_output(outputs).ok_or_else(|| {
                let names = port_names(outputs).join(", ");
                error(format!(
                    "`{0}` has several output ports ({names}); write `{0}.PORT`",
                    connection.from
                ))
            })?,
        };
        if output.kind != port.kind {
            return Err(error(format!(
                "input `{}` takes a {} artifact, but `{}` gives a {} artifact",
                connection.port, port.kind, connection.from, output.kind
            )));
        }
        inputs.insert(connection.port.clone(), (position[from], output.name.clone()));
    }
    for port in description.inputs.iter().filter(|port| port.required) {
        if !inputs.contains_key(&port.name) {
            return Err(RunError::config(format!(
                "{}: stage `{}`: input port `{}` ({}) is not connected; add `inputs: {{ {}: STAGE }}`",
                entry.place(entry.line),
                entry.name,
                port.name,
                port.kind,
                port.name
            )));
        }
    }
    Ok(inputs)
}

/// The only output, or the only one that is always made.
fn only_output(outputs: &[Port]) -> Option<&Port> {
    let mut always = outputs.iter().filter(|port| port.required);
    match (outputs, always.next(), always.next()) {
        ([one], _, _) => Some(one),
        (_, Some(one), None) => Some(one),
        _ => None,
    }
}

fn source_index(
    places: &BTreeMap<&str, usize>,
    entry: &StageEntry,
    from: &str,
) -> Result<usize, String> {
    places.get(from).copied().ok_or_else(|| {
        let known: Vec<&str> = places.keys().copied().collect();
        format!("stage `{}`: there is no stage `{from}`{}", entry.name, suggestion(from, &known))
    })
}

/// A topological order that keeps the file's order where it can.
fn order(stages: &[StageEntry], places: &BTreeMap<&str, usize>) -> Result<Vec<usize>, RunError> {
    let mut sources = Vec::new();
    for entry in stages {
        let mut from = Vec::new();
        for connection in &entry.inputs {
            let index = source_index(places, entry, &connection.from).map_err(|message| {
                RunError::config(format!("{}: {message}", entry.place(connection.line)))
            })?;
            from.push(index);
        }
        sources.push(from);
    }
    let mut placed = vec![false; stages.len()];
    let mut order = Vec::with_capacity(stages.len());
    while order.len() < stages.len() {
        let next = (0..stages.len())
            .find(|&index| !placed[index] && sources[index].iter().all(|&from| placed[from]));
        let Some(next) = next else {
            let stuck: Vec<&str> = (0..stages.len())
                .filter(|&index| !placed[index])
                .map(|index| stages[index].name.as_str())
                .collect();
            let first = (0..stages.len()).find(|&index| !placed[index]).unwrap_or_default();
            return Err(RunError::config(format!(
                "{}: the stages {} wait for each other in a cycle",
                stages[first].place(stages[first].line),
                stuck.join(", ")
            )));
        };
        placed[next] = true;
        order.push(next);
    }
    Ok(order)
}
