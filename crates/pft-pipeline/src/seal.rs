//! What a stage made, with its kind, content hash and provenance, before it goes into the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pft_artifact::{Kind, Lineage, Manifest, Step, UnitNotes, count_rows};
use serde_json::{Map, json};

use crate::RunError;
use crate::graph::Node;
use crate::key::Key;

/// The run that a stage ran in.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    /// Name of the pipeline.
    pub(crate) pipeline: &'a str,
    pub(crate) id: &'a str,
}

/// The output folders that the stage sealed, with this run added to their provenance.
pub(crate) fn outputs(
    node: &Node,
    key: &Key,
    inputs: &BTreeMap<String, PathBuf>,
    output: &Path,
    run: Run<'_>,
) -> Result<BTreeMap<String, PathBuf>, RunError> {
    let description = &node.binary.description;
    let mut outputs = BTreeMap::new();
    for port in &description.outputs {
        let folder = if description.outputs.len() == 1 {
            output.to_path_buf()
        } else {
            output.join(&port.name)
        };
        if !folder.join(pft_artifact::MANIFEST).exists() {
            if !port.required {
                continue;
            }
            // A stage in another language may leave the sealing to the runner.
            let rows = count_rows(&folder, port.kind)?;
            let mut provenance = json!({
                "stage": description.name,
                "revision": description.revision,
            });
            if port.kind != Kind::Bundle {
                provenance["config"] = json!(node.config);
            }
            Manifest::seal(&folder, port.kind, rows, provenance)?;
        }
        let mut manifest = Manifest::open(&folder).map_err(|error| {
            RunError::bug(format!("stage `{}` left no `{}`: {error}", node.name, port.name))
        })?;
        manifest.expect_kind(&folder, port.kind)?;
        if !manifest.provenance.is_object() {
            manifest.provenance = json!({});
        }
        if port.kind != Kind::Bundle && leaves_out(&manifest, inputs)? {
            let own = manifest.lineage()?;
            manifest.provenance["lineage"] = json!(silent_lineage(node, inputs)?.with(own));
            manifest = Manifest::seal(&folder, port.kind, manifest.rows, manifest.provenance)?;
        }
        // A bundle is made to be given away, and a key is made of hashes of private data.
        if port.kind != Kind::Bundle {
            manifest.provenance["key"] = json!(key.hash);
            manifest.provenance["pipeline"] = json!(run.pipeline);
            manifest.provenance["run"] = json!(run.id);
            manifest.write(&folder)?;
        }
        outputs.insert(port.name.clone(), folder);
    }
    Ok(outputs)
}

/// Whether a stage keeps no lineage, or one that leaves a step out which led to one of its inputs: it may
/// have made the artifact by a program that did not know of them.
fn leaves_out(manifest: &Manifest, inputs: &BTreeMap<String, PathBuf>) -> Result<bool, RunError> {
    if manifest.provenance["lineage"].is_null() {
        return Ok(true);
    }
    let kept = manifest.lineage()?;
    for path in inputs.values() {
        let earlier = Manifest::open(path)?.lineage()?;
        if !earlier.steps().iter().all(|step| kept.holds(step)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The lineage of what a stage made that keeps none: what earlier stages said of units still holds, and
/// that nobody knows what this one did to them belongs into a privacy statement.
fn silent_lineage(node: &Node, inputs: &BTreeMap<String, PathBuf>) -> Result<Lineage, RunError> {
    let mut manifests = BTreeMap::new();
    for (port, path) in inputs {
        manifests.insert(port.clone(), Manifest::open(path)?);
    }
    let hashes =
        manifests.iter().map(|(port, manifest)| (port.clone(), manifest.content_hash.clone()));
    let description = &node.binary.description;
    let said = format!(
        "The stage {} does not say what it did to the data: if it mixed units with each other, or made \
         other units of them, the guarantee does not hold",
        description.name
    );
    let own = Step {
        stage: description.name.clone(),
        revision: description.revision,
        config: json!(node.config),
        inputs: hashes.collect(),
        units: UnitNotes { couplings: vec![said], ..UnitNotes::default() },
        content_hash: None,
        other: Map::new(),
    };
    Ok(Lineage::following(&manifests, own)?)
}
