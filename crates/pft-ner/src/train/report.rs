//! `training.json`: what a training did, beside the model that came of it.

use std::path::Path;

use serde_json::json;

use super::{Outcome, TrainError, TrainOptions};

/// Writes the report into a model's folder.
pub(super) fn write(
    folder: &Path,
    outcome: &Outcome,
    options: &TrainOptions,
) -> Result<(), TrainError> {
    let epochs: Vec<_> = outcome
        .epochs
        .iter()
        .map(|epoch| {
            json!({
                "epoch": epoch.epoch,
                "loss": epoch.loss,
                "held_out_characters_f1": epoch.held_out.as_ref().map(|report| report.characters.f1),
            })
        })
        .collect();
    let report = json!({
        "labels": outcome.labels,
        "documents": outcome.documents,
        "held_out_documents": outcome.held_out_documents,
        "best_epoch": outcome.best,
        "lean": outcome.lean,
        "epochs": epochs,
        "options": options,
        "held_out": outcome.held_out,
    });
    let path = folder.join("training.json");
    std::fs::write(&path, format!("{report:#}\n")).map_err(TrainError::write(&path))
}
