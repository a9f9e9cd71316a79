//! The real process, killed at random moments and started again.

#![allow(clippy::unwrap_used)]

mod house;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use house::{House, private, weights};
use pft_dp::LedgerContents;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use train::Config;
use train::config::{Checkpoints, Privacy};

fn command(house: &House, name: &str, config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
    command.arg("--config").arg(config);
    command.arg("--input").arg(format!("tokens={}", house.path("tokens").display()));
    command.arg("--output").arg(house.path(&format!("{name}-model")));
    command.arg("--scratch").arg(house.path(name));
    command.args(["--threads", "1"]).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The last step that a checkpoint holds: an update that somebody could have seen.
fn released(scratch: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(scratch.join("checkpoints")) else { return 0 };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let steps = names.filter_map(|name| name.strip_prefix("step-")?.parse().ok());
    steps.max().unwrap_or(0)
}

/// Whatever the moment of each kill, the ledger knows every update that was released, and the
/// model and its privacy statement come out with the bits of an undisturbed run.
#[test]
fn killed_at_random_moments_it_ends_with_the_same_bits() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for private in [None, private()] {
        let house = House::new();
        let privacy = private.map(|privacy| Privacy {
            // A calibrated noise multiplier has all the digits that a float can have.
            target_epsilon: Some(3.0),
            noise_multiplier: None,
            fixed_seed_not_for_release: Some(11),
            ..privacy
        });
        let config = Config {
            max_steps: Some(300),
            checkpoints: Checkpoints { every_steps: Some(1), save_total_limit: 2 },
            ..house.config(privacy.clone())
        };
        let path = house.path("config.json");
        std::fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
        let begin = Instant::now();
        let calm = command(&house, "calm", &path).output().unwrap();
        assert!(calm.status.success(), "{}", String::from_utf8_lossy(&calm.stderr));

        let (mut kills, mut kills_while_training) = (0, 0);
        loop {
            let mut child = command(&house, "hunted", &path).spawn().unwrap();
            let before = released(&house.path("hunted"));
            if kills < 15 {
                // After some more steps, in the midst of one; or before the first.
                let hunted = house.path("hunted");
                let target = before + random.random_range(0..30);
                while self::released(&hunted) < target && child.try_wait().unwrap().is_none() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_micros(random.random_range(0..5000)));
                child.kill().unwrap();
            }
            let ended = child.wait_with_output().unwrap();
            let released = released(&house.path("hunted"));
            if privacy.is_some() && released > 0 {
                let ledger = LedgerContents::read(&house.path("hunted").join("ledger.jsonl"));
                // A line that the kill cut short was never acknowledged.
                if let Ok(ledger) = ledger {
                    assert!(ledger.steps.len() as u64 >= released);
                }
            }
            if ended.status.success() {
                break;
            }
            assert_eq!(ended.status.code(), None, "{}", String::from_utf8_lossy(&ended.stderr));
            kills += 1;
            kills_while_training += u32::from(released > before);
            assert!(begin.elapsed() < Duration::from_secs(120));
        }
        assert!(kills_while_training > 2, "the kills of this test come too early to prove a thing");
        let (calm, hunted) = (house.path("calm-model"), house.path("hunted-model"));
        assert_eq!(weights(&calm), weights(&hunted));
        for file in ["privacy.json", "evaluation.json"] {
            let read = |model: &Path| std::fs::read_to_string(model.join(file)).unwrap();
            assert_eq!(read(&calm), read(&hunted), "{file}");
        }
        if privacy.is_some() {
            let ledger = LedgerContents::read(&hunted.join("ledger.jsonl")).unwrap();
            assert_eq!(ledger.steps.len(), 300);
            train::verify::verify(&hunted).unwrap();
        }
    }
}

/// A run that a person stops says what it has spent, and goes on later.
#[test]
fn stopped_by_a_signal_it_says_what_it_spent() {
    let house = House::new();
    let config = Config { max_steps: Some(5000), ..house.config(private()) };
    let path = house.path("config.json");
    std::fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
    let child = command(&house, "stopped", &path).spawn().unwrap();
    let ledger = house.path("stopped").join("ledger.jsonl");
    let begin = Instant::now();
    while std::fs::read_to_string(&ledger).map_or(0, |text| text.lines().count()) < 10 {
        assert!(begin.elapsed() < Duration::from_secs(60), "training does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: the child has not been waited for, so its id is its own.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{stderr}");
    let spent = stderr.lines().find(|line| line.contains("stopped after step")).expect(&stderr);
    assert!(spent.contains("spent"), "{spent}");
    assert!(!house.path("stopped-model").join("manifest.json").exists());
}

/// Ledgers and checkpoints keep floats as JSON; one that came back with another last bit would
/// break a ledger's chain and a resumed run's metrics.
#[test]
fn floats_come_back_from_json_with_their_bits() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    for _ in 0..100_000 {
        let float = f64::from_bits(random.random());
        if float.is_finite() {
            let back: f64 = serde_json::from_str(&serde_json::to_string(&float).unwrap()).unwrap();
            assert_eq!(float.to_bits(), back.to_bits(), "{float:e}");
        }
    }
}
