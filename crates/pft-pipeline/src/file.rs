//! The pipeline file.
//!
//! ```yaml
//! pipeline: echr-dp8
//! stages:
//!   cases: { stage: ingest, config: ../configs/ingest/echr.yml }
//!   tags:  { stage: tag-pii, config: ../configs/tag-pii/default.yml, inputs: { corpus: cases } }
//! ```
//!
//! A pipeline may `include` others: their stages join the graph as `PIPELINE/STAGE`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pft_stage::ConfigSource;
use pft_stage::schema::suggestion;
use pft_stage::yaml::{Data, Key, Node};

use crate::RunError;
pub use crate::entry::{Connection, Setting, StageEntry};
use crate::limits::{self, Limits};
use crate::sweep::{self, Axis};

/// A pipeline and everything that it includes.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Its stages, in the order of the file; included pipelines first.
    pub stages: Vec<StageEntry>,
}

impl Pipeline {
    /// Reads a pipeline file and those that it includes.
    ///
    /// # Errors
    /// The first thing that is wrong, with file and line.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let mut open = Vec::new();
        read(path, &mut open)
    }

    /// Reads one pipeline, or several that are to be one graph: the stages of each are then called
    /// `PIPELINE/STAGE`, as where one includes them.
    ///
    /// # Errors
    /// The first thing that is wrong, with file and line.
    pub fn read_all(paths: &[PathBuf]) -> Result<Self, RunError> {
        if let [path] = paths {
            return Self::read(path);
        }
        let (mut names, mut stages) = (Vec::new(), Vec::new());
        for path in paths {
            let pipeline = Self::read(path)?;
            if names.contains(&pipeline.name) {
                let message = "another of these pipelines has the same name";
                return Err(RunError::config(format!(
                    "{}: {message}, `{}`",
                    path.display(),
                    pipeline.name
                )));
            }
            stages.extend(pipeline.stages.into_iter().map(|stage| stage.inside(&pipeline.name)));
            names.push(pipeline.name);
        }
        Ok(Self { name: names.join("+"), stages })
    }

    /// The same with further settings swept.
    ///
    /// # Errors
    /// When one of them names no stage.
    pub fn swept(self, axes: &[Axis]) -> Result<Self, RunError> {
        Ok(Self { stages: sweep::expand(self.stages, axes)?, ..self })
    }
}

fn read(path: &Path, open: &mut Vec<PathBuf>) -> Result<Pipeline, RunError> {
    let source = ConfigSource::read(path)
        .map_err(|m| RunError::config(m.replace("the config", "the pipeline")))?;
    let identity = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    if open.contains(&identity) {
        return Err(RunError::config(format!("{}: the pipeline includes itself", path.display())));
    }
    open.push(identity);
    let parser = Parser { path };
    let pipeline = parser.pipeline(&source.node, open)?;
    open.pop();
    Ok(pipeline)
}

struct Parser<'a> {
    path: &'a Path,
}

impl Parser<'_> {
    fn error(&self, line: u64, message: impl std::fmt::Display) -> RunError {
        RunError::config(format!("{}:{line}: {message}", self.path.display()))
    }

    fn mapping<'n>(&self, node: &'n Node, what: &str) -> Result<&'n [(Key, Node)], RunError> {
        match &node.data {
            Data::Mapping(entries) => Ok(entries),
            _ => Err(self.error(node.line, format!("{what} must be a mapping"))),
        }
    }

    fn string(&self, node: &Node, what: &str) -> Result<String, RunError> {
        node.as_str()
            .map(str::to_string)
            .ok_or_else(|| self.error(node.line, format!("{what} must be a string")))
    }

    fn known(&self, entries: &[(Key, Node)], known: &[&str]) -> Result<(), RunError> {
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                let hint = suggestion(&key.name, known);
                return Err(self.error(key.line, format!("unknown key `{}`{hint}", key.name)));
            }
        }
        Ok(())
    }

    /// Names stand in messages, in one line each, and become names of files.
    fn is_name(&self, line: u64, name: &str, what: &str) -> Result<(), RunError> {
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if name.trim().is_empty() || name.len() > 100 || name.contains(breaks) {
            let message = format!("{what} is {name:?}; write up to 100 letters on one line");
            return Err(self.error(line, message));
        }
        Ok(())
    }

    fn relative(&self, path: &str) -> PathBuf {
        let base = std::path::absolute(self.path).unwrap_or_else(|_| self.path.to_path_buf());
        let folder = base.parent().map(Path::to_path_buf).unwrap_or_default();
        PathBuf::from(pft_stage::OutsidePath::resolve(path, &folder))
    }

    fn pipeline(&self, root: &Node, open: &mut Vec<PathBuf>) -> Result<Pipeline, RunError> {
        let entries = self.mapping(root, "a pipeline")?;
        self.known(entries, &["pipeline", "description", "include", "stages", "sweep"])?;
        let name = match root.get("pipeline") {
            Some(node) => {
                let name = self.string(node, "`pipeline`")?;
                self.is_name(node.line, &name, "the pipeline's name")?;
                name
            }
            None => return Err(self.error(1, "`pipeline: NAME` is missing")),
        };
        let mut stages = Vec::new();
        let mut names = BTreeMap::new();
        if let Some(node) = root.get("include") {
            let Data::Sequence(items) = &node.data else {
                return Err(self.error(node.line, "`include` must be a list of pipeline files"));
            };
            for item in items {
                let path = self.relative(&self.string(item, "an included pipeline")?);
                let included = read(&path, open)?;
                if let Some(taken) = names.insert(included.name.clone(), path.clone()) {
                    let message = format!(
                        "{} is a pipeline named `{}`, as {} is: names of included pipelines must \
                         differ",
                        path.display(),
                        included.name,
                        taken.display()
                    );
                    return Err(self.error(item.line, message));
                }
                stages.extend(included.stages.into_iter().map(|s| s.inside(&included.name)));
            }
        }
        if let Some(node) = root.get("stages") {
            for (key, value) in self.mapping(node, "`stages`")? {
                stages.push(self.stage(key, value)?);
            }
        }
        if stages.is_empty() {
            return Err(self.error(1, "the pipeline has no stages"));
        }
        Ok(Pipeline { name, stages: sweep::expand(stages, &self.axes(root)?)? })
    }

    fn axes(&self, root: &Node) -> Result<Vec<Axis>, RunError> {
        let Some(node) = root.get("sweep") else { return Ok(Vec::new()) };
        let place = |line: u64| format!("{}:{line}", self.path.display());
        let axes = self.mapping(node, "`sweep`")?.iter();
        axes.map(|(key, values)| Axis::new(&key.name, values, place(key.line))).collect()
    }

    fn stage(&self, key: &Key, node: &Node) -> Result<StageEntry, RunError> {
        self.is_name(key.line, &key.name, "a stage's name")?;
        if key.name.contains(['.', '/']) {
            return Err(self.error(key.line, format!("stage name `{}` holds `.` or `/`", key.name)));
        }
        let entries = self.mapping(node, &format!("stage `{}`", key.name))?;
        self.known(entries, &[&["stage", "config", "inputs", "set"][..], &limits::KEYS].concat())?;
        let stage = match node.get("stage") {
            Some(stage) => self.string(stage, "`stage`")?,
            None => {
                let message = format!("stage `{}` lacks `stage: NAME`, its executable", key.name);
                return Err(self.error(key.line, message));
            }
        };
        // A path, rather than a name, is relative to the file.
        let stage = if stage.contains('/') {
            self.relative(&stage).to_string_lossy().into_owned()
        } else {
            stage
        };
        let config = match node.get("config") {
            Some(config) => Some(self.relative(&self.string(config, "`config`")?)),
            None => None,
        };
        let mut inputs = Vec::new();
        if let Some(node) = node.get("inputs") {
            for (port, from) in self.mapping(node, "`inputs`")? {
                let from = self.string(from, "an input")?;
                let (from, from_port) = match from.split_once('.') {
                    Some((stage, port)) => (stage.to_string(), Some(port.to_string())),
                    None => (from, None),
                };
                inputs.push(Connection {
                    port: port.name.clone(),
                    from,
                    from_port,
                    line: port.line,
                });
            }
        }
        let mut set = Vec::new();
        if let Some(node) = node.get("set") {
            for (key, value) in self.mapping(node, "`set`")? {
                set.push(Setting { key: key.name.clone(), value: value.clone(), line: key.line });
            }
        }
        let limits = Limits::read(node).map_err(|(line, message)| self.error(line, message))?;
        Ok(StageEntry {
            name: key.name.clone(),
            stage,
            config,
            inputs,
            set,
            limits,
            file: self.path.to_path_buf(),
            line: key.line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pipeline, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.yml");
        std::fs::write(&path, text).unwrap();
        Pipeline::read(&path).map_err(|error| error.message)
    }

    #[test]
    fn a_pipeline_is_read_with_its_connections() {
        let pipeline = parse(
            "pipeline: p\nstages:\n  a: { stage: ingest }\n  b:\n    stage: scrub\n    inputs: { corpus: a.corpus }\n    set: { mode: mask, x.y: 2 }\n",
        )
        .unwrap();
        let b = &pipeline.stages[1];
        assert_eq!(
            (b.inputs[0].from.as_str(), b.inputs[0].from_port.as_deref()),
            ("a", Some("corpus"))
        );
        assert_eq!(b.set[1].key, "x.y");
        assert_eq!(b.line, 4);
    }

    #[test]
    fn mistakes_name_the_line_and_the_nearest_key() {
        let message = parse("pipeline: p\nstages:\n  a: { stag: ingest }\n").unwrap_err();
        assert!(
            message.contains("p.yml:3: unknown key `stag`; did you mean `stage`?"),
            "{message}"
        );
        let message = parse("pipeline: p\nstages:\n  a: {}\n").unwrap_err();
        assert!(message.contains("p.yml:3: stage `a` lacks"), "{message}");
        let message = parse("stages: {}\n").unwrap_err();
        assert!(message.contains("`pipeline: NAME` is missing"), "{message}");
    }

    #[test]
    fn names_are_of_one_line() {
        let long = "a".repeat(101);
        for name in ["a\\nb", "a\\u2028b", "a\\tb", "a\\e[1mb", "", " ", &long] {
            let message = parse(&format!("pipeline: p\nstages:\n  \"{name}\": {{ stage: x }}\n"));
            let message = message.unwrap_err();
            assert!(message.contains("p.yml:3: a stage's name is"), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
            let message = parse(&format!("pipeline: \"{name}\"\nstages:\n  a: {{ stage: x }}\n"));
            let message = message.unwrap_err();
            assert!(message.contains("p.yml:1: the pipeline's name is"), "{message}");
        }
    }

    #[test]
    fn an_included_pipeline_keeps_its_own_names() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "one.yml",
            "pipeline: one\nstages:\n  a: { stage: x }\n  b: { stage: y, inputs: { i: a } }\n",
        );
        write("both.yml", "pipeline: both\ninclude: [one.yml]\n");
        write("loop.yml", "pipeline: loop\ninclude: [loop.yml]\n");
        let both = Pipeline::read(&folder.path().join("both.yml")).unwrap();
        assert_eq!(both.stages[1].name, "one/b");
        assert_eq!(both.stages[1].inputs[0].from, "one/a");
        let error = Pipeline::read(&folder.path().join("loop.yml")).unwrap_err();
        assert!(error.message.contains("includes itself"));
        // A copy whose name was left would get the first one's inputs.
        write("two.yml", "pipeline: one\nstages:\n  a: { stage: z }\n");
        write("copies.yml", "pipeline: copies\ninclude:\n  - one.yml\n  - two.yml\n");
        let error = Pipeline::read(&folder.path().join("copies.yml")).unwrap_err();
        let message = error.message;
        assert!(message.contains("copies.yml:4") && message.contains("one.yml"), "{message}");
    }
}
