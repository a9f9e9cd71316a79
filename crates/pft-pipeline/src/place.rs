//! Where the store lies: it belongs to a project, not to the folder that one stands in.

use std::path::{Path, PathBuf};

use crate::RunError;

const STORE: &str = ".pft";

/// The store for a pipeline file: the nearest `.pft` above it, else one beside the `.git` above it,
/// else one in the folder of the file, or beside that folder where it is called `pipelines`.
pub(crate) fn of_pipeline(file: &Path) -> PathBuf {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
    let folder = file.parent().unwrap_or(Path::new("."));
    nearest(folder, |folder| folder.join(STORE).is_dir())
        .or_else(|| nearest(folder, |folder| folder.join(".git").exists()))
        .unwrap_or_else(|| {
            let above = folder.parent().filter(|_| folder.ends_with("pipelines"));
            above.unwrap_or(folder).to_path_buf()
        })
        .join(STORE)
}

/// The store for commands that name no pipeline: the nearest `.pft` above the working directory.
///
/// # Errors
/// When there is none.
pub(crate) fn of_working_directory() -> Result<PathBuf, RunError> {
    let here = std::env::current_dir()
        .map_err(|error| RunError::config(format!("the working directory: {error}")))?;
    let found = nearest(&here, |folder| folder.join(STORE).is_dir());
    found.map(|folder| folder.join(STORE)).ok_or_else(|| {
        RunError::config(format!(
            "{}: neither this folder nor one above it has a store ({STORE})\n  help: name one with \
             --store DIR or PFT_STORE",
            here.display()
        ))
    })
}

fn nearest(folder: &Path, has: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    folder.ancestors().find(|folder| has(folder)).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_belongs_to_the_project_of_the_pipeline() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let pipelines = root.join("project/pipelines");
        std::fs::create_dir_all(&pipelines).unwrap();
        let file = pipelines.join("p.yml");
        std::fs::write(&file, "").unwrap();
        assert_eq!(of_pipeline(&file), root.join("project/.pft"));
        std::fs::write(root.join("project/q.yml"), "").unwrap();
        assert_eq!(of_pipeline(&root.join("project/q.yml")), root.join("project/.pft"));
        std::fs::create_dir(root.join(".git")).unwrap();
        assert_eq!(of_pipeline(&file), root.join(".pft"));
        std::fs::create_dir(pipelines.join(".pft")).unwrap();
        assert_eq!(of_pipeline(&file), pipelines.join(".pft"));
    }
}
