//! `graph FILE`: the stages and what they stand on.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pft_artifact::Store;
use serde_json::json;

use super::{PipelineArguments, all_of, print};
use crate::RunError;
use crate::execute::plan;
use crate::graph::Graph;
use crate::outcome::Outcome;
use crate::picture::{self, Box};

/// Arguments of `graph`.
#[derive(Debug, Args)]
pub(crate) struct GraphArguments {
    /// The pipeline files
    #[arg(required = true)]
    pipeline: Vec<PathBuf>,
    #[command(flatten)]
    settings: PipelineArguments,
    /// How to draw it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Prints one JSON object
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A line a stage.
    Text,
    /// For Markdown that draws Mermaid.
    Mermaid,
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
}

impl GraphArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let graph = self.settings.graph(&self.pipeline)?;
        let store = Store::at(&self.settings.store_of(&self.pipeline));
        let outcomes = plan(&graph, &all_of(&graph), &store)?;
        let boxes = boxes(&graph, &outcomes);
        print(&match self.format {
            _ if self.json => as_json(&graph, &outcomes),
            Format::Text => picture::lines(&boxes),
            Format::Mermaid => picture::mermaid(&boxes),
            Format::Dot => picture::dot(&graph.pipeline, &boxes),
            Format::Svg => picture::svg(&graph.pipeline, &boxes, true),
        });
        Ok(0)
    }
}

fn boxes(graph: &Graph, outcomes: &[Outcome]) -> Vec<Box> {
    let stages = graph.nodes.iter().zip(outcomes);
    stages
        .map(|(node, outcome)| {
            let status = outcome.status.name();
            let mut needs: Vec<usize> = node.inputs.values().map(|(from, _)| *from).collect();
            needs.sort_unstable();
            needs.dedup();
            Box {
                name: node.name.clone(),
                note: format!("{}, {status}", node.binary.description.name),
                class: status.replace(' ', "-"),
                needs,
            }
        })
        .collect()
}

fn as_json(graph: &Graph, outcomes: &[Outcome]) -> String {
    let stages = graph.nodes.iter().zip(outcomes);
    let stages: Vec<_> = stages
        .map(|(node, outcome)| {
            let inputs = node.inputs.iter().map(|(port, (from, output))| {
                (port.clone(), json!({ "stage": graph.nodes[*from].name, "port": output }))
            });
            json!({
                "name": node.name,
                "stage": node.binary.description.name,
                "status": outcome.status.name(),
                "inputs": inputs.collect::<serde_json::Map<_, _>>(),
            })
        })
        .collect();
    json!({ "pipeline": graph.pipeline, "stages": stages }).to_string()
}
