//! `explain FILE STAGE`: the full cache key, field by field, beside the nearest earlier one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use pft_artifact::Store;
use serde_json::{Value, json};

use super::{PipelineArguments, all_of, plain, print};
use crate::RunError;
use crate::execute::plan;
use crate::history::History;
use crate::key::Key;
use crate::reason::{flatten, reasons, show};
use crate::table::{row, short, table};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The pipeline file
    pipeline: PathBuf,
    /// The stage
    stage: String,
    #[command(flatten)]
    settings: PipelineArguments,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

impl ExplainArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let files = std::slice::from_ref(&self.pipeline);
        let graph = self.settings.graph(files)?;
        let store = Store::at(&self.settings.store_of(files));
        let found = graph.find(&self.stage)?;
        let options =
            crate::execute::Options { wanted: graph.needed_for(&self.stage)?, ..all_of(&graph) };
        let outcomes = plan(&graph, &options, &store)?;
        let history = History::open(&store);
        let mut all = Vec::new();
        for index in found {
            let (node, outcome) = (&graph.nodes[index], &outcomes[index]);
            let status = outcome.status.name();
            let reason = outcome.reason.clone().unwrap_or_default();
            let Some(key) = &outcome.key else {
                all.push((
                    format!("{}: {status}: {reason}", node.name),
                    json!({
                        "name": node.name, "status": status, "reason": reason, "key": null,
                    }),
                ));
                continue;
            };
            let last = history.last(&graph.pipeline, &node.name);
            let last = last.filter(|(last, _)| *last != key.hash);
            let earlier = last.or_else(|| history.nearest(key));
            let earlier = earlier.map(|(hash, action)| Key { hash, parts: action.key_parts });
            let json = json!({
                "name": node.name,
                "status": status,
                "reason": outcome.reason,
                "key": { "hash": key.hash, "parts": key.parts },
                "earlier": earlier.as_ref().map(|e| json!({ "hash": e.hash, "parts": e.parts })),
            });
            let head = format!("{}: {status}{}", node.name, colon(&reason));
            all.push((format!("{head}\n\n{}", text(key, earlier.as_ref(), &store)), json));
        }
        let (texts, values): (Vec<String>, Vec<Value>) = all.into_iter().unzip();
        print(&if self.json { json!(values).to_string() } else { texts.join("\n\n") });
        Ok(0)
    }
}

fn colon(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// The two keys side by side.
fn text(key: &Key, earlier: Option<&Key>, store: &Store) -> String {
    let mut fields: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut add = |parts: &Value, second: bool| {
        let mut visit = |field: String, value: &Value| {
            let shown = match field.starts_with("inputs.") {
                true => short(&plain(value)),
                false => show(value),
            };
            let cells = fields.entry(field).or_default();
            *(if second { &mut cells.1 } else { &mut cells.0 }) = shown;
        };
        for (name, value) in parts.as_object().into_iter().flatten() {
            // Files outside are shown below: they stand by label in the config.
            if name != "outside" {
                flatten(value, name, &mut visit);
            }
        }
        for (label, files) in parts["outside"].as_object().into_iter().flatten() {
            let count = files["files"].as_array().map_or(0, Vec::len);
            visit(format!("files.{}", show(&json!(label))), &json!(format!("{count}")));
        }
    };
    add(&key.parts, false);
    earlier.into_iter().for_each(|earlier| add(&earlier.parts, true));
    let before =
        earlier.map_or(String::new(), |earlier| format!("earlier {}", short(&earlier.hash)));
    let mut rows = vec![row(["", "field", &format!("now {}", short(&key.hash)), &before])];
    for (field, (now, then)) in &fields {
        let mark = if earlier.is_some() && now != then { "≠" } else { "" };
        rows.push(row([mark, field, now, then]));
    }
    let Some(earlier) = earlier else {
        return format!("{}\n\nno earlier key of this stage is known", table(&rows));
    };
    let said = reasons(&earlier.parts, &key.parts, Some(store));
    let said = if said.is_empty() { "nothing differs".to_string() } else { said.join("\n") };
    format!("{}\n\n{said}", table(&rows))
}
