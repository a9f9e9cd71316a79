//! `show RUN|ARTIFACT|STAGE`: what a run did, or what an artifact holds and where it came from.

use clap::Args;
use pft_artifact::{
    ArtifactError, CorpusReader, Kind, Manifest, Store, TagsReader, TokensReader, columns_of,
};
use pft_stage::schema::suggestion;
use serde::Serialize;
use serde_json::{Value, json};

use super::{StoreArgument, plain, print};
use crate::figures;
use crate::lineage::Makers;
use crate::reason::flatten;
use crate::record::RunRecord;
use crate::runs::{State, all};
use crate::table::{row, short, size, table, time};
use crate::{RunError, runs};

/// How many rows `--show-text` shows.
const ROWS: usize = 5;

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// A run (its id, the beginning of it, or `last`), an artifact (its hash, or the beginning of
    /// it), or a stage as PIPELINE/STAGE or STAGE: what it made last
    what: String,
    #[command(flatten)]
    store: StoreArgument,
    /// Shows the first rows too. They hold text of documents
    #[arg(long)]
    show_text: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

impl ShowArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let store = self.store.existing()?;
        let is_run = self.what == "last"
            || runs::all(&store).iter().any(|run| run.id.starts_with(&self.what));
        if is_run {
            let record = runs::record(&store, &self.what)?;
            print(&if self.json { json!(record).to_string() } else { run_text(&record) });
            return Ok(0);
        }
        let artifacts = find_artifacts(&store, &self.what)?;
        let makers = Makers::of(&store);
        let mut values = Vec::new();
        for (name, hash) in artifacts {
            let shown = Shown::new(&store, &makers, name, hash)?;
            if self.json {
                values.push(shown.json(self.show_text)?);
            } else {
                print(&shown.text(self.show_text)?);
            }
        }
        if self.json {
            print(&json!(values).to_string());
        }
        Ok(0)
    }
}

/// The artifacts that are meant: by the beginning of a hash, or by a stage that made them last.
fn find_artifacts(store: &Store, what: &str) -> Result<Vec<(String, String)>, RunError> {
    let is_hash = what.len() >= 4 && what.chars().all(|c| c.is_ascii_hexdigit());
    if is_hash {
        let mut found = store.artifacts();
        found.retain(|hash| hash.starts_with(what));
        if found.len() > 1 {
            let message = format!("{} artifacts begin with `{what}`", found.len());
            return Err(RunError::config(message));
        }
        if let Some(hash) = found.pop() {
            return Ok(vec![(short(&hash), hash)]);
        }
    }
    let mut known = Vec::new();
    for run in all(store).into_iter().rev() {
        let State::Ended(record) = run.state else { continue };
        for stage in &record.stages {
            let full = format!("{}/{}", record.pipeline, stage.name);
            let last = stage.name.rsplit('/').next();
            if full == what || stage.name == what || last == Some(what) {
                let of = |port: &String| format!("{full}.{port}");
                let made: Vec<(String, String)> =
                    stage.outputs.iter().map(|(port, hash)| (of(port), hash.clone())).collect();
                if !made.is_empty() {
                    return Ok(made);
                }
            }
            known.push(full);
        }
    }
    known.sort();
    known.dedup();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = suggestion(what, &known);
    Err(RunError::config(format!("there is no run, artifact or stage `{what}`{hint}")))
}

fn run_text(record: &RunRecord) -> String {
    let mut rows = vec![row(["stage", "", "time", "threads", "memory", "artifact", "why"])];
    for stage in &record.stages {
        rows.push(vec![
            stage.name.clone(),
            stage.status.clone(),
            if stage.started.is_some() { time(stage.seconds) } else { String::new() },
            stage.threads.map(|threads| threads.to_string()).unwrap_or_default(),
            stage.peak_memory.map(size).unwrap_or_default(),
            stage.outputs.values().next().map(|hash| short(hash)).unwrap_or_default(),
            stage.reason.clone().unwrap_or_default(),
        ]);
    }
    let settings = if record.set.is_empty() {
        String::new()
    } else {
        format!("settings: {}\n", record.set.join(" "))
    };
    format!(
        "{} of {}: {}, {}, on {} cores, {} at once\nfile: {}\n{settings}\n{}",
        record.run,
        record.pipeline,
        plain(&json!(record.status)),
        time(record.seconds),
        record.cores,
        record.jobs,
        record.file.display(),
        table(&rows)
    )
}

struct Shown<'a> {
    store: &'a Store,
    makers: &'a Makers,
    name: String,
    hash: String,
    manifest: Manifest,
}

impl<'a> Shown<'a> {
    fn new(
        store: &'a Store,
        makers: &'a Makers,
        name: String,
        hash: String,
    ) -> Result<Self, RunError> {
        let manifest = Manifest::open(&store.artifact_path(&hash))?;
        Ok(Self { store, makers, name, hash, manifest })
    }

    fn text(&self, show_text: bool) -> Result<String, RunError> {
        let manifest = &self.manifest;
        let bytes = manifest.files.iter().map(|file| file.size).sum();
        let mut text = format!(
            "{}: {} version {}, {} rows, {} in {} files\n{}\n",
            self.name,
            manifest.kind,
            manifest.schema_version,
            manifest.rows,
            size(bytes),
            manifest.files.len(),
            self.store.artifact_path(&self.hash).display()
        );
        if let Some(figures) = figures::of(self.store, &self.hash) {
            text += &format!("{}\n", figures.line());
        }
        for (title, rows) in [("columns", self.columns()), ("settings", self.settings())] {
            if !rows.is_empty() {
                text += &format!("\n{title}\n{}\n", table(&rows));
            }
        }
        text += "\nlineage\n";
        for step in self.makers.lineage(&self.hash) {
            let port = step.port.map(|port| format!("{port}: ")).unwrap_or_default();
            let indent = "  ".repeat(step.depth + 1);
            let (stage, revision, hash) = (step.stage, step.revision, short(&step.artifact));
            text += &format!("{indent}{port}{stage} (revision {revision}) {hash}\n");
            for (file, hash) in step.files.iter().take(ROWS) {
                text += &format!("{indent}  {file} {}\n", short(hash));
            }
            if step.files.len() > ROWS {
                text += &format!("{indent}  and {} more files\n", step.files.len() - ROWS);
            }
        }
        if show_text {
            text += "\nfirst rows\n";
            for value in self.rows()? {
                text += &format!("{value}\n");
            }
        }
        Ok(text)
    }

    fn json(&self, show_text: bool) -> Result<Value, RunError> {
        let steps: Vec<Value> = self
            .makers
            .lineage(&self.hash)
            .into_iter()
            .map(|step| {
                json!({
                    "artifact": step.artifact, "stage": step.stage, "revision": step.revision,
                    "port": step.port, "depth": step.depth, "files": step.files,
                })
            })
            .collect();
        let mut value = json!({
            "name": self.name,
            "artifact": self.hash,
            "path": self.store.artifact_path(&self.hash),
            "kind": self.manifest.kind,
            "schema_version": self.manifest.schema_version,
            "rows": self.manifest.rows,
            "files": self.manifest.files,
            "columns": self.columns(),
            "metrics": self.manifest.provenance["metrics"],
            "config": self.makers.maker(&self.hash).map(|(_, action)| &action.key_parts["config"]),
            "key": self.makers.maker(&self.hash).map(|(key, _)| key),
            "lineage": steps,
        });
        if show_text {
            value["first_rows"] = json!(self.rows()?);
        }
        Ok(value)
    }

    fn columns(&self) -> Vec<Vec<String>> {
        let columns = columns_of(self.manifest.kind);
        columns.into_iter().map(|(name, kind)| vec![name, kind]).collect()
    }

    fn settings(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        if let Some((_, action)) = self.makers.maker(&self.hash) {
            flatten(&action.key_parts["config"], "", &mut |key, value| {
                rows.push(vec![key, plain(value)]);
            });
        }
        rows
    }

    /// The first rows, as JSON. They hold text of documents.
    fn rows(&self) -> Result<Vec<Value>, RunError> {
        let folder = self.store.artifact_path(&self.hash);
        fn first<R: Serialize>(
            rows: impl Iterator<Item = Result<R, ArtifactError>>,
        ) -> Result<Vec<Value>, RunError> {
            rows.take(ROWS).map(|row| Ok(json!(row?))).collect()
        }
        match self.manifest.kind {
            Kind::Corpus => first(CorpusReader::open(&folder)?.iter()),
            Kind::Tags => first(TagsReader::open(&folder)?.iter()),
            Kind::Tokens => first(TokensReader::open(&folder)?.iter()),
            Kind::Model | Kind::Bundle => Ok(Vec::new()),
        }
    }
}
