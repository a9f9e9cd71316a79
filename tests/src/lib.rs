//! Whole-pipeline tests: they start the real binaries, as a person would. This library holds what
//! they share; it depends on `pft-artifact` to read results, on `pft-lm` to make tiny models, and on
//! no stage. Build the binaries
//! first (`cargo build --release`), which `make test` does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The `config.json` of a model that trains in a moment, over SmolLM2's vocabulary.
pub const TINY_LLAMA: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":49152,
    "hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,
    "num_key_value_heads":1,"max_position_embeddings":256,"rms_norm_eps":1e-5,
    "tie_word_embeddings":true,"bos_token_id":1,"eos_token_id":2}"#;

/// The path of a binary of this workspace, in the same profile as the test.
///
/// # Panics
/// When it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not built; run `cargo build --release` first", path.display());
    path
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}

/// The real corpora, where `PFT_REAL_DATA` names them.
pub fn real_data() -> Option<PathBuf> {
    std::env::var_os("PFT_REAL_DATA").map(PathBuf::from).filter(|path| path.is_dir())
}

/// What a finished process printed, and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a binary of the workspace to its end. The store is `.pft` in `folder`, wherever a pipeline file
/// lies.
///
/// # Panics
/// When it cannot be started.
pub fn run(name: &str, arguments: &[&str], folder: &Path) -> Finished {
    let mut command = Command::new(binary(name));
    command.args(arguments).current_dir(folder).env("PFT_STORE", folder.join(".pft"));
    command.output().expect("the binary starts").into()
}

/// Runs a line of shell in which the workspace's binaries are commands.
///
/// # Panics
/// When the shell cannot be started or the binaries have not been built.
pub fn shell(command: &str, folder: &Path) -> Finished {
    let runner = binary("pft-pipeline");
    let binaries = runner.parent().expect("a binary lies in a folder").to_path_buf();
    let old = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(binaries).chain(std::env::split_paths(&old));
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder);
    shell.env("PATH", std::env::join_paths(path).expect("a PATH of folders"));
    // A pipeline of the checkout would have the checkout's store.
    shell.env("PFT_STORE", folder.join(".pft"));
    shell.output().expect("sh starts").into()
}

/// Runs a pipeline with `--json` and returns its stages by name.
///
/// # Panics
/// When the run fails or its last line is not the promised object.
pub fn run_pipeline(arguments: &[&str], folder: &Path) -> Value {
    let mut all = vec!["run"];
    all.extend(arguments);
    all.push("--json");
    let finished = run("pft-pipeline", &all, folder);
    assert_eq!(finished.code, 0, "{}\n{}", finished.stdout, finished.stderr);
    result(&finished)
}

/// The JSON object that ends a run's standard output.
///
/// # Panics
/// When there is none.
pub fn result(finished: &Finished) -> Value {
    let last = finished.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("no JSON at the end of {finished:?}"))
}

/// The entry of one stage in a run's result.
///
/// # Panics
/// When there is no such stage.
pub fn stage<'a>(result: &'a Value, name: &str) -> &'a Value {
    result["stages"]
        .as_array()
        .and_then(|stages| stages.iter().find(|stage| stage["name"] == name))
        .unwrap_or_else(|| panic!("no stage {name} in {result}"))
}
