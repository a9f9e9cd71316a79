//! The command line that every stage has, and its `main`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::{CommandFactory, FromArgMatches, Parser};
use pft_artifact::{Lineage, Manifest, Step};
use serde_json::{Map, Value, json};

use crate::config::{ConfigSource, Override, load_config};
use crate::seal::Output;
use crate::{Context, Description, Progress, ProgressMode, Stage, StageError};

/// Names a folder for what runs of a stage share; see [`Context::cache`].
const CACHE: &str = "PFT_CACHE_DIR";

#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
struct Arguments {
    /// Prints name, revision, ports and the JSON Schema of the config as one JSON object
    #[arg(long)]
    describe: bool,
    /// Checks the config, prints what is known from it as one JSON object, and ends
    #[arg(long)]
    check: bool,
    /// The config, a YAML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides a key of the config; the value is YAML
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Connects an input port to an artifact folder
    #[arg(long = "input", value_name = "PORT=PATH")]
    input: Vec<String>,
    /// The folder to write; it must not exist or be empty
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// A folder for unfinished work, from which a killed attempt goes on
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Number of threads; all cores without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto)]
    progress: ProgressMode,
}

/// The whole `main` of a stage: parses the command line, answers `--describe`, checks the config,
/// runs, seals the outputs, and turns every failure into one message and an exit code.
pub fn run_stage<S: Stage>() -> ExitCode {
    run_stage_from::<S>(std::env::args_os())
}

/// As [`run_stage`], with the arguments given (the program's name first): for a stage that
/// has further arguments of its own and translates them into the contract's.
pub fn run_stage_from<S: Stage>(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut command = Arguments::command().name(S::NAME).about(S::ABOUT);
    if !S::COMMANDS.is_empty() {
        command = command.after_help(format!("Other commands:\n  {}", S::COMMANDS));
    }
    let matches = command.try_get_matches_from(arguments);
    let arguments = match matches.and_then(|m| Arguments::from_arg_matches(&m)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output with code 0, wrong usage to standard error with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if arguments.describe {
        // A reader that has gone away is no failure.
        let _ = writeln!(std::io::stdout(), "{}", json!(Description::of::<S>()));
        return ExitCode::SUCCESS;
    }
    // Raw text, and what is made of it.
    pft_artifact::access::keep_private();
    let progress = Progress::new(S::NAME, arguments.progress);
    match run::<S>(&arguments, &progress) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress.error(&error.to_string(), error.exit_code());
            ExitCode::from(error.exit_code())
        }
    }
}

/// The config as the stage takes it, and as JSON with defaults.
fn checked_config<S: Stage>(
    arguments: &Arguments,
    schema: &Value,
) -> Result<(S::Config, Value), StageError> {
    let value = read_config(arguments, schema)?;
    let config: S::Config = serde_json::from_value(value.clone())
        .map_err(|error| StageError::config(format!("config: {error}")))?;
    S::validate(&config)?;
    Ok((config, value))
}

fn run<S: Stage>(arguments: &Arguments, progress: &Progress) -> Result<(), StageError> {
    let description = Description::of::<S>();
    if arguments.check {
        let (config, _) = checked_config::<S>(arguments, &description.config)?;
        let _ = writeln!(std::io::stdout(), "{}", json!(S::facts(&config)?));
        return Ok(());
    }
    let folder =
        arguments.output.as_deref().ok_or_else(|| StageError::config("--output DIR is missing"))?;
    let (config, value) = checked_config::<S>(arguments, &description.config)?;
    let inputs = connect(&arguments.input, &description)?;
    let mut input_manifests = BTreeMap::new();
    for (port, path) in &inputs {
        input_manifests.insert(port.clone(), Manifest::open(path)?);
    }

    let output = Output::prepare(folder, description.outputs.clone())?;
    let result = (|| {
        let hashes: BTreeMap<&String, &String> =
            input_manifests.iter().map(|(port, m)| (port, &m.content_hash)).collect();
        let work = json!({ "revision": S::REVISION, "config": value, "inputs": hashes });
        let key = pft_artifact::hash_bytes(pft_artifact::canonical_json(&work).as_bytes());
        let context = Context {
            inputs,
            outputs: output.folders(),
            scratch: make_scratch(arguments, &output, &key)?,
            cache: std::env::var_os(CACHE).filter(|f| !f.is_empty()).map(PathBuf::from),
            threads: set_up_threads(arguments.threads),
            progress: progress.clone(),
            metrics: std::sync::Mutex::default(),
            units: std::sync::Mutex::default(),
            interrupted: watch_signals()?,
        };
        let started = Instant::now();
        let began = jiff::Timestamp::now().to_string();
        silence_panics();
        // A sealed box is opened only if it is as it was sealed: a flipped bit in tags would leave a name
        // in the clear.
        for (port, manifest) in &input_manifests {
            context.check_interrupted()?;
            manifest.verify(&context.inputs[port])?;
        }
        catch_unwind(AssertUnwindSafe(|| S::run(config, &context)))
            .unwrap_or_else(|_| Err(StageError::bug("an internal error stopped the stage")))?;
        context.check_interrupted()?;
        let own = Step {
            stage: S::NAME.to_string(),
            revision: S::REVISION,
            config: value.clone(),
            inputs: hashes.into_iter().map(|(port, hash)| (port.clone(), hash.clone())).collect(),
            units: context.unit_notes(),
            content_hash: None,
            other: Map::new(),
        };
        let mut provenance = json!({
            "stage": own.stage,
            "revision": own.revision,
            "config": own.config,
            "inputs": own.inputs,
            "metrics": context.metrics(),
            "started": began,
            "seconds": started.elapsed().as_secs_f64(),
            "threads": context.threads,
            "host": host(),
            "version": env!("CARGO_PKG_VERSION"),
            "binary": binary_hash(),
        });
        let lineage = Lineage::following(&input_manifests, own)?;
        provenance["lineage"] = json!(lineage);
        output.commit(&provenance, &lineage)
    })();
    if result.is_err() {
        output.discard();
    }
    result
}

/// The folder for unfinished work, made where it is not there.
fn make_scratch(arguments: &Arguments, output: &Output, key: &str) -> Result<PathBuf, StageError> {
    let scratch = match &arguments.scratch {
        Some(scratch) => scratch.clone(),
        None => output.default_scratch(key),
    };
    std::fs::create_dir_all(&scratch).map_err(|error| {
        StageError::config(format!("--scratch {}: {error}", scratch.display())).because(&error)
    })?;
    Ok(scratch)
}

fn read_config(arguments: &Arguments, schema: &Value) -> Result<Value, StageError> {
    let source = arguments
        .config
        .as_deref()
        .map(ConfigSource::read)
        .transpose()
        .map_err(StageError::config)?;
    let overrides = arguments
        .set
        .iter()
        .map(|text| Override::parse(text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(StageError::config)?;
    load_config(source.as_ref(), &overrides, schema).map_err(StageError::config)
}

fn connect(
    arguments: &[String],
    description: &Description,
) -> Result<BTreeMap<String, PathBuf>, StageError> {
    let known: Vec<&str> = description.inputs.iter().map(|port| port.name.as_str()).collect();
    let mut inputs = BTreeMap::new();
    for argument in arguments {
        let (port, path) = argument.split_once('=').ok_or_else(|| {
            StageError::config(format!("--input {argument}: it must be PORT=PATH"))
        })?;
        if !known.contains(&port) {
            return Err(StageError::config(format!(
                "--input {argument}: {} has no input port `{port}`{}",
                description.name,
                crate::schema::suggestion(port, &known)
            )));
        }
        if inputs.insert(port.to_string(), PathBuf::from(path)).is_some() {
            return Err(StageError::config(format!("--input {port} is given twice")));
        }
    }
    for port in description.inputs.iter().filter(|port| port.required) {
        let Some(path) = inputs.get(&port.name) else {
            return Err(StageError::config(format!("input port `{}` is not connected", port.name))
                .with_help(format!("add --input {}=PATH, a {} artifact", port.name, port.kind)));
        };
        Manifest::open(path)?.expect_kind(path, port.kind)?;
    }
    Ok(inputs)
}

fn set_up_threads(threads: Option<u16>) -> usize {
    let threads = match threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    // Fails only where a pool exists already, as in tests, which is fine: results do not depend
    // on the number of threads.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    threads
}

/// A flag that the first SIGINT or SIGTERM raises; the second ends the process at once.
///
/// # Errors
/// When the operating system refuses to watch for them.
pub fn watch_signals() -> Result<Arc<AtomicBool>, StageError> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone())
            .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
            .map_err(|error| StageError::bug(format!("cannot watch for signals: {error}")))?;
    }
    Ok(flag)
}

/// Panic messages may quote data; only the place in the code is shown, if anybody listens.
pub(crate) fn silence_panics() {
    std::panic::set_hook(Box::new(|info| {
        if let Some(location) = info.location() {
            let place = format!("{}:{}", location.file(), location.line());
            let _ = writeln!(std::io::stderr(), "internal error at {place}");
        }
    }));
}

fn host() -> String {
    std::fs::read_to_string("/etc/hostname").map(|name| name.trim().to_string()).unwrap_or_default()
}

fn binary_hash() -> Option<String> {
    let path = std::env::current_exe().ok()?;
    pft_artifact::hash_file(Path::new(&path)).ok()
}
