//! The shipped pipelines, run by the real binaries: each validates, the three answers share one
//! tagging, and real judgments go through when they are there.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use pft_tests::{TINY_LLAMA, real_data, root, run, run_pipeline, stage};
use serde_json::Value;

fn pipeline(name: &str) -> String {
    root().join("pipelines").join(name).to_string_lossy().into_owned()
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn folder_of(result: &Value, name: &str) -> std::path::PathBuf {
    stage(result, name)["path"].as_str().unwrap().into()
}

#[test]
fn every_pipeline_validates() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let finished =
            run("pft-pipeline", &["run", &path.to_string_lossy(), "--dry-run"], folder.path());
        assert_eq!(finished.code, 0, "{}: {}", path.display(), finished.stderr);
        count += 1;
    }
    assert!(count >= 21, "{count} pipelines");
}

/// The tiny model takes no longer conversations.
const SHORT: [&str; 2] = ["tokens.max_length=256", "held_out.max_length=256"];

/// Undefended, scrubbed and DP on one small corpus: tagging runs once, a second run does nothing.
#[test]
fn three_answers_share_one_tagging() {
    for (corpus, room, unit) in [
        ("echr", "cases", "case"),
        ("enron", "emails", "sender"),
        ("support-sft", "tickets", "customer"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tiny.json"), TINY_LLAMA).unwrap();
        let file = pipeline(&format!("{corpus}-compare.yml"));
        let units = format!("{room}.synthetic.units=40");
        let mut arguments = vec![file.as_str()];
        for set in [
            units.as_str(),
            "tags.backends=[{kind: rules}]",
            "model.base_model=null",
            "model.random_init=tiny.json",
            "model.lora=null",
            "model.max_steps=3",
            "model.batch_size=4",
            "model.samples.prompts=[]",
        ]
        .into_iter()
        .chain(SHORT.into_iter().filter(|_| corpus == "support-sft"))
        {
            arguments.extend(["--set", set]);
        }
        let first = run_pipeline(&arguments, folder.path());
        let stages = first["stages"].as_array().unwrap();
        let ran = |name: &str| {
            let is = |s: &&Value| s["stage"] == name && s["status"] == "ran";
            stages.iter().filter(is).count()
        };
        assert_eq!((ran("ingest"), ran("tag-pii"), ran("scrub")), (1, 1, 1), "{first}");
        assert_eq!((ran("train"), ran("export")), (3, 3), "{first}");

        let privacy = |defence: &str| {
            let name = format!("{corpus}-{defence}/release");
            read_json(&folder_of(&first, &name).join("privacy.json"))
        };
        let epsilon = privacy("dp8")["epsilon"][0]["epsilon"].as_f64().unwrap();
        assert!(epsilon <= 8.0 && epsilon > 7.9, "{epsilon}");
        for defence in ["undefended", "scrubbed"] {
            assert_eq!(privacy(defence)["epsilon"].as_array().map(Vec::len), Some(0));
        }
        // What a model without DP tells of its training data stays out of what is released.
        let released = folder_of(&first, &format!("{corpus}-undefended/release"));
        for private in ["metrics.parquet", "evaluation.json", "samples.json"] {
            assert!(!released.join(private).exists(), "{private} was released");
        }
        // Nor may a bundle hold what a guess of the data could be tested by, or earlier settings.
        let released = folder_of(&first, &format!("{corpus}-dp8/release"));
        let said: String = ["README.md", "manifest.json", "privacy.json"]
            .map(|name| std::fs::read_to_string(released.join(name)).unwrap())
            .concat();
        for stage in stages.iter().filter(|s| s["stage"] != "export") {
            let hash = Path::new(stage["path"].as_str().unwrap()).file_name().unwrap();
            let hash = hash.to_str().unwrap();
            assert!(hash.len() == 64 && !said.contains(hash), "{} in {said}", stage["name"]);
        }
        for setting in ["synthetic", "backends", "tiny.json"] {
            assert!(!said.contains(setting), "{setting} in {said}");
        }
        let report = read_json(&released.join("privacy.json"));
        assert_eq!((&report["unit"], &report["fit_for_release"]), (&unit.into(), &true.into()));
        let verified = run(
            "train",
            &["verify", &folder_of(&first, &format!("{corpus}-dp8/model")).to_string_lossy()],
            folder.path(),
        );
        assert_eq!(verified.code, 0, "{}", verified.stderr);

        let second = run_pipeline(&arguments, folder.path());
        let stages = second["stages"].as_array().unwrap();
        assert!(stages.iter().all(|s| s["status"] == "cached"), "{second}");
    }
}

/// ε from 1 to infinity, beside the two other answers, in one graph and one report.
#[test]
fn the_frontier_goes_from_private_to_undefended() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("tiny.json"), TINY_LLAMA).unwrap();
    let file = pipeline("echr-frontier.yml");
    let mut arguments = vec![file.as_str()];
    for set in [
        "cases.synthetic.units=30",
        "tags.backends=[{kind: rules}]",
        "model.base_model=null",
        "model.random_init=tiny.json",
        "model.lora=null",
        "model.max_steps=3",
        "model.batch_size=4",
        "model.samples.prompts=[]",
    ] {
        arguments.extend(["--set", set]);
    }
    let result = run_pipeline(&arguments, folder);
    let epsilons = ["1", "3", "8", "inf"];
    for epsilon in epsilons {
        let model = folder_of(&result, &format!("target_epsilon={epsilon}/model"));
        let statement = read_json(&model.join("privacy.json"));
        let spent = statement["epsilon"][0]["epsilon"].as_f64();
        match epsilon.parse::<f64>().unwrap() {
            f64::INFINITY => {
                assert_eq!(spent, None);
                let reasons = statement["not_for_release"].as_array().unwrap();
                assert!(reasons.contains(&"without_noise".into()), "{statement}");
            }
            target => assert!(spent.is_some_and(|e| e <= target && e > 0.98 * target), "{spent:?}"),
        }
    }
    // However infinity is written: the same training.
    for written in ["inf", ".inf", "+.Inf"] {
        let sweep = format!("model.privacy.target_epsilon=[{written}]");
        let set = format!("model.privacy.target_epsilon={written}");
        let dp8 = pipeline("echr-dp8.yml");
        let settings = &arguments[1..];
        for more in [["--sweep", &sweep], ["--set", &set]] {
            let again = run_pipeline(
                &[&[dp8.as_str()], settings, &more, &["--until", "model"]].concat(),
                folder,
            );
            let stages = again["stages"].as_array().unwrap();
            let model = stages.iter().find(|s| s["stage"] == "train").unwrap();
            assert_eq!(model["status"], "cached", "{more:?}");
        }
    }

    let compared = run("pft-pipeline", &["compare", "last"], folder).stdout;
    assert!(compared.contains('∞'), "{compared}");
    assert!(compared.contains("for release"), "{compared}");
    // Units that were counted are a reason not to release, wherever ε is shown.
    let dp8 = pipeline("echr-dp8.yml");
    let counted = ["--set", "model.privacy.units=null", "--until", "model"];
    run_pipeline(&[&[dp8.as_str()], &arguments[1..], &counted].concat(), folder);
    let compared = run("pft-pipeline", &["compare", "last", "--json"], folder).stdout;
    let compared: Value = serde_json::from_str(&compared).unwrap();
    let figures = &compared[0]["figures"];
    assert!(figures["epsilon"].is_f64() && figures["delta"].is_f64(), "{figures}");
    assert_eq!(figures["fit_for_release"], false);
    assert_eq!(figures["not_for_release"], serde_json::json!(["units_counted"]));
    let id = result["run"].as_str().unwrap();
    let reported = run("pft-pipeline", &["report", id, "-o", "r.html"], folder);
    assert_eq!(reported.code, 0, "{}", reported.stderr);
    let page = std::fs::read_to_string(folder.join("r.html")).unwrap();
    let frontier = page.split("id=\"frontier\"").nth(1).unwrap();
    let frontier = frontier.split("</section>").next().unwrap();
    assert_eq!(frontier.matches("<figure>").count(), 3);
    // Six models, each in each chart.
    assert_eq!(frontier.matches("<svg role=").count(), 3);
    for name in ["target_epsilon=inf/model, clipped, no noise", "echr-scrubbed/model, no diff"] {
        assert_eq!(frontier.matches(name).count(), 3, "{name}");
    }
    assert!(frontier.contains("∞") && frontier.contains("none"));
    every_figure_is_the_artifacts(&page, &result);
}

/// Looks each figure of a report's table of models up in what training left, and counts in tags.
fn every_figure_is_the_artifacts(page: &str, result: &Value) {
    let names = [
        "target_epsilon=1/model",
        "target_epsilon=inf/model",
        "echr-scrubbed/model",
        "echr-undefended/model",
    ];
    for name in names {
        let folder = folder_of(result, name);
        let (evaluation, privacy) =
            (read_json(&folder.join("evaluation.json")), read_json(&folder.join("privacy.json")));
        let (before, after) = (&evaluation["before"], &evaluation["after"]);
        let row = page.split(&format!("<th scope=\"row\">{name}</th>")).nth(1).unwrap();
        let row = row.split("</tr>").next().unwrap();
        let cells: Vec<&str> =
            row.split("</td>").filter_map(|cell| cell.rsplit('>').next()).collect();
        let epsilon = match privacy["epsilon"][0]["epsilon"].as_f64() {
            Some(epsilon) => {
                let shown: f64 = cells[0].parse().unwrap();
                // Four digits, and never less than is so.
                assert!(shown >= epsilon && shown < epsilon + 1.01e-4, "{name}: {shown}");
                cells[0].to_string()
            }
            None if name.contains("inf") => "∞".to_string(),
            None => "none".to_string(),
        };
        let delta = privacy["delta"].as_f64().map_or("–".to_string(), |delta| {
            let shown: f64 = cells[1].parse().unwrap();
            assert!(shown >= delta && shown < 1.001 * delta, "{name}: {shown}");
            cells[1].to_string()
        });
        let release = if privacy["fit_for_release"] == true { "yes" } else { "no" };
        let figure = |set: &Value, key: &str| format!("{:.3}", set[key].as_f64().unwrap());
        let nats = |set: &str| after[set]["pii_perplexity"].as_f64().unwrap().ln();
        let expected = [
            epsilon,
            delta,
            release.to_string(),
            figure(&before["held_out"], "perplexity"),
            figure(&after["held_out"], "perplexity"),
            figure(&after["held_out"], "pii_perplexity"),
            figure(&after["held_out"], "other_perplexity"),
            figure(&after["train"], "perplexity"),
            figure(&after["train"], "pii_perplexity"),
            format!("{:.4}", nats("held_out") - nats("train")),
        ];
        assert_eq!(cells[..10], expected.each_ref().map(String::as_str)[..], "{name}");
        let statement = privacy["statement"].as_str().unwrap();
        let escaped = statement.replace('&', "&amp;").replace('<', "&lt;");
        assert!(page.contains(&escaped), "{name}: {statement}");
    }
    let manifest = read_json(&folder_of(result, "echr-scrubbed/clean").join("manifest.json"));
    let labels = manifest["provenance"]["metrics"]["spans_by_label"].as_object().unwrap();
    assert!(!labels.is_empty());
    for (label, counted) in labels {
        let count = counted.as_u64().or(counted["replaced"].as_u64()).unwrap();
        let row = page.split(&format!("<th scope=\"row\">{label}</th>")).nth(1).unwrap();
        let row = row.split("</tr>").next().unwrap();
        assert!(row.contains(&format!(">{count}</td>")), "{label}: {count} is not in {row}");
    }
}

/// A flipped bit in tags would leave a name in the clear: no stage works on what is not as it was
/// sealed, by hand or in a pipeline.
#[test]
fn damaged_artifacts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let configs = root().join("configs");
    let config = |name: &str| configs.join(name).to_string_lossy().into_owned();
    let ingest = config("ingest/echr.yml");
    let made = at("made");
    let arguments = ["--config", &ingest, "--set", "synthetic.units=20", "--output", &made];
    let finished = run("ingest", &arguments, folder.path());
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    let scrub = |output: &str| {
        let (corpus, tags) = (at("made/corpus"), at("made/tags"));
        let (corpus, tags) = (format!("corpus={corpus}"), format!("tags={tags}"));
        let (config, output) = (config("scrub/mask.yml"), at(output));
        let arguments =
            ["--config", &config, "--input", &corpus, "--input", &tags, "--output", &output];
        run("scrub", &arguments, folder.path())
    };
    assert_eq!(scrub("clean").code, 0);
    let shard = folder.path().join("made/tags/tags-00000.parquet");
    let sound = std::fs::read(&shard).unwrap();
    for position in (4..sound.len()).step_by(sound.len() / 8) {
        let mut damaged = sound.clone();
        damaged[position] ^= 1;
        std::fs::write(&shard, damaged).unwrap();
        let refused = scrub("refused");
        assert_eq!(refused.code, 3, "byte {position}: {}", refused.stderr);
        assert!(refused.stderr.contains("tags-00000.parquet"), "{}", refused.stderr);
        assert!(!folder.path().join("refused/corpus").exists());
    }
    // A folder of outputs is not one of them.
    let (corpus, tagged) = (format!("corpus={made}"), at("tagged"));
    let refused = run("tag-pii", &["--input", &corpus, "--output", &tagged], folder.path());
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("made/corpus or "), "{}", refused.stderr);
}

#[test]
fn a_misspelt_stage_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yml");
    std::fs::write(&file, "pipeline: mine\nstages:\n  cases:\n    stage: ingst\n").unwrap();
    let refused = run("pft-pipeline", &["run", &file.to_string_lossy()], folder.path());
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for part in ["mine.yml:3: stage `ingst`", "did you mean `ingest`?"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
}

#[test]
fn describe_names_the_choices() {
    let folder = tempfile::tempdir().unwrap();
    let described = run("pft-pipeline", &["describe", "tag-pii"], folder.path()).stdout;
    for part in ["    - kind: spacy: ", "        model\n", "api_version", "- v3: "] {
        assert!(described.contains(part), "{part} is not in {described}");
    }
    let described = run("pft-pipeline", &["describe", "scrub"], folder.path()).stdout;
    assert!(described.contains("- pseudonym: The same placeholder"), "{described}");
}

/// Forty real judgments, scrubbed and trained with DP, in a pipeline of the user's own.
#[test]
fn real_judgments_go_through_every_stage() {
    let Some(data) = real_data() else {
        eprintln!("not run: PFT_REAL_DATA does not name the real corpora");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let configs = root().join("configs");
    let text = format!(
        "pipeline: real\nstages:\n  cases:\n    stage: ingest\n    set: {{ source: jsonl, path: {judgments}, id_column: item_id, text_column: text, limit: 40 }}\n  tags: {{ stage: tag-pii, config: {configs}/tag-pii/rules.yml, inputs: {{ corpus: cases.corpus }} }}\n  clean: {{ stage: scrub, config: {configs}/scrub/mask.yml, inputs: {{ corpus: cases.corpus, tags: tags }} }}\n  tokens:\n    stage: tokenize\n    config: {configs}/tokenize/smollm2.yml\n    inputs: {{ corpus: clean.corpus, tags: clean.tags }}\n    set: {{ block_size: 96 }}\n  model:\n    stage: train\n    config: {configs}/train/smollm2-lora.yml\n    inputs: {{ tokens: tokens }}\n    set: {{ max_steps: 20, batch_size: 2, privacy.noise_multiplier: 1.0, samples.prompts: [], evaluation.max_examples: 4, evaluation.max_train_examples: 4 }}\n  release: {{ stage: export, config: {configs}/export/hf.yml, inputs: {{ model: model }} }}\n",
        judgments = data.join("echr/judgments.jsonl").display(),
        configs = configs.display(),
    );
    std::fs::write(folder.path().join("real.yml"), text).unwrap();
    let result = run_pipeline(&["real.yml"], folder.path());
    let model = folder_of(&result, "model");
    assert_eq!(read_json(&model.join("privacy.json"))["steps"], 20);
    assert!(folder_of(&result, "release").join("model.safetensors").is_file());
    let manifest = read_json(&folder_of(&result, "clean").join("manifest.json"));
    let replaced = manifest["provenance"]["metrics"]["spans_replaced"].as_u64().unwrap();
    assert!(replaced > 1000, "{replaced} spans were replaced in forty judgments");
}
