//! Running the binary in a temporary folder, as a person would.

use std::path::{Path, PathBuf};
use std::process::Command;

use pft_artifact::{CorpusReader, Document};
use tempfile::TempDir;

/// A folder of its own for one test.
pub(crate) struct Workbench {
    folder: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stderr: String,
    pub(crate) output: PathBuf,
}

impl Workbench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Runs ingest with a config file of this text.
    pub(crate) fn run(&self, config: &str) -> Finished {
        self.run_with(config, &[])
    }

    /// The same with environment variables.
    pub(crate) fn run_with(&self, config: &str, environment: &[(&str, &str)]) -> Finished {
        let config_path = self.write("config.yml", config);
        let number = std::fs::read_dir(self.path()).unwrap().count();
        let output = self.path().join(format!("out-{number}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_ingest"));
        let hub = ["HF_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE"];
        let proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
        for name in hub.into_iter().chain(proxies) {
            command.env_remove(name);
        }
        let done = command
            .arg("--config")
            .arg(config_path)
            .arg("--output")
            .arg(&output)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        Finished {
            code: done.status.code().unwrap_or(-1),
            stderr: String::from_utf8(done.stderr).unwrap(),
            output,
        }
    }

    /// Runs ingest, which must succeed, and returns the corpus.
    pub(crate) fn corpus(&self, config: &str) -> Vec<Document> {
        self.run(config).corpus()
    }
}

impl Finished {
    /// The corpus of a run that must have succeeded.
    pub(crate) fn corpus(&self) -> Vec<Document> {
        assert_eq!(self.code, 0, "{}", self.stderr);
        CorpusReader::open(&self.output.join("corpus"))
            .unwrap()
            .iter()
            .map(Result::unwrap)
            .collect()
    }

    /// The message of a run that must have failed with this code and left nothing behind.
    pub(crate) fn failure(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert!(!self.output.exists(), "an artifact was left behind");
        assert_eq!(self.stderr.matches("ingest: error:").count(), 1, "{}", self.stderr);
        &self.stderr
    }
}

/// `(doc_id, unit_id, text)` of each document.
pub(crate) fn columns(corpus: &[Document]) -> Vec<(&str, &str, &str)> {
    corpus.iter().map(|d| (d.doc_id.as_str(), d.unit_id.as_str(), d.text.as_str())).collect()
}

/// A file of tests/fixtures/ingest.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/ingest")
        .join(name)
        .canonicalize()
        .unwrap()
}
