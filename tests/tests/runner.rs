//! The runner with stages written in Python: any executable that keeps the contract is a stage.

#![allow(clippy::unwrap_used)]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pft_tests::{Finished, TINY_LLAMA, binary, root, run, run_pipeline, stage};

/// Writes a pipeline of three chained `fold` stages, the second of them slow where `steps` > 0.
fn write_pipeline(folder: &Path, epsilon: &str, steps: u32, seconds: f64) -> PathBuf {
    let fold = root().join("tests/stages/fold.py");
    let log = folder.join("log.txt");
    let path = folder.join("p.yml");
    let text = format!(
        "pipeline: p\nstages:\n  a: {{ stage: {0}, set: {{ text: a, file: raw.txt, log: {1} }} }}\n  b:\n    stage: {0}\n    inputs: {{ model: a }}\n    set: {{ text: {epsilon}, steps: {steps}, seconds: {seconds}, log: {1} }}\n  c: {{ stage: {0}, inputs: {{ model: b.model }}, set: {{ text: c, log: {1} }} }}\n",
        fold.display(),
        log.display(),
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn started(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("log.txt")).map_or(0, |text| text.lines().count())
}

fn statuses(result: &serde_json::Value) -> Vec<&str> {
    ["a", "b", "c"].iter().map(|name| stage(result, name)["status"].as_str().unwrap()).collect()
}

#[test]
fn work_is_done_once_and_history_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("raw.txt"), "raw,").unwrap();
    write_pipeline(folder, "eight", 0, 0.0);
    let first = run_pipeline(&["p.yml"], folder);
    assert_eq!(statuses(&first), ["ran", "ran", "ran"]);
    let path = stage(&first, "c")["path"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(Path::new(path).join("text.txt")).unwrap(), "raw,aeightc");

    let second = run_pipeline(&["p.yml"], folder);
    assert_eq!(statuses(&second), ["cached", "cached", "cached"]);
    assert_eq!(started(folder), 3);

    // Eight, four, eight: the third run finds what the first made.
    let set = ["p.yml", "--set", "b.text=four"];
    assert_eq!(statuses(&run_pipeline(&set, folder)), ["cached", "ran", "ran"]);
    assert_eq!(statuses(&run_pipeline(&["p.yml"], folder)), ["cached", "cached", "cached"]);

    // The raw data are part of the key; an equal output stops the ripple.
    std::fs::write(folder.join("raw.txt"), "new,").unwrap();
    assert_eq!(statuses(&run_pipeline(&["p.yml"], folder)), ["ran", "ran", "ran"]);
    let until = run_pipeline(&["p.yml", "--force", "a", "--until", "b"], folder);
    assert_eq!(statuses(&until), ["ran", "cached", "skipped"]);
}

#[test]
fn a_dry_run_starts_nothing_and_explains_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("raw.txt"), "raw").unwrap();
    write_pipeline(folder, "eight", 0, 0.0);
    run_pipeline(&["p.yml"], folder);
    let dry = run("pft-pipeline", &["run", "p.yml", "--dry-run", "--set", "b.text=four"], folder);
    assert_eq!(dry.code, 0);
    assert!(dry.stderr.contains("config `text` changed from eight to four"), "{}", dry.stderr);
    assert!(dry.stderr.contains("`b` would run first"), "{}", dry.stderr);
    assert_eq!(started(folder), 3);
}

#[test]
fn a_second_run_of_the_same_key_waits_for_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("raw.txt"), "raw").unwrap();
    write_pipeline(folder, "x", 5, 0.1);
    let runs: Vec<Finished> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| run("pft-pipeline", &["run", "p.yml"], folder)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(runs.iter().all(|run| run.code == 0), "{runs:?}");
    assert_eq!(started(folder), 3, "each stage ran once in three runs at once");
}

#[test]
fn a_file_that_changes_while_it_is_read_leaves_no_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = format!(
        "pipeline: p\nstages:\n  a: {{ stage: {}, set: {{ file: raw.txt, steps: 8, seconds: 0.1, log: {} }} }}\n",
        root().join("tests/stages/fold.py").display(),
        folder.join("log.txt").display(),
    );
    std::fs::write(folder.join("p.yml"), text).unwrap();
    std::fs::write(folder.join("raw.txt"), "old").unwrap();
    let finished = std::thread::scope(|scope| {
        let running = scope.spawn(|| run("pft-pipeline", &["run", "p.yml"], folder));
        while started(folder) == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::fs::write(folder.join("raw.txt"), "new").unwrap();
        running.join().unwrap()
    });
    assert_eq!(finished.code, 2, "{}", finished.stderr);
    assert!(finished.stderr.contains("changed while the stage ran"), "{}", finished.stderr);
    assert!(artifacts(folder).is_empty());
    assert_eq!(run("pft-pipeline", &["run", "p.yml"], folder).code, 0);
}

#[test]
fn a_node_that_pipelines_share_is_forced_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("raw.txt"), "raw").unwrap();
    let one = std::fs::read_to_string(write_pipeline(folder, "x", 0, 0.0)).unwrap();
    std::fs::write(folder.join("q.yml"), one.replace("pipeline: p", "pipeline: q")).unwrap();
    std::fs::write(folder.join("both.yml"), "pipeline: both\ninclude: [p.yml, q.yml]\n").unwrap();
    run_pipeline(&["both.yml"], folder);
    assert_eq!(started(folder), 3);
    let again = run_pipeline(&["both.yml", "--force", "b"], folder);
    assert_eq!(started(folder), 4);
    assert_eq!(stage(&again, "p/b")["status"], "ran");
    assert_eq!(stage(&again, "q/b")["status"], "cached");
}

#[test]
fn missing_files_of_later_stages_are_named_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("raw.txt"), "raw").unwrap();
    write_pipeline(folder, "x", 0, 0.0);
    let dry =
        run("pft-pipeline", &["run", "p.yml", "--dry-run", "--set", "c.file=gone.txt"], folder);
    assert_eq!(dry.code, 0);
    assert!(dry.stderr.contains("gone.txt: there is no such file"), "{}", dry.stderr);
    let real = run("pft-pipeline", &["run", "p.yml", "--set", "c.file=gone.txt"], folder);
    assert_eq!(real.code, 2);
    assert!(real.stderr.contains("gone.txt: there is no such file"), "{}", real.stderr);
    assert_eq!(started(folder), 0);
    run_pipeline(&["p.yml", "--until", "b", "--set", "c.file=gone.txt"], folder);
    assert_eq!(started(folder), 2, "what is not wanted may be missing");
}

/// As in `pft-pipeline run p.yml 2>&1 | head -1`.
#[test]
fn a_reader_that_has_gone_away_changes_no_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(binary("pft-pipeline"))
        .args(["run", "absent.yml"])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn a_failing_stage_gives_its_message_and_code_and_leaves_no_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("raw.txt"), "raw").unwrap();
    write_pipeline(folder, "x", 0, 0.0);
    let failed = run("pft-pipeline", &["run", "p.yml", "--json", "--set", "b.fail_with=3"], folder);
    assert_eq!(failed.code, 3);
    assert!(failed.stderr.contains("asked to fail; ask for something else"), "{}", failed.stderr);
    assert_eq!(statuses(&pft_tests::result(&failed)), ["ran", "failed", "skipped"]);
    assert_eq!(artifacts(folder).len(), 1);
    assert_eq!(std::fs::read_dir(folder.join(".pft/tmp")).unwrap().count(), 0);
}

#[test]
fn wrong_pipelines_are_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let fold = root().join("tests/stages/fold.py");
    let cases = [
        (
            "  a: { stage: FOLD, inputs: { model: b } }\n  b: { stage: FOLD, inputs: { model: a } }\n",
            "p.yml:3: the stages a, b wait for each other in a cycle",
        ),
        (
            "  a: { stage: FOLD, inputs: { modle: b } }\n  b: { stage: FOLD }\n",
            "did you mean `model`?",
        ),
        (
            "  a: { stage: FOLD, inputs: { model: bb } }\n  b: { stage: FOLD }\n",
            "p.yml:3: stage `a`: there is no stage `bb`; did you mean `b`?",
        ),
        (
            "  a: { stage: FOLD, set: { txt: x } }\n",
            "p.yml:3: txt: unknown key; did you mean `text`?",
        ),
        ("  a: { stage: no-such-stage }\n", "no executable of this name"),
        ("  a: { stage: FOLD, config: absent.yml }\n", "absent.yml: cannot read the config"),
        ("  a: { stage: FOLD, set: { file: absent.txt } }\n", "absent.txt: there is no such file"),
        ("  a: { stage: FOLD }\n  a: { stage: FOLD }\n", "4"),
    ];
    for (stages, expected) in cases {
        let text =
            format!("pipeline: p\nstages:\n{stages}").replace("FOLD", &fold.to_string_lossy());
        std::fs::write(folder.join("p.yml"), text).unwrap();
        let finished = run("pft-pipeline", &["run", "p.yml"], folder);
        assert_eq!(finished.code, 2, "{stages}: {}", finished.stderr);
        assert!(finished.stderr.contains(expected), "{stages}: {}", finished.stderr);
        assert!(artifacts(folder).is_empty());
    }
}

fn artifacts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(prefixes) = std::fs::read_dir(folder.join(".pft/artifacts")) else {
        return found;
    };
    for prefix in prefixes.flatten() {
        found.extend(std::fs::read_dir(prefix.path()).unwrap().flatten().map(|e| e.path()));
    }
    found
}

/// How many times something is killed: thirty, or what PFT_KILLS says (`make test-kills`).
fn kills() -> u32 {
    std::env::var("PFT_KILLS").map_or(30, |count| count.parse().unwrap())
}

/// Starts a pipeline, and kills the runner, the stage that it runs, or both, after some time.
fn kill_after(time: Duration, moment: u32, arguments: &[&str], folder: &Path) {
    let mut runner = Command::new(binary("pft-pipeline"))
        .arg("run")
        .args(arguments)
        .current_dir(folder)
        .env("PFT_STORE", folder.join(".pft"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    std::thread::sleep(time);
    let stage = child_of(runner.id());
    let victims = match moment % 3 {
        0 => [Some(runner.id()), None],
        1 => [stage, None],
        _ => [stage, Some(runner.id())],
    };
    for victim in victims.into_iter().flatten() {
        // SAFETY: the runner has not been waited for, so its id is its own; its child's id
        // could be another process's only if it ended and was reused within microseconds.
        unsafe { libc::kill(victim.cast_signed(), libc::SIGKILL) };
    }
    runner.wait().unwrap();
    wait_for_orphans(folder);
    for path in artifacts(folder) {
        pft_artifact::Manifest::open(&path).unwrap().verify(&path).unwrap();
    }
}

/// Kills the runner, the stage that it runs, or both, at moments spread over a run; the next run always
/// completes, and its artifacts are those of an undisturbed run, bit for bit.
#[test]
fn killed_at_any_moment_the_next_run_completes_with_the_same_bits() {
    let calm = tempfile::tempdir().unwrap();
    std::fs::write(calm.path().join("raw.txt"), "raw").unwrap();
    write_pipeline(calm.path(), "step", 10, 0.02);
    let begin = Instant::now();
    let expected = run_pipeline(&["p.yml"], calm.path());
    let whole = begin.elapsed();
    for moment in 0..kills() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join("raw.txt"), "raw").unwrap();
        write_pipeline(folder, "step", 10, 0.02);
        kill_after(whole * moment / kills(), moment, &["p.yml"], folder);
        let result = run_pipeline(&["p.yml"], folder);
        for name in ["a", "b", "c"] {
            assert_eq!(
                stage(&result, name)["artifact"],
                stage(&expected, name)["artifact"],
                "moment {moment}"
            );
        }
    }
}

/// The same with every stage that is shipped: text is ingested, tagged, scrubbed, cut into tokens, trained
/// on with noise from a fixed seed, and exported.
#[test]
fn killed_in_any_stage_the_next_run_makes_the_same_model() {
    if !root().join("data/models/smollm2-135m-instruct").exists() {
        eprintln!("not run: the model files are not fetched");
        return;
    }
    // One project and many stores: the ledger names the settings, with the path of `tiny.json`.
    let project = tempfile::tempdir().unwrap();
    std::fs::write(project.path().join("tiny.json"), TINY_LLAMA).unwrap();
    let file = project.path().join("p.yml");
    let configs = root().join("configs").display().to_string();
    std::fs::write(&file, EVERY_STAGE.replace("CONFIGS", &configs)).unwrap();
    let file = file.to_string_lossy().into_owned();
    let calm = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let expected = run_pipeline(&[&file], calm.path());
    let whole = begin.elapsed();
    let rounds = kills().div_ceil(5);
    for moment in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        kill_after(whole * moment / rounds, moment, &[&file], folder);
        let result = run_pipeline(&[&file], folder);
        for name in ["cases", "tags", "clean", "tokens", "model", "release"] {
            let made = |result: &serde_json::Value| -> Vec<String> {
                let outputs = stage(result, name)["outputs"].as_object().unwrap().clone();
                outputs.values().map(|output| output["artifact"].to_string()).collect()
            };
            assert_eq!(made(&result), made(&expected), "moment {moment}, {name}");
        }
        let model = stage(&result, "model")["path"].as_str().unwrap();
        let verified = run("train", &["verify", model], folder);
        assert_eq!(verified.code, 0, "{}", verified.stderr);
    }
}

const EVERY_STAGE: &str = "
pipeline: p
stages:
  cases:   { stage: ingest, config: CONFIGS/ingest/echr.yml, set: { synthetic.units: 30 } }
  tags:    { stage: tag-pii, config: CONFIGS/tag-pii/rules.yml, inputs: { corpus: cases.corpus } }
  clean:   { stage: scrub, inputs: { corpus: cases.corpus, tags: tags }, set: { mode: label } }
  tokens:
    stage: tokenize
    config: CONFIGS/tokenize/smollm2.yml
    inputs: { corpus: clean.corpus, tags: clean.tags }
    set: { block_size: 64 }
  model:
    stage: train
    inputs: { tokens: tokens }
    set:
      random_init: tiny.json
      max_steps: 6
      batch_size: 4
      evaluation: { max_examples: 4, max_train_examples: 4 }
      checkpoints.every_steps: 1
      privacy: { noise_multiplier: 1.0, units: 30, fixed_seed_not_for_release: 7 }
  release: { stage: export, inputs: { model: model }, set: { format: hf } }
";

fn child_of(parent: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok();
    let direct = children.and_then(|text| text.split_whitespace().next()?.parse().ok());
    direct.or_else(|| {
        // The stage is a child of the thread that started it.
        std::fs::read_dir(format!("/proc/{parent}/task")).ok()?.flatten().find_map(|task| {
            let text = std::fs::read_to_string(task.path().join("children")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        })
    })
}

/// A stage dies with its runner: nothing may go on writing into the store.
fn wait_for_orphans(folder: &Path) {
    let needle = folder.to_string_lossy().into_owned();
    let begin = Instant::now();
    loop {
        let alive = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&needle))
        });
        if !alive {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "a stage outlived its runner");
        std::thread::sleep(Duration::from_millis(2));
    }
}
