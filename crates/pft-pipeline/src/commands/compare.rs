//! `compare RUN...`: a table of the models of runs: ε, perplexities, memorisation, time, memory.

use clap::Args;
use pft_artifact::Store;
use serde::Serialize;
use serde_json::json;

use super::{StoreArgument, print};
use crate::figures::{self, Figures, ModelFigures};
use crate::reason::show;
use crate::record::RunRecord;
use crate::table::{row, size, table, time};
use crate::{RunError, runs};

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// The runs
    #[arg(required = true)]
    run: Vec<String>,
    #[command(flatten)]
    store: StoreArgument,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// A model that a run made or found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Model {
    pub(crate) run: String,
    pub(crate) stage: String,
    pub(crate) artifact: String,
    pub(crate) figures: ModelFigures,
    /// How long it took to make, in seconds, whenever that was.
    pub(crate) seconds: Option<f64>,
    /// The largest resident set of its process, where it was made in this run.
    pub(crate) peak_memory: Option<u64>,
}

impl CompareArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let store = self.store.existing()?;
        let records = self.run.iter().map(|run| runs::record(&store, run));
        let models = models(&store, &records.collect::<Result<Vec<_>, _>>()?);
        if self.json {
            print(&json!(models).to_string());
            return Ok(0);
        }
        if models.is_empty() {
            print("these runs made no models");
            return Ok(0);
        }
        let head = [
            "run",
            "model",
            "ε",
            "δ",
            "for release",
            "held-out",
            "in PII",
            "training",
            "in PII",
            "gap",
            "audit",
            "time",
            "memory",
        ];
        let mut rows = vec![row(head)];
        for model in &models {
            let figures = &model.figures;
            let number = |value: Option<f64>, digits: usize| {
                value.map_or("–".to_string(), |value| format!("{value:.digits$}"))
            };
            let mut cells = vec![model.run.clone(), model.stage.clone()];
            cells.extend(figures.privacy_cells());
            cells.extend([
                number(figures.held_out.all, 2),
                number(figures.held_out.pii, 2),
                number(figures.train.all, 2),
                number(figures.train.pii, 2),
                number(figures.memorisation_gap, 3),
                figures.audit.as_ref().map_or("–".to_string(), show),
                model.seconds.map_or("–".to_string(), time),
                model.peak_memory.map_or("–".to_string(), size),
            ]);
            rows.push(cells);
        }
        print(&table(&rows));
        print(
            "\nfor release: as a private model, by its statement. perplexities and gaps were computed on \
             private data, and no ε covers them. gap: loss on held-out personal data less that on personal \
             data of training, in nats a token",
        );
        Ok(0)
    }
}

/// The models of runs, each once a run.
pub(crate) fn models(store: &Store, records: &[RunRecord]) -> Vec<Model> {
    let mut models = Vec::new();
    for record in records {
        for stage in &record.stages {
            let made = stage.outputs.values();
            for artifact in made {
                let Some(Figures::Model(figures)) = figures::of(store, artifact) else { continue };
                let action = stage.key.as_ref().and_then(|key| store.action(key));
                models.push(Model {
                    run: record.run.clone(),
                    stage: stage.name.clone(),
                    artifact: artifact.clone(),
                    figures: *figures,
                    seconds: action.map(|action| action.seconds),
                    peak_memory: stage.peak_memory,
                });
            }
        }
    }
    models
}
