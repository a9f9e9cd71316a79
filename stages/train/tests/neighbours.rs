//! Nothing couples two units: a corpus goes through the real stages with and without one unit, and
//! whatever belongs to any other unit comes out the same, down to its gradients.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use pft_artifact::{CorpusReader, TagsReader, TokensReader};
use pft_dp::accounting::Phase;
use pft_dp::{Clipping, Mechanism, Plan, Randomness, RunSecret};
use pft_lm::config::ModelConfig;
use pft_lm::model::{LanguageModel, init};
use pft_tests::{root, run};
use train::data::{Data, Sequence, Unit, batch_of};
use train::private::UnitGradients;

const GPT2: &str = r#"{"model_type":"gpt2","architectures":["GPT2LMHeadModel"],"vocab_size":1024,
    "n_embd":32,"n_layer":2,"n_head":2,"n_positions":128,"layer_norm_epsilon":1e-5}"#;
/// The clipping norm.
const BOUND: f64 = 0.5;

/// Runs a stage by hand, as a person would.
fn stage(name: &str, arguments: &[&str], folder: &Path) {
    let finished = run(name, arguments, folder);
    assert_eq!(finished.code, 0, "{name}: {}", finished.stderr);
}

/// Fictional judgments as JSON Lines; `without` is left out.
fn write_corpus(synthetic: &Path, path: &Path, without: Option<&str>) {
    let mut lines = String::new();
    for document in CorpusReader::open(synthetic).unwrap().iter() {
        let document = document.unwrap();
        if Some(document.unit_id.as_str()) != without {
            let line = serde_json::json!({
                "id": document.doc_id, "case": document.unit_id, "text": document.text,
            });
            writeln!(lines, "{line}").unwrap();
        }
    }
    std::fs::write(path, lines).unwrap();
}

/// Ingests, tags, scrubs and tokenizes `NAME.jsonl`, all below the folder `NAME`.
fn process(folder: &Path, name: &str, mode: &str) {
    let config = |path: &str| root().join("configs").join(path).to_string_lossy().into_owned();
    let at = |place: &str| format!("{name}/{place}");
    std::fs::create_dir_all(folder.join(name)).unwrap();
    let ingest = format!(
        "source: jsonl\npath: {name}.jsonl\nid_column: id\ntext_column: text\nunit_column: case\n\
         split: {{ train: 0.8, validation: 0.1, test: 0.1 }}\n"
    );
    std::fs::write(folder.join(format!("{name}.yml")), ingest).unwrap();
    stage("ingest", &["--config", &format!("{name}.yml"), "--output", &at("cases")], folder);
    let corpus = format!("corpus={}", at("cases/corpus"));
    let tagging = config("tag-pii/default.yml");
    stage("tag-pii", &["--config", &tagging, "--input", &corpus, "--output", &at("tags")], folder);
    let tags = format!("tags={}", at("tags"));
    let scrubbing = config(&format!("scrub/{mode}.yml"));
    stage(
        "scrub",
        &[
            // Numbers in place of ids would move on, and every run has another key.
            "--set",
            "ids=keep",
            "--set",
            "fixed_seed_not_for_release=1",
            "--config",
            &scrubbing,
            "--input",
            &corpus,
            "--input",
            &tags,
            "--output",
            &at("clean"),
        ],
        folder,
    );
    let tokenizer = root().join("tests/fixtures/tokenizers/gpt-2.gguf");
    let tokenizing = format!("tokenizer: {}\nmode: blocks\nblock_size: 48\n", tokenizer.display());
    std::fs::write(folder.join("tokenize.yml"), tokenizing).unwrap();
    let (corpus, tags) =
        (format!("corpus={}", at("clean/corpus")), format!("tags={}", at("clean/tags")));
    stage(
        "tokenize",
        &[
            "--config",
            "tokenize.yml",
            "--input",
            &corpus,
            "--input",
            &tags,
            "--output",
            &at("tokens"),
        ],
        folder,
    );
}

/// What the rooms made of each document, by its id, as text that shows every bit of it.
fn made(folder: &Path, without: Option<&str>) -> BTreeMap<String, Vec<String>> {
    let mut made: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut units = BTreeMap::new();
    for place in ["cases/corpus", "clean/corpus"] {
        for document in CorpusReader::open(&folder.join(place)).unwrap().iter() {
            let document = document.unwrap();
            units.insert(document.doc_id.clone(), document.unit_id.clone());
            let shown = format!("{document:?}");
            made.entry(document.doc_id).or_default().push(shown);
        }
    }
    for place in ["tags", "clean/tags"] {
        for tagged in TagsReader::open(&folder.join(place)).unwrap().iter() {
            let tagged = tagged.unwrap();
            let shown = format!("{tagged:?}");
            made.entry(tagged.doc_id).or_default().push(shown);
        }
    }
    for example in TokensReader::open(&folder.join("tokens")).unwrap().iter() {
        let example = example.unwrap();
        let shown = format!("{example:?}");
        made.entry(example.doc_id).or_default().push(shown);
    }
    made.retain(|document, _| units.get(document).map(String::as_str) != without);
    made
}

fn mechanism() -> Mechanism {
    let plan = Plan {
        declared_units: 40,
        units_were_counted: false,
        phase: Phase { sample_rate: 0.5, noise_multiplier: 1.0, steps: 8 },
        delta: 1e-3,
        clipping: Clipping { max_grad_norm: BOUND, ..Clipping::default() },
        max_examples_per_unit: 2,
        noise_draws: 1,
    };
    Mechanism::new(plan, false).unwrap()
}

/// A step over a corpus: the names and gradient norms of the units drawn, and their clipped sum.
struct Step {
    norms: BTreeMap<String, f64>,
    sum: Vec<f32>,
}

fn steps(data: &Data, model: &mut LanguageModel) -> Vec<Step> {
    let mechanism = mechanism();
    let secret = RunSecret::new(Randomness::FixedSeed(5)).unwrap();
    let names: Vec<&str> = data.train.iter().map(|unit| unit.unit_id.as_str()).collect();
    let mut sampler = mechanism.sampler(&secret, &names).unwrap();
    let mut gradients = UnitGradients::new(model, &mechanism);
    (0..mechanism.plan().phase.steps)
        .map(|step| {
            let drawn = sampler.sample(step);
            let groups: Vec<Vec<&Sequence>> = drawn
                .iter()
                .map(|&index| {
                    let Unit { examples, .. } = &data.train[index];
                    let chosen = sampler.examples(step, index, examples.len());
                    chosen.into_iter().map(|example| &examples[example]).collect()
                })
                .collect();
            // One pass, so that each unit has all the others for batch mates.
            gradients.expect(&groups.iter().map(Vec::len).collect::<Vec<_>>());
            model.forward_backward(&batch_of(&groups).unwrap(), 0, &mut gradients).unwrap();
            gradients.clip().unwrap();
            let drawn = drawn.into_iter().map(|index| names[index].to_string());
            let norms = drawn.zip(gradients.unit_norms()).collect();
            Step { norms, sum: gradients.take().tensors().concat() }
        })
        .collect()
}

#[test]
fn deleting_one_unit_leaves_every_other_unit_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(
        folder.join("synthetic.yml"),
        "source: synthetic\nsynthetic: { kind: echr, units: 30, seed: 3 }\n",
    )
    .unwrap();
    stage("ingest", &["--config", "synthetic.yml", "--output", "synthetic"], folder);
    let synthetic: PathBuf = folder.join("synthetic/corpus");
    let mut units: Vec<String> =
        CorpusReader::open(&synthetic).unwrap().iter().map(|d| d.unwrap().unit_id).collect();
    units.dedup();
    write_corpus(&synthetic, &folder.join("all.jsonl"), None);

    for mode in ["pseudonym", "surrogate"] {
        process(folder, "all", mode);
        let config = ModelConfig::from_json(GPT2).unwrap();
        let parameters = init::random(&config, 2).unwrap();
        let mut model = LanguageModel::new(config, parameters, None, 2).unwrap();
        let all = Data::read(&folder.join("all/tokens"), 1024, 128).unwrap();
        let with = steps(&all, &mut model);
        let mut met = 0;
        // The first, one in the middle, and the last.
        for deleted in [&units[0], &units[units.len() / 2], &units[units.len() - 1]] {
            write_corpus(&synthetic, &folder.join("fewer.jsonl"), Some(deleted));
            process(folder, "fewer", mode);
            let expected = made(&folder.join("all"), Some(deleted));
            let found = made(&folder.join("fewer"), None);
            assert!(expected.len() > 100, "{} documents", expected.len());
            assert_eq!(expected.len(), found.len());
            for (document, expected) in &expected {
                assert_eq!(expected, &found[document], "{mode}, {document}, without {deleted}");
            }

            let fewer = Data::read(&folder.join("fewer/tokens"), 1024, 128).unwrap();
            for (with, without) in with.iter().zip(steps(&fewer, &mut model)) {
                let mut others = with.norms.clone();
                let took_part = others.remove(deleted).is_some();
                assert!(others.keys().eq(without.norms.keys()), "other units were drawn");
                for (unit, norm) in &others {
                    let apart = (norm - without.norms[unit]).abs();
                    assert!(apart <= 1e-6 * norm, "{unit}: {norm} and {}", without.norms[unit]);
                }
                let moved = with.sum.iter().zip(&without.sum);
                let moved = moved.map(|(w, o)| f64::from(w - o).powi(2)).sum::<f64>().sqrt();
                if took_part {
                    met += 1;
                    assert!(moved <= BOUND * (1.0 + 1e-5), "the sum moved by {moved}");
                } else {
                    assert!(moved <= 1e-6, "the sum moved by {moved} without reason");
                }
            }
            std::fs::remove_dir_all(folder.join("fewer")).unwrap();
        }
        assert!(met > 0, "no deleted unit was ever drawn");
        std::fs::remove_dir_all(folder.join("all")).unwrap();
    }
}
