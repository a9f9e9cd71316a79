//! `init CORPUS`: pipelines for one's own corpus. `init --from FILE`: a config of another tool as one.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{print, say};
use crate::RunError;
use crate::starter::choice::{Choice, Wishes, choose};
use crate::starter::pipelines::{self, Places};
use crate::starter::{corpus, files, moved};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The corpus: a file, a folder, a glob or an address, as `path` of `ingest`
    #[arg(required_unless_present = "from")]
    corpus: Option<String>,
    /// Turns a config of LLM-PFT or pii-leakage into a pipeline, and says what became of each of its keys
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The folder to write into; without it one in the working directory, called like the corpus
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// What the corpus holds, as `source` of `ingest`, where its name does not tell
    #[arg(long, value_name = "KIND")]
    source: Option<String>,
    /// The column that holds the text, instead of a guess
    #[arg(long, value_name = "COLUMN")]
    text_column: Option<String>,
    /// The column that says whom privacy is promised to, instead of a guess
    #[arg(long, value_name = "COLUMN", conflicts_with = "unit_is_document")]
    unit_column: Option<String>,
    /// Makes each document a unit, whatever columns there are
    #[arg(long)]
    unit_is_document: bool,
    /// The column that tells documents apart, instead of a guess
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// ε of the pipeline with differential privacy
    #[arg(long, value_name = "EPSILON", default_value_t = 8.0, value_parser = positive)]
    epsilon: f64,
    /// The model to start from: a Hugging Face folder or a GGUF file; without it SmolLM2-135M
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Ends standard output with one JSON object: what was written, chosen and warned of
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it must be a number".to_string())?;
    match number > 0.0 && number.is_finite() {
        true => Ok(number),
        false => Err("it must be greater than 0 and finite".to_string()),
    }
}

impl InitArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        if let Some(file) = &self.from {
            return self.run_from(file);
        }
        let corpus = self.corpus.as_deref().unwrap_or_default();
        let name = name_of(corpus);
        let folder = self.output.clone().unwrap_or_else(|| PathBuf::from(&name));
        let choice = self.choose(corpus)?;
        let mut warnings = choice.warnings();
        let (model, is_there) = match &self.model {
            Some(model) if !model.exists() => {
                let message =
                    format!("--model {}: there is no such file or folder", model.display());
                return Err(RunError::config(message));
            }
            Some(model) => (model.clone(), true),
            None => pipelines::model(&folder),
        };
        if !is_there {
            let model = model.display();
            warnings.push(format!("{model} is not there: `make models` of the checkout fetches it, or name another with --model"));
        }
        let recognizer = pipelines::recognizer(&folder);
        if recognizer.is_none() {
            warnings.push(
                "personal data is looked for by rules alone, which miss most names: `make models` of the \
                 checkout fetches a recognizer"
                    .to_string(),
            );
        }
        let corpus = corpus.to_string();
        let places = Places { name, folder, corpus, model, recognizer };
        let written = files::write(&places.folder, &pipelines::files(&choice, &places))?;
        self.tell(&choice, &written, &warnings);
        Ok(0)
    }

    fn choose(&self, corpus: &str) -> Result<Choice, RunError> {
        let survey = corpus::survey(corpus, self.source.as_deref())?;
        let wishes = Wishes {
            text: self.text_column.clone(),
            id: self.id_column.clone(),
            unit: self.unit_column.clone(),
            unit_is_document: self.unit_is_document,
            epsilon: self.epsilon,
        };
        choose(&survey, &wishes)
    }

    fn tell(&self, choice: &Choice, written: &[PathBuf], warnings: &[String]) {
        let column = |name: &Option<String>| name.clone().unwrap_or("none".to_string());
        say(&format!("{} documents ({})", choice.documents, choice.source));
        if choice.text.is_some() {
            say(&format!("  text: column {}", column(&choice.text)));
            say(&format!("  id: column {}", column(&choice.id)));
        }
        say(&match &choice.unit {
            Some(name) => format!(
                "  unit: column {name}: {} units, the largest of {} documents; without it each row would be \
                 a unit of its own",
                choice.units, choice.largest
            ),
            None => format!(
                "  unit: {} units, the largest of {} documents",
                choice.units, choice.largest
            ),
        });
        for warning in warnings {
            say(&format!("warning: {warning}"));
        }
        for path in written {
            say(&format!("wrote {}", path.display()));
        }
        if let Some(compare) = written.last() {
            say(&format!("next: pft-pipeline plan {}", compare.display()));
        }
        if self.json {
            let said = json!({
                "files": written, "documents": choice.documents, "units": choice.units,
                "text_column": choice.text, "unit_column": choice.unit, "id_column": choice.id,
                "least_privacy_units": choice.bound, "warnings": warnings,
            });
            print(&said.to_string());
        }
    }

    fn run_from(&self, file: &Path) -> Result<u8, RunError> {
        let name = name_of(&file.to_string_lossy());
        let folder = self.output.clone().unwrap_or_else(|| PathBuf::from(&name));
        let corpus = match &self.corpus {
            Some(corpus) => Some((corpus.clone(), self.choose(corpus)?)),
            None => None,
        };
        let moved = moved::read(file, &name, &folder, corpus.as_ref(), self.model.as_deref())?;
        let text = moved.pipeline();
        let written = files::write(&folder, &[(format!("{name}.yml"), text)])?;
        for key in &moved.keys {
            say(&format!("  {}: {}", key.name, key.fate));
        }
        for path in &written {
            say(&format!("wrote {}", path.display()));
        }
        if self.json {
            let keys: Vec<_> =
                moved.keys.iter().map(|key| json!({ "key": key.name, "fate": key.fate })).collect();
            print(&json!({ "files": written, "keys": keys }).to_string());
        }
        Ok(0)
    }
}

/// What a set of pipelines is called: the name of the file without what stands behind its first dot.
fn name_of(path: &str) -> String {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let stem = last.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    let plain = |c: char| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = stem.chars().map(plain).take(60).collect();
    match name.trim_matches('-') {
        "" => "mine".to_string(),
        name => name.to_string(),
    }
}
