//! What is saved of every family, as a model and as an adapter, is read back the same, and by
//! transformers 4 and 5 and peft with the logits of the model that transformers made.

#![allow(clippy::unwrap_used)]

mod fixtures;

use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::{Fixture, MODELS, path_of};
use pft_lm::checkpoint::{Checkpoint, SavedType, load_adapter, save_adapter, save_model};
use pft_lm::parameters::{Parameters, Precision};

/// Values of everything, by name.
fn values(parameters: &Parameters) -> Vec<(String, Vec<f32>)> {
    let mut all: Vec<_> = parameters
        .iter()
        .map(|(_, parameter)| (parameter.spec.name.clone(), parameter.tensor.to_f32()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn save(fixture: &Fixture, folder: &Path) {
    let model = fixture.model();
    let base = folder.join("base");
    std::fs::create_dir_all(&base).unwrap();
    save_model(&base, &fixture.config, model.parameters(), SavedType::F32).unwrap();
    let checkpoint = Checkpoint::open(&base).unwrap();
    let mut again = checkpoint.parameters(Precision::F32).unwrap();
    if let Some(lora) = model.lora() {
        let adapter = folder.join("adapter");
        std::fs::create_dir_all(&adapter).unwrap();
        save_adapter(&adapter, &fixture.config, lora, model.parameters(), "base").unwrap();
        load_adapter(&adapter, checkpoint.config(), &mut again).unwrap();
    }
    assert_eq!(values(&again), values(model.parameters()), "{}", folder.display());
}

#[test]
fn every_family_is_read_by_transformers_and_peft() {
    let house = tempfile::tempdir().unwrap();
    let mut folders = Vec::new();
    for name in MODELS {
        let folder = house.path().join(name.replace('/', "-"));
        save(&Fixture::read(name), &folder);
        std::fs::copy(path_of(name), folder.join("fixture.safetensors")).unwrap();
        folders.push(folder);
    }
    let Some(python) = std::env::var_os("PFT_PYTHON").map(PathBuf::from) else { return };
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/saved_families.py");
    let newer = python.parent().unwrap().parent().unwrap().join("transformers5");
    assert!(newer.is_dir(), "{} is not there; run `make python`", newer.display());
    for path in [None, Some(&newer)] {
        let mut command = Command::new(&python);
        command.arg(&script).args(&folders).env("HF_HUB_OFFLINE", "1");
        if let Some(path) = path {
            command.env("PYTHONPATH", path);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
