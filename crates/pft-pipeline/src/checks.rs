//! What can be known to be wrong before anything starts: each stage checks its own config, and what one
//! stage will give is held against what the next one takes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use pft_stage::{Event, Facts};

use crate::RunError;
use crate::graph::{Graph, Node};

/// How long a stage may take to check its config, for which it may have to read a model's files.
const PATIENCE: Duration = Duration::from_secs(600);

/// Checks these stages, all at once, and returns what is wrong with which.
pub(crate) fn check(graph: &Graph, nodes: &[usize]) -> Vec<(usize, RunError)> {
    // What a stage gives is asked of those, too, that are made already.
    let sources = nodes.iter().flat_map(|&node| graph.nodes[node].inputs.values());
    let asked: BTreeSet<usize> =
        sources.map(|(from, _)| *from).chain(nodes.iter().copied()).collect();
    let asked: Vec<usize> =
        asked.into_iter().filter(|&node| graph.nodes[node].binary.description.checks).collect();
    let mut facts = BTreeMap::new();
    let mut wrong = Vec::new();
    // Equal nodes of several pipelines answer once.
    let mut answers: Vec<(usize, Result<Facts, RunError>)> = Vec::new();
    let parallel = std::thread::available_parallelism().map_or(1, usize::from) * 2;
    let same = |a: usize, b: usize| {
        let (a, b) = (&graph.nodes[a], &graph.nodes[b]);
        a.binary.path == b.binary.path && a.config == b.config
    };
    let mut different: Vec<usize> = Vec::new();
    for &node in &asked {
        if !different.iter().any(|&other| same(node, other)) {
            different.push(node);
        }
    }
    for some in different.chunks(parallel) {
        std::thread::scope(|scope| {
            let threads: Vec<_> = some
                .iter()
                .map(|&node| (node, scope.spawn(move || ask(&graph.nodes[node]))))
                .collect();
            answers.extend(threads.into_iter().map(|(node, thread)| {
                let failed = || Err(RunError::bug("checking the config failed"));
                (node, thread.join().unwrap_or_else(|_| failed()))
            }));
        });
    }
    for node in asked {
        match answers.iter().find(|(other, _)| same(node, *other)).map(|(_, answer)| answer) {
            Some(Ok(answer)) => drop(facts.insert(node, answer.clone())),
            Some(Err(error)) if nodes.contains(&node) => wrong.push((node, error.clone())),
            _ => {}
        }
    }
    wrong.extend(nodes.iter().flat_map(|&node| clashes(graph, node, &facts)));
    wrong
}

fn clashes(graph: &Graph, index: usize, facts: &BTreeMap<usize, Facts>) -> Vec<(usize, RunError)> {
    let (node, mut found) = (&graph.nodes[index], Vec::new());
    for (port, (from, output)) in &node.inputs {
        let limits = facts.get(&index).and_then(|facts| facts.takes.get(port));
        let given = facts.get(from).and_then(|facts| facts.gives.get(output));
        let (Some(limits), Some(given)) = (limits, given) else { continue };
        for (fact, limit) in limits {
            let Some(value) = given.get(fact).filter(|value| **value > limit.at_most) else {
                continue;
            };
            let message = format!(
                "`{}` will give a {} of {value}, but `{}` takes at most {}: {}",
                graph.nodes[*from].name,
                fact.replace('_', " "),
                node.name,
                limit.at_most,
                limit.because
            );
            found.push((index, RunError::config(message)));
        }
    }
    found
}

/// Asks a stage to check its config.
fn ask(node: &Node) -> Result<Facts, RunError> {
    let executable = &node.binary.path;
    let failed = |error: std::io::Error| {
        RunError::bug(format!("{}: `--check` failed: {error}", executable.display()))
    };
    // Outside the store: a dry run makes nothing there.
    let mut config = tempfile::Builder::new().suffix(".json").tempfile().map_err(failed)?;
    writeln!(config, "{:#}", node.config).map_err(failed)?;
    let output = start(executable, config.path()).map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let error = said.lines().find_map(|line| match serde_json::from_str(line).ok()? {
            Event::Error { message, .. } => Some(message),
            _ => None,
        });
        let message = error.unwrap_or_else(|| format!("`--check` failed: {}", output.status));
        let exit_code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        return Err(RunError { message: format!("`{}`: {message}", node.name), exit_code });
    }
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let path = executable.display();
        RunError::bug(format!("{path}: its answer to `--check` is not what it should be: {error}"))
    })
}

fn start(executable: &Path, config: &Path) -> std::io::Result<Output> {
    let mut command = Command::new(executable);
    command.args(["--check", "--progress", "json", "--config"]).arg(config);
    let late = || std::io::Error::other(format!("no answer after {} s", PATIENCE.as_secs()));
    crate::ask::ask(command, PATIENCE)?.ok_or_else(late)
}
