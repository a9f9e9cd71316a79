//! The files of a set of pipelines: undefended, scrubbed, with DP, and all three to compare.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::choice::Choice;
use super::files::{File, relative};
use super::quoted;

/// Where things lie.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The name of the set.
    pub(crate) name: String,
    /// The folder that the files will lie in.
    pub(crate) folder: PathBuf,
    /// The corpus: a file, folder, glob or address.
    pub(crate) corpus: String,
    /// The model to start from.
    pub(crate) model: PathBuf,
    /// A recognizer of names, where there is one.
    pub(crate) recognizer: Option<PathBuf>,
}

/// Where `make models` puts the model and the recognizer that the shipped configs use.
const MODEL: &str = "data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
const RECOGNIZER: &str = "data/models/en_core_web_sm";

/// A file of the checkout, looked for from the working directory, the folder and the runner upwards.
fn shipped(name: &str, folder: &Path) -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let runner = std::env::current_exe().ok();
    let folder = std::path::absolute(folder).ok();
    let starts = [here, folder, runner].into_iter().flatten();
    let mut above =
        starts.flat_map(|start| start.ancestors().map(Path::to_path_buf).collect::<Vec<_>>());
    above.find_map(|start| Some(start.join(name)).filter(|path| path.exists()))
}

/// The recognizer of names that the shipped configs use, where it was fetched.
pub(crate) fn recognizer(folder: &Path) -> Option<PathBuf> {
    shipped(RECOGNIZER, folder)
}

/// The model that the shipped configs use, and whether it was fetched.
pub(crate) fn model(folder: &Path) -> (PathBuf, bool) {
    shipped(MODEL, folder).map_or((MODEL.into(), false), |path| (path, true))
}

impl Places {
    /// A path as the files of the folder name it.
    fn named(&self, path: &Path) -> String {
        quoted(&relative(&self.folder, path).to_string_lossy())
    }

    fn corpus(&self) -> String {
        match self.corpus.contains("://") {
            true => quoted(&self.corpus),
            false => self.named(Path::new(&self.corpus)),
        }
    }
}

/// All files of the set.
pub(crate) fn files(choice: &Choice, places: &Places) -> Vec<File> {
    let file = |name: &str, text: String| (name.to_string(), text);
    vec![
        file("corpus.yml", corpus(choice, places)),
        file("tag-pii.yml", tag_pii(places)),
        file("tokenize.yml", tokenize(places)),
        file("train.yml", train(places)),
        file("undefended.yml", undefended(places)),
        file("scrubbed.yml", scrubbed(places)),
        file("dp.yml", dp(choice, places)),
        file("compare.yml", compare(places)),
    ]
}

fn corpus(choice: &Choice, places: &Places) -> String {
    let mut text = format!(
        "# What the texts are: {} documents of {} units, as counted when this file was written.\n\
         source: {}\npath: {}\n",
        choice.documents,
        choice.units,
        choice.source,
        places.corpus()
    );
    if let Some(column) = &choice.text {
        let _ = writeln!(text, "text_column: {}", quoted(column));
    }
    if let Some(column) = &choice.id {
        let _ = writeln!(text, "# Tells documents apart.\nid_column: {}", quoted(column));
    }
    let others = match &choice.others[..] {
        [] => String::new(),
        others => format!("# Columns that could say it as well: {}.\n", others.join(", ")),
    };
    match (&choice.unit, &choice.text) {
        (Some(column), _) => {
            let _ = write!(
                text,
                "# Whom privacy is promised to: all documents with one value here are one unit. Without this\n\
                 # line each row would be a unit of its own, and a person with k rows would have k × ε.\n\
                 {others}unit_column: {}\n",
                quoted(column)
            );
        }
        (None, Some(_)) => {
            let _ = write!(
                text,
                "# Whom privacy is promised to: here each row is a unit of its own, and a person with k rows\n\
                 # has k × ε. Name a column that says who it is, if you have one.\n{others}# unit_column: customer_id\n"
            );
        }
        (None, None) => {}
    }
    text + "# Units are divided as a whole: 45 % train, 10 % validation, 45 % test.\n# split: { train: 0.45, validation: 0.1, test: 0.45 }\n"
}

fn tag_pii(places: &Places) -> String {
    let mut text = "# How personal data is found. docs/own-recognizer.md says how to measure what is found in your texts.\n\
                    backends:\n  # Addresses of mail and web, numbers of phones, cards and accounts, dates, and names behind titles.\n  - kind: rules\n"
        .to_string();
    match &places.recognizer {
        Some(path) => {
            let _ = write!(
                text,
                "  # Names of people, places and organisations in English text.\n  - kind: spacy\n    model: {}\n",
                places.named(path)
            );
        }
        None => {
            text += "  # Rules alone miss most names. `make models` fetches a recognizer for English:\n  \
                     # - kind: spacy\n  #   model: data/models/en_core_web_sm\n";
        }
    }
    text
}

fn tokenize(places: &Places) -> String {
    format!(
        "# The tokenizer of the model that training starts from.\ntokenizer: {}\n\
         # Whole documents, cut into blocks; `truncate` keeps one example of each.\n\
         mode: blocks\nblock_size: 256\n",
        places.named(&places.model)
    )
}

fn train(places: &Places) -> String {
    format!(
        "# The same for all three models, so that they can be compared.\nbase_model: {}\n\
         # Adapters instead of the whole model: less memory, and less to hide by noise. Names of layers are\n\
         # those of LLaMA's family; GPT-2 has [c_attn].\n\
         lora: {{ rank: 8, alpha: 16, target_modules: [q_proj, v_proj] }}\n\
         learning_rate: 1.0e-3\n\
         # A short run to see that everything works. For a real one take this out and set `epochs`.\n\
         max_steps: 30\nbatch_size: 8\n",
        places.named(&places.model)
    )
}

/// The stages that all three have in common, so that they run once.
const SHARED: &str = "  corpus:   { stage: ingest,   config: corpus.yml }\n  \
                      tags:     { stage: tag-pii,  config: tag-pii.yml, inputs: { corpus: corpus.corpus } }\n";
const TOKENS: &str = "  tokens:   { stage: tokenize, config: tokenize.yml, inputs: { corpus: corpus.corpus, tags: tags } }\n";
const RELEASE: &str =
    "  release:  { stage: export,   inputs: { model: model }, set: { format: hf } }\n";

fn undefended(places: &Places) -> String {
    format!(
        "# Fine-tunes on the texts as they are: the model that leaks, to compare the others with.\n\
         pipeline: {}\nstages:\n{SHARED}{TOKENS}  \
         model:    {{ stage: train,    config: train.yml, inputs: {{ tokens: tokens }} }}\n{RELEASE}",
        quoted(&format!("{}-undefended", places.name))
    )
}

fn scrubbed(places: &Places) -> String {
    format!(
        "# Masks personal data before training, and judges the model on unscrubbed held-out text (`held_out`),\n\
         # so that its figures can stand beside those of the other models.\n\
         pipeline: {}\nstages:\n{SHARED}  \
         # mask, label, pseudonym or surrogate: `pft-pipeline describe scrub`.\n  \
         clean:    {{ stage: scrub,    inputs: {{ corpus: corpus.corpus, tags: tags }}, set: {{ mode: mask }} }}\n  \
         tokens:   {{ stage: tokenize, config: tokenize.yml, inputs: {{ corpus: clean.corpus, tags: clean.tags }} }}\n  \
         held_out:\n    stage: tokenize\n    config: tokenize.yml\n    \
         inputs: {{ corpus: corpus.corpus, tags: tags }}\n    set: {{ splits: [validation, test] }}\n  \
         model:    {{ stage: train,    config: train.yml, inputs: {{ tokens: tokens, evaluation: held_out }} }}\n{RELEASE}",
        quoted(&format!("{}-scrubbed", places.name))
    )
}

fn dp(choice: &Choice, places: &Places) -> String {
    let mut warnings = String::new();
    for warning in choice.warnings() {
        let _ = writeln!(warnings, "# - {warning}.");
    }
    format!(
        "# Fine-tunes with DP-SGD: ε = {epsilon} for each unit.\n# What to know of it:\n{warnings}\
         # - people whom texts of several units speak of are a group too: the promise is for the unit.\n\
         pipeline: {name}\nstages:\n{SHARED}{TOKENS}  \
         model:\n    stage: train\n    config: train.yml\n    inputs: {{ tokens: tokens }}\n    set:\n      \
         privacy.target_epsilon: {epsilon}\n      \
         # The guarantee is over data with at most so many units, and more are refused. Declare a number that\n      \
         # you know without counting, such as all customers that you ever had; training needs {bound} or more.\n      \
         # Without it the units are counted, which tells of who is there: the model is then not for release.\n      \
         # privacy.units:\n      \
         # Units drawn for a step, on average.\n      batch_size: {batch}\n      \
         # Your declaration that the base model has seen none of these units in any training before; without\n      \
         # it the model is not for release.\n      # base_has_seen: nothing\n{RELEASE}",
        epsilon = choice.epsilon,
        name = quoted(&format!("{}-dp", places.name)),
        bound = choice.bound,
        batch = choice.batch_size(),
    )
}

fn compare(places: &Places) -> String {
    format!(
        "# The three answers on the same texts: what they have in common runs once. Then\n\
         # `pft-pipeline compare last` puts the models side by side, `pft-pipeline report` draws them.\n\
         pipeline: {}\ninclude: [undefended.yml, scrubbed.yml, dp.yml]\n",
        quoted(&format!("{}-compare", places.name))
    )
}
