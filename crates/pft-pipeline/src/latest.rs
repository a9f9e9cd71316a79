//! `latest/PIPELINE/STAGE` of the store: links to what a pipeline made last, by name.

use std::path::{Component, Path, PathBuf};

use pft_artifact::Store;

use crate::graph::Graph;
use crate::outcome::Outcome;

/// Points the links of a pipeline at what its stages made: `STAGE`, or `STAGE/PORT` where a stage has
/// several outputs. A link that cannot be made is missed by nobody but people.
pub(crate) fn link(store: &Store, graph: &Graph, outcomes: &[Outcome]) {
    for (node, outcome) in graph.nodes.iter().zip(outcomes) {
        for (port, (hash, _)) in &outcome.outputs {
            let several = node.binary.description.outputs.len() > 1;
            let name = path(&graph.pipeline, &node.name, several.then_some(port));
            let _ = point(store, &name, hash);
        }
    }
}

/// Where the link to an output lies, within the store.
pub(crate) fn path(pipeline: &str, node: &str, port: Option<&String>) -> PathBuf {
    let mut path = Path::new("latest").join(pipeline).join(node);
    path.extend(port);
    path
}

fn point(store: &Store, name: &Path, hash: &str) -> std::io::Result<()> {
    if !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(());
    }
    let link = store.root().join(name);
    let Some(folder) = link.parent() else { return Ok(()) };
    let artifact = store.artifact_path(hash);
    let artifact = artifact.strip_prefix(store.root()).unwrap_or(&artifact);
    // Relative, so that a store can be moved.
    let mut target: PathBuf = name.components().skip(1).map(|_| "..").collect();
    target.push(artifact);
    if std::fs::read_link(&link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    if link.is_dir() && !link.is_symlink() {
        std::fs::remove_dir_all(&link)?;
    }
    let partial = folder.join(format!(".partial-{}", std::process::id()));
    std::os::unix::fs::symlink(&target, &partial)?;
    std::fs::rename(&partial, &link)
}
