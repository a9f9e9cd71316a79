//! What the runner says: before a run, of a run, and of what is in the store.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pft_tests::{Finished, root, run, run_pipeline, stage};
use serde_json::Value;

/// Writes a pipeline of `fold` stages; FOLD stands for the stage.
fn write(folder: &Path, stages: &str) {
    let fold = root().join("tests/stages/fold.py");
    let log = folder.join("log.txt");
    let text = format!("pipeline: p\n{stages}")
        .replace("FOLD", &fold.to_string_lossy())
        .replace("LOG", &log.to_string_lossy());
    std::fs::write(folder.join("p.yml"), text).unwrap();
}

fn started(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("log.txt")).map_or(0, |text| text.lines().count())
}

fn pft(folder: &Path, arguments: &[&str]) -> Finished {
    run("pft-pipeline", arguments, folder)
}

fn said(folder: &Path, arguments: &[&str]) -> String {
    let finished = pft(folder, arguments);
    assert_eq!(finished.code, 0, "{arguments:?}: {finished:?}");
    finished.stdout
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(folder, arguments)).unwrap()
}

const TWO: &str = "stages:\n  a: { stage: FOLD, set: { text: a, log: LOG } }\n  b: { stage: FOLD, inputs: { model: a }, set: { text: b, log: LOG } }\n";

#[test]
fn a_plan_says_what_would_run_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, TWO);
    let plan = json(folder, &["plan", "p.yml", "--json"]);
    assert_eq!(plan["stages"][0]["reason"], "never ran");
    assert_eq!(plan["stages"][1]["status"], "waits");
    assert!(!folder.join(".pft").exists(), "a plan makes nothing");
    assert_eq!(pft(folder, &["run", "p.yml", "--dry-run"]).code, 0);
    assert!(!folder.join(".pft").exists(), "nor does a dry run");

    run_pipeline(&["p.yml"], folder);
    let text = said(folder, &["plan", "p.yml"]);
    assert!(text.contains("p: 2 cached, 0 to run, 0 waiting"), "{text}");
    let text = said(folder, &["plan", "p.yml", "--set", "b.text=c", "--set", "b.length=2"]);
    assert!(
        text.contains("config `length` changed from 1.0 to 2.0, config `text` changed from b to c"),
        "{text}"
    );
    assert!(text.contains("by earlier runs"), "{text}");
    let text = said(folder, &["explain", "p.yml", "b", "--set", "b.text=c"]);
    assert!(text.contains("≠  config.text"), "{text}");
    for format in ["text", "mermaid", "dot", "svg"] {
        assert!(!said(folder, &["graph", "p.yml", "--format", format]).is_empty());
    }
}

#[test]
fn equal_settings_are_equal_however_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "stages:\n  a: { stage: FOLD, set: { length: 8, at_most: 0, log: LOG } }\n");
    run_pipeline(&["p.yml"], folder);
    for set in ["a.length=8.0", "a.length=8e0", "a.at_most=0.0", "a.at_most=-0.0", "a.steps=0.0"] {
        let result = run_pipeline(&["p.yml", "--set", set], folder);
        assert_eq!(stage(&result, "a")["status"], "cached", "{set}");
    }
    assert_eq!(started(folder), 1);
}

#[test]
fn a_file_that_the_stage_does_not_read_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("model")).unwrap();
    std::fs::write(folder.join("model/one.txt"), "1").unwrap();
    write(folder, "stages:\n  a: { stage: FOLD, set: { folder: model, log: LOG } }\n");
    run_pipeline(&["p.yml"], folder);
    std::fs::write(folder.join("model/README.md"), "new").unwrap();
    std::fs::write(folder.join("model/.DS_Store"), "new").unwrap();
    assert_eq!(stage(&run_pipeline(&["p.yml"], folder), "a")["status"], "cached");
    std::fs::write(folder.join("model/two.txt"), "2").unwrap();
    let plan = json(folder, &["plan", "p.yml", "--json"]);
    assert_eq!(plan["stages"][0]["reason"], "files of `folder` changed: 1 of 2 (two.txt)");
}

#[test]
fn a_moved_project_runs_nothing_again() {
    let parent = tempfile::tempdir().unwrap();
    let (one, two) = (parent.path().join("one"), parent.path().join("two"));
    std::fs::create_dir(&one).unwrap();
    std::fs::write(one.join("raw.txt"), "raw").unwrap();
    write(&one, "stages:\n  a: { stage: FOLD, set: { file: raw.txt } }\n");
    run_pipeline(&["p.yml"], &one);
    std::fs::rename(&one, &two).unwrap();
    assert_eq!(stage(&run_pipeline(&["p.yml"], &two), "a")["status"], "cached");
    let file = two.join("p.yml");
    let elsewhere = std::process::Command::new(pft_tests::binary("pft-pipeline"))
        .args(["run", &file.to_string_lossy(), "--json"])
        .current_dir(parent.path())
        .env_remove("PFT_STORE")
        .output()
        .unwrap();
    assert!(elsewhere.status.success());
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("nothing to do"));
    assert!(!parent.path().join(".pft").exists(), "the store belongs to the project");
}

#[test]
fn a_run_leaves_a_record_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, TWO);
    let result = run_pipeline(&["p.yml", "--set", "a.text=x"], folder);
    let id = result["run"].as_str().unwrap();
    let path = folder.join(".pft/runs").join(id);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in ["run.json", "events.jsonl", "logs/a.log"] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
    let record = json(folder, &["show", "last", "--json"]);
    assert_eq!(record["run"], id);
    assert_eq!(record["set"][0], "a.text=x");
    assert_eq!(record["stages"][1]["inputs"]["model"], "a.model");
    assert!(record["stages"][0]["peak_memory"].as_u64().unwrap() > 1_000_000);
    let events = std::fs::read_to_string(path.join("events.jsonl")).unwrap();
    assert!(events.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert!(said(folder, &["runs"]).contains(id));
    said(folder, &["log", id, "b"]);
    said(folder, &["status"]);

    run_pipeline(&["p.yml"], folder);
    let difference = said(folder, &["diff", id, "last"]);
    assert!(difference.contains("config `text` changed from x to a"), "{difference}");
    assert!(difference.contains("input `model` changed"), "{difference}");
    let link = folder.join(".pft/latest/p/b");
    assert_eq!(std::fs::read_to_string(link.join("text.txt")).unwrap(), "ab");
    let shown = said(folder, &["show", "b"]);
    assert!(shown.contains("model: fold (revision 1)"), "{shown}");
}

#[test]
fn wrong_settings_of_any_stage_are_found_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, TWO);
    let wrong = ["run", "p.yml", "--set", "b.fail_check=true"];
    let failed = pft(folder, &wrong);
    assert_eq!(failed.code, 2, "{}", failed.stderr);
    assert!(failed.stderr.contains("p.yml:4: `b`: fail_check: is wrong"), "{}", failed.stderr);
    let clash = ["run", "p.yml", "--set", "a.length=9", "--set", "b.at_most=8"];
    let failed = pft(folder, &clash);
    assert_eq!(failed.code, 2, "{}", failed.stderr);
    let told = "`a` will give a sequence length of 9, but `b` takes at most 8: it has few";
    assert!(failed.stderr.contains(told), "{}", failed.stderr);
    let dry = pft(folder, &[&clash[..], &["--dry-run"]].concat());
    assert!(dry.stderr.contains(told), "{}", dry.stderr);
    assert_eq!(started(folder), 0);
}

/// On a terminal every stage has a line from the beginning to the end, and one that runs a bar.
#[test]
fn a_terminal_shows_the_whole_graph() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "stages:\n  first: { stage: FOLD, set: { text: a, steps: 12, seconds: 0.1 } }\n  second: { stage: FOLD, inputs: { model: first } }\n  third: { stage: FOLD, inputs: { model: second }, set: { fail_with: 3 } }\n",
    );
    let on_terminal = |rows: u32, arguments: &str| {
        let runner = pft_tests::binary("pft-pipeline");
        let command = format!("stty rows {rows} cols 120; '{}' {arguments}", runner.display());
        // A pseudo terminal, by a program that every Linux has.
        std::process::Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .current_dir(folder)
            .env("TERM", "xterm")
            .env("PFT_STORE", folder.join(".pft"))
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Ok(drawn) = on_terminal(40, "run p.yml") else {
        eprintln!("not run: there is no `script` here");
        return;
    };
    let first_frame = drawn.split("third").next().unwrap();
    assert!(first_frame.contains("first") && first_frame.contains("second"), "{drawn}");
    for part in ["second  waits", "third   waits", "12 steps", "/s eta ", "█", "third   failed: "]
    {
        assert!(drawn.contains(part), "{part}: {drawn}");
    }
    let end = drawn.rsplit("first ").next().unwrap();
    for part in ["done in", "second  done in", "third   failed: asked to fail"] {
        assert!(end.contains(part), "{part} at the end of {drawn}");
    }
    // Too small a terminal: lines as things happen, as in a pipe.
    let small = on_terminal(5, "run p.yml --force first").unwrap();
    assert!(!small.contains("third   waits") && small.contains("first   fold runs"), "{small}");
    let plain = pft(folder, &["run", "p.yml", "--set", "first.text=b"]).stderr;
    assert!(!plain.contains('\u{1b}') && plain.contains("first   fold runs"), "{plain}");
}

#[test]
fn without_keep_going_a_missing_file_is_named_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "stages:\n  a: { stage: FOLD, set: { text: a, log: LOG } }\n  b: { stage: FOLD, inputs: { model: a }, set: { file: gone.txt } }\n  c: { stage: FOLD, inputs: { model: b } }\n",
    );
    let refused = pft(folder, &["run", "p.yml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("p.yml:4: "), "{}", refused.stderr);
    assert!(refused.stderr.contains("gone.txt: there is no such file"), "{}", refused.stderr);
    assert_eq!(started(folder), 0);
    // What stands before the stage that lacks it is made, and the run still says that it failed.
    let finished = pft(folder, &["run", "p.yml", "--keep-going", "--json"]);
    assert_eq!(finished.code, 2, "{finished:?}");
    let result = pft_tests::result(&finished);
    let status = |name: &str| stage(&result, name)["status"].as_str().unwrap().to_string();
    assert_eq!(["a", "b", "c"].map(status), ["ran", "failed", "skipped"]);
    std::fs::write(folder.join("gone.txt"), "here").unwrap();
    run_pipeline(&["p.yml"], folder);
    assert_eq!(started(folder), 1);
}

#[test]
fn with_keep_going_a_failure_stops_its_own_branch_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "stages:\n  a: { stage: FOLD, set: { file: gone.txt, log: LOG } }\n  b: { stage: FOLD, inputs: { model: a } }\n  c: { stage: FOLD, set: { text: c, fail_with: 3, log: LOG } }\n  d: { stage: FOLD, inputs: { model: c } }\n  e: { stage: FOLD, set: { text: e, log: LOG } }\n",
    );
    let finished = pft(folder, &["run", "p.yml", "--keep-going", "--json"]);
    assert_ne!(finished.code, 0);
    let result = pft_tests::result(&finished);
    let statuses: Vec<&str> = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|n| stage(&result, n)["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["failed", "skipped", "failed", "skipped", "ran"]);
    assert_eq!(started(folder), 2);
}

#[test]
fn stages_are_tried_again_and_stopped_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "stages:\n  a: { stage: FOLD, set: { flaky: 2, log: LOG }, retries: 2 }\n");
    let result = run_pipeline(&["p.yml"], folder);
    assert_eq!(stage(&result, "a")["status"], "ran");
    assert_eq!(started(folder), 3);
    assert_eq!(json(folder, &["show", "last", "--json"])["stages"][0]["attempts"], 3);
    let failed = pft(folder, &["run", "p.yml", "--set", "a.flaky=9"]);
    assert_eq!(failed.code, 4, "{}", failed.stderr);

    write(folder, "stages:\n  a: { stage: FOLD, set: { steps: 50, seconds: 1 }, timeout: 1 s }\n");
    let stopped = pft(folder, &["run", "p.yml"]);
    assert_eq!(stopped.code, 124, "{}", stopped.stderr);
    assert!(stopped.stderr.contains("stopped after 1 s, its `timeout`"), "{}", stopped.stderr);
}

#[test]
fn what_is_damaged_is_set_aside_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, TWO);
    let result = run_pipeline(&["p.yml"], folder);
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let text =
        |name: &str| Path::new(stage(&result, name)["path"].as_str().unwrap()).join("text.txt");
    // The last artifact of a pipeline, which nothing reads.
    flip(&text("b"));
    assert_eq!(pft(folder, &["verify"]).code, 3);
    let again = run_pipeline(&["p.yml"], folder);
    assert_eq!(stage(&again, "a")["status"], "cached");
    assert_eq!(stage(&again, "b")["status"], "ran");
    assert_eq!(std::fs::read_to_string(text("b")).unwrap(), "ab");
    let key = stage(&result, "a")["key"].as_str().unwrap();
    flip(&folder.join(".pft/actions").join(&key[..2]).join(format!("{key}.json")));
    let again = run_pipeline(&["p.yml"], folder);
    assert_eq!(stage(&again, "a")["status"], "ran");
    assert_eq!(stage(&again, "b")["status"], "cached");
    assert_eq!(std::fs::read_dir(folder.join(".pft/damaged")).unwrap().count(), 2);
    assert_eq!(pft(folder, &["verify"]).code, 0);

    write(
        folder,
        "stages:\n  s: { stage: FOLD, set: { damaged_scratch: true, fail_with: 3, log: LOG } }\n",
    );
    let failed = run("pft-pipeline", &["run", "p.yml", "--json"], folder);
    let result = pft_tests::result(&failed);
    let key = stage(&result, "s")["key"].as_str().unwrap().to_string();
    let damage = folder.join(".pft/scratch").join(key).join("damage");
    std::fs::write(&damage, "x").unwrap();
    let failed = pft(folder, &["run", "p.yml"]);
    assert_eq!(failed.code, 3, "it started without the damaged scratch: {}", failed.stderr);
    assert!(!damage.exists());
}

/// Every bit of every file of a store counts.
#[test]
fn every_flipped_bit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, TWO);
    run_pipeline(&["p.yml"], folder);
    let store = folder.join(".pft");
    let mut files = Vec::new();
    for part in ["artifacts", "actions", "runs"] {
        collect(&store.join(part), &mut files);
    }
    // Memories that cost time only, and locks.
    files.retain(|path| !path.ends_with("lock") && !path.ends_with("last-keys.json"));
    files.retain(|path| std::fs::metadata(path).unwrap().len() > 0);
    assert!(files.len() >= 8, "{files:?}");
    let mut state = 42u64;
    let mut random = |below: usize| {
        // A multiplicative congruential generator: which bits are tried is the same each time.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..400 {
        let path = &files[round % files.len()];
        let whole = std::fs::read(path).unwrap();
        let mut bytes = whole.clone();
        let bit = random(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let permissions = path.metadata().unwrap().permissions();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(path, &bytes).unwrap();
        let verified = pft(folder, &["verify"]);
        assert_eq!(verified.code, 3, "bit {bit} of {}: {verified:?}", path.display());
        std::fs::write(path, &whole).unwrap();
        std::fs::set_permissions(path, permissions).unwrap();
    }
    assert_eq!(pft(folder, &["verify"]).code, 0);
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { collect(&entry.path(), files) } else { files.push(entry.path()) }
    }
}

#[test]
fn a_sweep_shares_what_stands_on_none_of_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "sweep: { b.text: [x, y] }\nstages:\n  a: { stage: FOLD, set: { text: a, log: LOG } }\n  b: { stage: FOLD, inputs: { model: a }, set: { log: LOG } }\n  c: { stage: FOLD, inputs: { model: b }, set: { text: c, log: LOG } }\n",
    );
    let result = run_pipeline(&["p.yml", "--jobs", "2"], folder);
    assert_eq!(started(folder), 5);
    assert_eq!(stage(&result, "text=y/c")["status"], "ran");
    let link = folder.join(".pft/latest/p/text=y/c/text.txt");
    assert_eq!(std::fs::read_to_string(link).unwrap(), "ayc");
    let more = run_pipeline(&["p.yml", "--sweep", "c.length=[1, 2]"], folder);
    assert_eq!(stage(&more, "text=y/length=1/c")["status"], "cached");
    assert_eq!(started(folder), 7);
}

#[test]
fn garbage_collection_keeps_what_runs_and_pins_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, TWO);
    run_pipeline(&["p.yml", "--set", "b.text=old"], folder);
    said(folder, &["pin", "good"]);
    run_pipeline(&["p.yml", "--set", "b.text=middle"], folder);
    run_pipeline(&["p.yml", "--set", "b.text=new"], folder);
    let dry = json(folder, &["gc", "--keep-runs", "1", "--json"]);
    assert_eq!(dry["keys"].as_array().unwrap().len(), 1, "{dry}");
    let done = json(folder, &["gc", "--keep-runs", "1", "--yes", "--json"]);
    assert_eq!(done["artifacts"], dry["artifacts"]);
    assert_eq!(pft(folder, &["verify"]).code, 0);
    let status = |text: &str| {
        let set = format!("b.text={text}");
        let plan = json(folder, &["plan", "p.yml", "--json", "--set", &set]);
        plan["stages"][1]["status"].as_str().unwrap().to_string()
    };
    assert_eq!([status("old"), status("middle"), status("new")], ["cached", "to run", "cached"]);
    said(folder, &["unpin", "good"]);
    said(folder, &["gc", "--keep-runs", "0", "--yes"]);
    assert_eq!([status("old"), status("new")].iter().filter(|s| *s == "waits").count(), 2);
    run_pipeline(&["p.yml"], folder);
}

#[test]
fn a_report_is_one_page_without_script_or_network() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, TWO);
    run_pipeline(&["p.yml"], folder);
    let page = |arguments: &[&str]| {
        said(folder, &[&["report", "last", "-o", "r.html"], arguments].concat());
        std::fs::read_to_string(folder.join("r.html")).unwrap()
    };
    let private = page(&[]);
    assert!(private.contains("This page is private") && private.contains("Timeline"));
    assert!(!private.contains("<script") && !private.contains("src=\"http"));
    assert!(private.contains("default-src 'none'"), "no request may leave");
    // Where a browser is installed, it finds nothing to complain of.
    let profile = tempfile::tempdir().unwrap();
    let opened = std::process::Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--enable-logging=stderr", "--window-size=400,800"])
        .arg(format!("file://{}", folder.join("r.html").display()))
        .output();
    match opened {
        Ok(opened) => {
            let (page, said) =
                (String::from_utf8_lossy(&opened.stdout), String::from_utf8_lossy(&opened.stderr));
            assert!(page.contains("<h2 id=\"timeline-title\">"), "{said}");
            assert!(!said.contains("CONSOLE"), "{said}");
        }
        Err(_) => eprintln!("not opened in a browser: there is no chromium here"),
    }
    let public = page(&["--public"]);
    assert!(!public.contains("Timeline") && !public.contains("Settings of"));
}

#[test]
fn the_command_line_describes_itself() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(said(folder, &["completions", "bash"]).contains("pft-pipeline"));
    said(folder, &["man", "man1"]);
    let page = std::fs::read_to_string(folder.join("man1/pft-pipeline-plan.1")).unwrap();
    assert!(page.contains("Says what a run would do"), "{page}");
    let schema = json(folder, &["schema"]);
    assert_eq!(schema["required"][0], "pipeline");
    assert!(said(folder, &["--version"]).starts_with("pft-pipeline "));
}
