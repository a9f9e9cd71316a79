//! `plan FILE`: what a run would do, and why.

use std::path::PathBuf;

use clap::Args;
use pft_artifact::Store;
use serde_json::json;

use super::{PipelineArguments, all_of, print};
use crate::RunError;
use crate::execute::plan;
use crate::graph::Graph;
use crate::history::History;
use crate::outcome::{Outcome, Status};
use crate::table::{row, table, time};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The pipeline files
    #[arg(required = true)]
    pipeline: Vec<PathBuf>,
    #[command(flatten)]
    settings: PipelineArguments,
    /// Plans this stage and what it needs, and no more
    #[arg(long, value_name = "STAGE")]
    until: Option<String>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

impl PlanArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let graph = self.settings.graph(&self.pipeline)?;
        let store = Store::at(&self.settings.store_of(&self.pipeline));
        let mut options = all_of(&graph);
        if let Some(name) = &self.until {
            options.wanted = graph.needed_for(name)?;
        }
        let outcomes = plan(&graph, &options, &store)?;
        let planned = Planned::new(&graph, &store, &outcomes, &options.wanted);
        print(&if self.json { planned.json() } else { planned.text() });
        Ok(0)
    }
}

struct Planned<'a> {
    graph: &'a Graph,
    store: &'a Store,
    outcomes: &'a [Outcome],
    wanted: &'a [bool],
    /// Seconds, by stage, of what is to come.
    estimates: Vec<Option<f64>>,
}

impl<'a> Planned<'a> {
    fn new(
        graph: &'a Graph,
        store: &'a Store,
        outcomes: &'a [Outcome],
        wanted: &'a [bool],
    ) -> Self {
        let history = History::open(store);
        let estimate = |(node, outcome): (_, &Outcome)| {
            outcome.status.is_to_come().then(|| history.estimate(graph, node)).flatten()
        };
        let estimates = graph.nodes.iter().zip(outcomes).map(estimate).collect();
        Self { graph, store, outcomes, wanted, estimates }
    }

    fn count(&self, status: Status) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.status == status).count()
    }

    /// What is left to do in seconds, and how many stages nothing is known of.
    fn total(&self) -> (f64, usize) {
        let to_come = self.outcomes.iter().filter(|o| o.status.is_to_come()).count();
        let known = self.estimates.iter().flatten();
        (known.clone().sum(), to_come - known.count())
    }

    fn text(&self) -> String {
        let mut rows = vec![row(["stage", "", "time", "why"])];
        for (index, (node, outcome)) in self.graph.nodes.iter().zip(self.outcomes).enumerate() {
            if !self.wanted[index] {
                continue;
            }
            let what = match outcome.status {
                Status::Waits => "waiting",
                status => status.name(),
            };
            let time = self.estimates[index].map(|s| format!("~ {}", time(s))).unwrap_or_default();
            let why = outcome.reason.clone().unwrap_or_default();
            rows.push(vec![node.name.clone(), what.to_string(), time, why]);
        }
        let (seconds, unknown) = self.total();
        let (to_run, waiting) = (self.count(Status::WouldRun), self.count(Status::Waits));
        let mut last = format!(
            "{}: {} cached, {to_run} to run, {waiting} waiting",
            self.graph.pipeline,
            self.count(Status::Cached)
        );
        if seconds > 0.0 {
            last += &format!("; about {} by earlier runs", time(seconds));
        }
        if unknown > 0 && unknown < to_run + waiting {
            last += &format!(", without {unknown} that never ran");
        }
        format!("{}\n\n{last}", table(&rows))
    }

    fn json(&self) -> String {
        let stages = self.graph.nodes.iter().zip(self.outcomes).enumerate();
        let stages: Vec<_> = stages
            .filter(|(index, _)| self.wanted[*index])
            .map(|(index, (node, outcome))| {
                json!({
                    "name": node.name,
                    "stage": node.binary.description.name,
                    "status": outcome.status.name(),
                    "key": outcome.key.as_ref().map(|key| &key.hash),
                    "reason": outcome.reason,
                    "estimated_seconds": self.estimates[index],
                })
            })
            .collect();
        let (seconds, unknown) = self.total();
        json!({
            "pipeline": self.graph.pipeline,
            "store": self.store.root(),
            "stages": stages,
            "estimated_seconds": seconds,
            "without_estimate": unknown,
        })
        .to_string()
    }
}
