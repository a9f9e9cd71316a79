//! A bundle: what is made to be given away, and so the list of what may be in it.

use std::path::Path;

use super::model::{self, ModelFile};
use crate::ArtifactError;

/// The model card.
pub const CARD: &str = "README.md";
/// The whole model as GGUF.
pub const GGUF: &str = "model.gguf";
/// The folder of what training left, for people who may see the data.
pub const DIAGNOSTICS: &str = "diagnostics";

/// Files that a bundle holds beside those of the model that may be public.
const OWN: [&str; 4] = [CARD, GGUF, "special_tokens_map.json", "chat_template.jinja"];
/// Folders of files that transformers reads.
const OWN_FOLDERS: [&str; 1] = ["additional_chat_templates"];

/// What `diagnostics/` may hold, where it was asked for.
pub const DIAGNOSTIC_FILES: [ModelFile; 5] =
    [model::METRICS, model::EVALUATION, model::SAMPLES, model::SUMMARY, model::LEDGER];

/// Whether a file may be in a bundle; `name` has `/` between its parts.
pub fn may_hold(name: &str, with_diagnostics: bool) -> bool {
    match name.split_once('/') {
        None => {
            let public = model::FILES.iter().filter(|file| file.public);
            OWN.contains(&name) || public.map(|file| file.name).any(|public| public == name)
        }
        Some((DIAGNOSTICS, name)) => {
            with_diagnostics && DIAGNOSTIC_FILES.iter().any(|file| file.name == name)
        }
        Some((folder, name)) => OWN_FOLDERS.contains(&folder) && !name.contains('/'),
    }
}

/// Refuses a folder that holds what no bundle may.
///
/// # Errors
/// Names the file; also when the folder cannot be listed.
pub fn check(folder: &Path, with_diagnostics: bool) -> Result<(), ArtifactError> {
    let mut names = Vec::new();
    crate::seal::manifest::collect_files(folder, folder, &mut names)?;
    match names.iter().find(|name| !may_hold(name, with_diagnostics)) {
        None => Ok(()),
        Some(name) => Err(ArtifactError::invalid(
            folder.join(name),
            "may not be in a bundle: it is not among what may be given away",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_does_not_cross() {
        for file in model::FILES {
            assert_eq!(may_hold(file.name, true), file.public, "{}", file.name);
        }
        assert!(may_hold("README.md", false) && may_hold("model.gguf", false));
        assert!(may_hold("diagnostics/ledger.jsonl", true));
        assert!(!may_hold("diagnostics/ledger.jsonl", false));
        for name in ["diagnostics/base.json", "ledger.jsonl", "a/b/c", "secret", "optimizer.pt"] {
            assert!(!may_hold(name, true), "{name}");
        }
    }

    #[test]
    fn a_folder_with_more_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        check(folder.path(), false).unwrap();
        std::fs::write(folder.path().join("metrics.parquet"), "").unwrap();
        let error = check(folder.path(), true).unwrap_err().to_string();
        assert!(error.contains("metrics.parquet"), "{error}");
    }
}
