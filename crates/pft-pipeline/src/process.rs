//! One stage's process: started, listened to, and ended with the runner.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pft_stage::Event;

use crate::RunError;

/// What to start.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) executable: &'a Path,
    pub(crate) config: &'a Path,
    pub(crate) inputs: BTreeMap<String, PathBuf>,
    pub(crate) output: &'a Path,
    pub(crate) scratch: &'a Path,
    /// A folder that all runs of this stage share, for caches that are not part of the key.
    pub(crate) cache: &'a Path,
    /// A file that lists where the outside files of this stage and of those before it lie now.
    pub(crate) outside: &'a Path,
    pub(crate) threads: usize,
    pub(crate) log: &'a Path,
    /// After this time it is told to stop, and half a minute later it is stopped.
    pub(crate) timeout: Option<Duration>,
}

/// The exit code of a stage that took longer than its pipeline allows.
pub(crate) const TIMED_OUT: u8 = 124;

/// How long a stage that was told to stop may take to do so.
const GRACE: Duration = Duration::from_secs(30);

/// How a stage's process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The stage's own message where it failed and gave one, with its exit code.
    pub(crate) result: Result<(), RunError>,
    /// Its largest resident set, in bytes.
    pub(crate) peak_memory: u64,
}

/// Runs a stage to its end and passes its progress events on.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn run(
    job: &Job<'_>,
    interrupted: &AtomicBool,
    on_event: &(dyn Fn(&Event) + Sync),
) -> Result<Ended, RunError> {
    let cannot_start = |error: std::io::Error| {
        RunError::bug(format!("{}: cannot start: {error}", job.executable.display()))
    };
    let mut command = Command::new(job.executable);
    command.arg("--config").arg(job.config);
    for (port, path) in &job.inputs {
        command.arg("--input").arg(format!("{port}={}", path.display()));
    }
    command
        .arg("--output")
        .arg(job.output)
        .arg("--scratch")
        .arg(job.scratch)
        .args(["--threads", &job.threads.to_string(), "--progress", "json"])
        .env("PFT_CACHE_DIR", job.cache)
        .env("PFT_OUTSIDE", job.outside)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A terminal sends Ctrl-C to its whole process group; the stage is told once, by the runner.
        .process_group(0);
    die_with_parent(&mut command);
    let mut child = command.spawn().map_err(cannot_start)?;

    let log = std::fs::OpenOptions::new().append(true).create(true).open(job.log);
    let log = log.map_err(cannot_start)?;
    let stderr = child.stderr.take();
    let (waited, said) = std::thread::scope(|scope| {
        let listener = scope.spawn(move || listen(stderr, log, on_event));
        let waited = wait(&child, interrupted, job.timeout);
        (waited, listener.join().unwrap_or_default())
    });
    let (status, peak_memory, timed_out) = waited.map_err(cannot_start)?;
    let result = match (status.success(), timed_out.then_some(job.timeout).flatten()) {
        (true, _) => Ok(()),
        (false, Some(timeout)) => Err(RunError {
            message: format!(
                "stopped after {:.0} s, its `timeout`; run again with a longer one to go on from its scratch",
                timeout.as_secs_f64()
            ),
            exit_code: TIMED_OUT,
        }),
        (false, None) => Err(failure(status, said)),
    };
    Ok(Ended { result, peak_memory })
}

/// What a stage said that matters where it fails: its error, and the last lines that were no events.
#[derive(Debug, Default)]
struct Said {
    error: Option<String>,
    last_lines: Vec<String>,
}

fn listen(
    stderr: Option<ChildStderr>,
    mut log: std::fs::File,
    on_event: &(dyn Fn(&Event) + Sync),
) -> Said {
    let mut said = Said::default();
    let Some(stderr) = stderr else { return said };
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let _ = writeln!(log, "{line}");
        match serde_json::from_str::<Event>(&line) {
            Ok(Event::Error { message, .. }) => said.error = Some(message),
            Ok(event) => on_event(&event),
            Err(_) => {
                said.last_lines.push(line);
                if said.last_lines.len() > 10 {
                    said.last_lines.remove(0);
                }
            }
        }
    }
    said
}

fn failure(status: ExitStatus, said: Said) -> RunError {
    let message = match (said.error, status.signal()) {
        (Some(message), _) => message,
        (None, Some(signal)) => format!(
            "killed by signal {signal}{}; run again to go on from its scratch",
            if signal == libc::SIGKILL { " (out of memory?)" } else { "" }
        ),
        (None, None) => {
            let code = status.code().unwrap_or(1);
            format!("failed with exit code {code}\n{}", said.last_lines.join("\n"))
        }
    };
    let exit_code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    RunError { message: message.trim_end().to_string(), exit_code }
}

/// Waits for the child's end. An interrupt of the runner is passed on as SIGTERM, as is the end of its
/// time; whoever does not heed that is killed. Returns its peak memory, and whether its time was over.
fn wait(
    child: &Child,
    interrupted: &AtomicBool,
    timeout: Option<Duration>,
) -> std::io::Result<(ExitStatus, u64, bool)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(std::io::Error::other)?;
    // SAFETY: `kill` only sends a signal; the child has not been waited for, so its process id is
    // still its own.
    let tell = |signal: libc::c_int| unsafe { libc::kill(pid, signal) };
    let started = Instant::now();
    let (mut told, mut over) = (false, None::<Instant>);
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some((status, peak_memory)) = reap(pid)? {
            return Ok((status, peak_memory, over.is_some()));
        }
        if interrupted.load(Ordering::Relaxed) && !told {
            told = true;
            tell(libc::SIGTERM);
        }
        if over.is_none() && timeout.is_some_and(|timeout| started.elapsed() > timeout) {
            over = Some(Instant::now());
            tell(libc::SIGTERM);
        }
        if over.is_some_and(|over| over.elapsed() > GRACE) {
            tell(libc::SIGKILL);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The exit status and the largest resident set in bytes of a child that has ended.
fn reap(pid: libc::pid_t) -> std::io::Result<Option<(ExitStatus, u64)>> {
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid `rusage`, and `wait4` writes into two places that are ours.
    // Nobody else waits for this child.
    let (ended, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
    };
    match ended {
        0 => Ok(None),
        -1 => match std::io::Error::last_os_error() {
            error if error.kind() == std::io::ErrorKind::Interrupted => Ok(None),
            error => Err(error),
        },
        // Kilobytes, but on macOS bytes.
        _ => {
            let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
            let peak = u64::try_from(usage.ru_maxrss).unwrap_or_default() * unit;
            Ok(Some((ExitStatus::from_raw(status), peak)))
        }
    }
}

/// A stage whose runner was killed must not go on writing.
pub(crate) fn die_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        // SAFETY: between fork and exec only async-signal-safe calls are made: prctl, getppid,
        // and raise.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // The runner may have died before the call above took effect.
                if u32::try_from(libc::getppid()).ok() != Some(parent) {
                    libc::raise(libc::SIGKILL);
                }
                Ok(())
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}
