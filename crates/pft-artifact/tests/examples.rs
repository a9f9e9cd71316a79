//! The example for users of the library runs, and sees damage.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use pft_artifact::{Kind, Manifest};
use serde_json::json;

fn verify(folder: &Path) -> Output {
    let examples = std::env::current_exe().unwrap();
    let examples = examples.ancestors().nth(2).unwrap().join("examples");
    Command::new(examples.join("verify_bundle")).arg(folder).output().unwrap()
}

#[test]
fn verify_bundle_sees_damage() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (fit, said) in [(json!(true), "\nfit for release"), (json!(null), "NOT for release")] {
        let privacy = json!({ "statement": "A statement.", "fit_for_release": fit });
        std::fs::write(folder.join("privacy.json"), privacy.to_string()).unwrap();
        std::fs::write(folder.join("model.safetensors"), b"weights").unwrap();
        Manifest::seal(folder, Kind::Bundle, 0, json!({})).unwrap();
        let output = verify(folder);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains(said), "{output:?}");
        assert!(printed.contains("2 files") && printed.contains("A statement."), "{printed}");
    }
    std::fs::write(folder.join("model.safetensors"), b"Weights").unwrap();
    let output = verify(folder);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("model.safetensors"), "{output:?}");
    std::fs::remove_file(folder.join("manifest.json")).unwrap();
    assert!(!verify(folder).status.success());
}
