//! Scratch folders that a disk damaged: the undisturbed result or a clear error, and never another model.

#![allow(clippy::unwrap_used)]

mod house;

use std::path::{Path, PathBuf};

use house::{House, private, weights};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The files below a folder, by their paths from it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = PathBuf::from(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|path| name.join(path)));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).unwrap();
}

fn remove(path: &Path) {
    if path.exists() {
        std::fs::remove_dir_all(path).unwrap();
    }
}

/// Whichever bit of whichever file flips while a run is stopped. Without privacy the run goes on in any
/// case; with it, a secret or a ledger that is damaged is refused, with what that means for privacy.
#[test]
fn a_flipped_bit_gives_the_same_model_or_an_error() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    for privacy in [None, private()] {
        let house = House::new();
        let config = || house.config(privacy.clone());
        let whole = house.run("whole", config(), 1).unwrap();
        let (mut same, mut refused) = (0, 0);
        let all = files(&house.path("whole"));
        let expected = if privacy.is_some() { 9 } else { 7 };
        assert_eq!(all.len(), expected, "{all:?}");
        for file in &all {
            let bits =
                std::fs::metadata(house.path("whole").join(file)).unwrap().len() as usize * 8;
            for _ in 0..12 {
                remove(&house.path("hurt"));
                remove(&house.path("hurt-model"));
                copy_folder(&house.path("whole"), &house.path("hurt"));
                let bit = random.random_range(0..bits);
                flip(&house.path("hurt").join(file), bit);
                match house.run("hurt", config(), 1) {
                    Ok(model) => {
                        same += 1;
                        assert_eq!(weights(&model), weights(&whole), "{file:?}, bit {bit}");
                        for name in ["privacy.json", "evaluation.json"] {
                            let read = |model: &Path| std::fs::read(model.join(name)).unwrap();
                            assert_eq!(read(&model), read(&whole), "{file:?}, bit {bit}: {name}");
                        }
                    }
                    Err(error) => {
                        refused += 1;
                        let spends = file.ends_with("ledger.jsonl") || file.ends_with("secret");
                        assert!(spends && privacy.is_some(), "{file:?}, bit {bit}: {error}");
                        let help = error.help().unwrap();
                        let scratch = house.path("hurt").display().to_string();
                        assert!(help.contains("spends anew"), "{error}");
                        assert!(help.contains(&format!("remove the folder {scratch}")), "{error}");
                    }
                }
            }
        }
        assert!(same > 60, "{same}");
        assert_eq!(refused > 0, privacy.is_some());
        // The way out that the refusal names.
        remove(&house.path("hurt"));
        remove(&house.path("hurt-model"));
        house.run("hurt", config(), 1).unwrap();
    }
}

/// A damaged checkpoint is kept aside, and the one before it is gone on from; if none is left, the run
/// starts again, with the same bits.
#[test]
fn damaged_checkpoints_are_set_aside() {
    let house = House::new();
    let config = || house.config(private());
    let whole = house.run("whole", config(), 1).unwrap();
    copy_folder(&house.path("whole"), &house.path("hurt"));
    let checkpoints = house.path("hurt").join("checkpoints");
    for step in ["step-000000004", "step-000000002"] {
        remove(&house.path("hurt-model"));
        flip(&checkpoints.join(step).join("state.safetensors"), 12_345);
        let model = house.run("hurt", config(), 1).unwrap();
        assert_eq!(weights(&model), weights(&whole));
        assert!(checkpoints.join(format!("damaged-{step}")).is_dir());
        // What was lost was made again.
        assert!(checkpoints.join("step-000000004").is_dir());
        remove(&checkpoints.join("step-000000004"));
    }
}

/// A checkpoint that is sound, but another's: of another step, or of a run with other settings.
#[test]
fn a_checkpoint_in_the_wrong_place_is_not_gone_on_from() {
    let house = House::new();
    let whole = house.run("whole", house.config(None), 1).unwrap();
    let other = train::Config { learning_rate: 2e-2, ..house.config(None) };
    house.run("other", other, 1).unwrap();
    for from in ["whole/checkpoints/step-000000002", "other/checkpoints/step-000000004"] {
        remove(&house.path("hurt"));
        remove(&house.path("hurt-model"));
        copy_folder(&house.path("whole"), &house.path("hurt"));
        let target = house.path("hurt").join("checkpoints/step-000000004");
        remove(&target);
        copy_folder(&house.path(from), &target);
        let model = house.run("hurt", house.config(None), 1).unwrap();
        assert_eq!(weights(&model), weights(&whole), "{from}");
    }
}

/// A ledger that is gone, or cut, while updates were seen: a new one would say too little.
#[test]
fn a_ledger_that_lost_steps_is_refused() {
    let house = House::new();
    house.run("whole", house.config(private()), 1).unwrap();
    let ledger = std::fs::read_to_string(house.path("whole").join("ledger.jsonl")).unwrap();
    let lines: Vec<&str> = ledger.lines().collect();
    for kept in 0..4 {
        remove(&house.path("hurt"));
        remove(&house.path("hurt-model"));
        copy_folder(&house.path("whole"), &house.path("hurt"));
        let cut: String = lines[..kept].iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(house.path("hurt").join("ledger.jsonl"), cut).unwrap();
        let error = house.run("hurt", house.config(private()), 1).unwrap_err();
        assert!(error.message().contains("cannot be recorded after"), "{error}");
        assert!(error.help().unwrap().contains("spends anew"), "{error}");
    }
}
