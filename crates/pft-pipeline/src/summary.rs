//! The end of a run in words: how much was done, what the models are like, and where results lie.

use std::path::PathBuf;

use pft_artifact::Store;

use crate::figures::{self, Figures};
use crate::graph::{Graph, Node};
use crate::latest;
use crate::outcome::{Outcome, Status};

/// The closing lines.
pub(crate) fn text(graph: &Graph, store: &Store, outcomes: &[Outcome], seconds: f64) -> String {
    let mut lines = vec![head(graph, outcomes, seconds)];
    for (node, outcome) in graph.nodes.iter().zip(outcomes) {
        if let Some(figures) = figures(store, outcome)
            && !matches!(figures, Figures::Found(_))
        {
            lines.push(format!("  {}: {}", node.name, figures.line()));
        }
    }
    for (index, (node, outcome)) in graph.nodes.iter().zip(outcomes).enumerate() {
        if is_last(graph, outcomes, index) {
            for (port, (_, path)) in &outcome.outputs {
                let several = outcome.outputs.len() > 1;
                let link = latest_path(graph, store, node, outcome)
                    .map(|link| if several { link.join(port) } else { link })
                    .filter(|link| link.exists());
                let port = if several { format!(".{port}") } else { String::new() };
                let shown = link.unwrap_or_else(|| path.clone());
                lines.push(format!("  {}{port}: {}", node.name, shown.display()));
            }
        }
    }
    lines.join("\n")
}

fn head(graph: &Graph, outcomes: &[Outcome], seconds: f64) -> String {
    let count = |status: Status| outcomes.iter().filter(|o| o.status == status).count();
    let (ran, cached, failed) = (count(Status::Ran), count(Status::Cached), count(Status::Failed));
    let to_come = outcomes.iter().filter(|outcome| outcome.status.is_to_come()).count();
    let name = &graph.pipeline;
    if to_come > 0 {
        return format!("{name}: {to_come} would run, {cached} cached");
    }
    if ran == 0 && cached == outcomes.len() {
        return format!("{name}: nothing to do, all {cached} stages are cached ({seconds:.2} s)");
    }
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{name}: {ran} ran, {cached} cached{failed} ({seconds:.1} s)")
}

/// Whether nothing in this run stands on a stage.
fn is_last(graph: &Graph, outcomes: &[Outcome], index: usize) -> bool {
    let takes = |node: &Node| node.inputs.values().any(|(from, _)| *from == index);
    let mut others = graph.nodes.iter().zip(outcomes);
    !others.any(|(node, outcome)| outcome.status != Status::Skipped && takes(node))
}

/// The figures of what a stage made.
pub(crate) fn figures(store: &Store, outcome: &Outcome) -> Option<Figures> {
    outcome.outputs.values().find_map(|(hash, _)| figures::of(store, hash))
}

/// Where the link to what a stage made lies, or the folder of links where it made several.
pub(crate) fn latest_path(
    graph: &Graph,
    store: &Store,
    node: &Node,
    outcome: &Outcome,
) -> Option<PathBuf> {
    let made = outcome.outputs.keys().next()?;
    let several = node.binary.description.outputs.len() > 1;
    let port = (several && outcome.outputs.len() == 1).then_some(made);
    Some(store.root().join(latest::path(&graph.pipeline, &node.name, port)))
}
