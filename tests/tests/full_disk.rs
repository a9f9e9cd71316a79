//! A store on a disk that fills up: a small file system in memory, which only Linux with user
//! namespaces lets a test mount.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use pft_tests::{Finished, binary, root, run};
use serde_json::Value;

const TINY: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":49152,
    "hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,
    "num_key_value_heads":1,"max_position_embeddings":256,"rms_norm_eps":1e-5,
    "tie_word_embeddings":true,"bos_token_id":1,"eos_token_id":2}"#;

/// Runs a script as root of its own mounts; `None` where the system does not allow it.
fn with_mounts(script: &str, folder: &Path) -> Option<Finished> {
    let command = |script: &str| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .current_dir(folder)
            .output()
    };
    let allowed = command("mkdir -p probe && mount -t tmpfs -o size=64k none probe").ok()?;
    allowed.status.success().then(|| command(script).unwrap().into())
}

fn artifacts(stdout: &str) -> Vec<(String, Value)> {
    let line = stdout.lines().rev().find(|line| line.starts_with('{')).expect("a JSON result");
    let result: Value = serde_json::from_str(line).unwrap();
    let stages = result["stages"].as_array().unwrap().clone();
    stages
        .into_iter()
        .map(|stage| (stage["status"].as_str().unwrap().to_owned(), stage["artifact"].clone()))
        .collect()
}

/// A full disk is known by what the operating system says, and not by words that a name may hold.
#[test]
fn a_name_is_no_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["No space left on device.yml", "Disk quota exceeded"] {
        for arguments in [
            ["--output", "x", "--config", name],
            ["--output", "x", "--set", &format!("path={name}")],
        ] {
            let finished = run("ingest", &arguments, folder.path());
            assert!([2, 3].contains(&finished.code), "{}", finished.stderr);
            assert!(finished.stderr.contains(name), "{}", finished.stderr);
            assert!(!finished.stderr.contains("free some disk space"), "{}", finished.stderr);
        }
    }
}

/// Wherever in a pipeline the disk is full, one message says so, nothing unfinished stays in the
/// store, and once there is room the run goes on to the bits of one that always had it.
#[test]
fn whichever_stage_meets_the_full_disk_says_so_and_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("tiny.json"), TINY).unwrap();
    let pipeline = format!(
        "'{}' run '{}' --json --set cases.synthetic.units=60 --set 'tags.backends=[{{kind: rules}}]' \
         --set model.base_model=null --set model.random_init=tiny.json --set model.lora=null \
         --set model.max_steps=2 --set model.samples.prompts=[] \
         --set model.privacy.fixed_seed_not_for_release=3",
        binary("pft-pipeline").display(),
        root().join("pipelines/echr-dp8.yml").display(),
    );
    let calm = format!("{pipeline} --store calm");
    let Some(calm) = with_mounts(&calm, folder) else {
        eprintln!("not run: user namespaces are not allowed here");
        return;
    };
    assert_eq!(calm.code, 0, "{}", calm.stderr);
    let expected = artifacts(&calm.stdout);
    let mut failing = std::collections::BTreeSet::new();
    for kilobytes in [24, 200, 400, 800, 2000, 5000, 8000] {
        let script = format!(
            "mkdir -p full && mount -t tmpfs -o size={kilobytes}k none full || exit 99\n\
             {pipeline} --store full; echo code $?\n\
             find full/tmp full/artifacts -name '*.parquet' -o -name '*.safetensors' | \
             while read file; do test -f \"$(dirname $file)/manifest.json\" || echo torn $file; done\n\
             mount -o remount,size=200m full\n\
             {pipeline} --store full"
        );
        let run = with_mounts(&script, folder).unwrap();
        assert_eq!(run.code, 0, "{kilobytes} kB: {}", run.stderr);
        let hashes = |artifacts: &[(String, Value)]| -> Vec<Value> {
            artifacts.iter().map(|(_, hash)| hash.clone()).collect()
        };
        assert_eq!(hashes(&artifacts(&run.stdout)), hashes(&expected), "{kilobytes} kB");
        assert!(!run.stdout.contains("torn"), "{kilobytes} kB: {}", run.stdout);
        if run.stdout.contains("code 0") {
            continue;
        }
        assert!(run.stdout.contains("code 1"), "{kilobytes} kB: {}\n{}", run.stdout, run.stderr);
        assert!(run.stderr.contains("free some disk space"), "{kilobytes} kB: {}", run.stderr);
        assert!(!run.stderr.contains("panicked"), "{kilobytes} kB: {}", run.stderr);
        let first = run.stdout.lines().find(|line| line.starts_with('{')).unwrap();
        let first: Value = serde_json::from_str(first).unwrap();
        let stages = first["stages"].as_array().unwrap();
        let failed = stages.iter().find(|stage| stage["status"] == "failed");
        failing.extend(failed.map(|stage| stage["stage"].as_str().unwrap().to_owned()));
    }
    assert!(failing.len() >= 3, "the disk was full in {failing:?} only");
    eprintln!("the disk was full in {failing:?}");
}
