//! What a report says, collected from records and artifacts.

use std::collections::BTreeSet;

use pft_artifact::{Kind, Manifest, NumberColumn, Store, read_table};
use serde_json::Value;

use crate::commands::compare::{Model, models};
use crate::figures::{self, Figures, by_label};
use crate::lineage::{Makers, Step};
use crate::privacy::Privacy;
use crate::record::RunRecord;

/// Everything that the sections of a page need.
pub(crate) struct Report {
    pub(crate) runs: Vec<RunRecord>,
    pub(crate) models: Vec<ModelReport>,
    /// Privacy statements of bundles, which may be given away.
    pub(crate) bundles: Vec<Bundle>,
    /// Counts of personal data, found or replaced, by artifact.
    pub(crate) counts: Vec<Counts>,
    /// Settings by stage, each artifact once.
    pub(crate) settings: Vec<Settings>,
}

/// A model with what training left beside it.
pub(crate) struct ModelReport {
    pub(crate) model: Model,
    /// The columns of `metrics.parquet`.
    pub(crate) curves: Vec<NumberColumn>,
    pub(crate) lineage: Vec<Step>,
}

/// A bundle's privacy statement.
pub(crate) struct Bundle {
    pub(crate) name: String,
    pub(crate) privacy: Option<Privacy>,
}

/// Counts of personal data by label.
pub(crate) struct Counts {
    pub(crate) name: String,
    pub(crate) replaced: bool,
    pub(crate) labels: Vec<(String, u64)>,
}

/// The settings of a stage.
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) stage: String,
    pub(crate) config: Value,
}

impl Report {
    pub(crate) fn collect(store: &Store, records: &[RunRecord]) -> Self {
        let makers = Makers::of(store);
        let mut seen = BTreeSet::new();
        let mut models = models(store, records);
        // A model that several of the runs found is one model.
        models.retain(|model| seen.insert(model.artifact.clone()));
        let several = records.len() > 1;
        for model in &mut models {
            let pipeline = records.iter().find(|r| r.run == model.run).map(|r| &r.pipeline[..]);
            if several {
                model.stage = format!("{}/{}", pipeline.unwrap_or_default(), model.stage);
            }
        }
        let models = models.into_iter().map(|model| {
            let folder = store.artifact_path(&model.artifact);
            ModelReport {
                curves: read_table(&folder.join("metrics.parquet")).unwrap_or_default(),
                lineage: makers.lineage(&model.artifact),
                model,
            }
        });
        let mut report = Self {
            runs: records.to_vec(),
            models: models.collect(),
            bundles: Vec::new(),
            counts: Vec::new(),
            settings: Vec::new(),
        };
        report.stages(store, several);
        report
    }

    fn stages(&mut self, store: &Store, several: bool) {
        let (mut seen, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for record in &self.runs {
            for stage in &record.stages {
                let name = match several {
                    true => format!("{}/{}", record.pipeline, stage.name),
                    false => stage.name.clone(),
                };
                if let Some(key) = &stage.key
                    && keys.insert(key.clone())
                    && let Some(action) = store.action(key)
                {
                    let (stage, config) = (stage.stage.clone(), action.key_parts["config"].clone());
                    self.settings.push(Settings { name: name.clone(), stage, config });
                }
                for hash in stage.outputs.values().filter(|hash| seen.insert((*hash).clone())) {
                    let folder = store.artifact_path(hash);
                    let kind = Manifest::open(&folder).map(|manifest| manifest.kind);
                    if matches!(kind, Ok(Kind::Bundle)) {
                        let privacy = Privacy::of(&folder);
                        self.bundles.push(Bundle { name: name.clone(), privacy });
                    }
                    let (replaced, labels) = match figures::of(store, hash) {
                        Some(Figures::Found(labels)) => (false, by_label(&labels)),
                        Some(Figures::Replaced(labels, _)) => (true, by_label(&labels)),
                        _ => continue,
                    };
                    self.counts.push(Counts { name: name.clone(), replaced, labels });
                    // A stage with two outputs says the same of both.
                    break;
                }
            }
        }
    }

    pub(crate) fn title(&self) -> String {
        let names: BTreeSet<&str> = self.runs.iter().map(|run| &run.pipeline[..]).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let count = self.runs.len();
        match count {
            1 => format!("{}, run {}", names.join(", "), self.runs[0].run),
            _ => format!("{}: {count} runs", names.join(", ")),
        }
    }
}
