//! One stage's process: started, listened to, and ended with the runner.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    pub(crate) threads: usize,
    pub(crate) log: &'a Path,
}

/// Runs a stage to its end and passes its progress events on.
///
/// # Errors
/// The stage's own message where it gave one, with its exit code.
pub(crate) fn run(
    job: &Job<'_>,
    interrupted: &AtomicBool,
    on_event: &(dyn Fn(&Event) + Sync),
) -> Result<(), RunError> {
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
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A terminal sends Ctrl-C to its whole process group; the stage is told once, by the runner.
        .process_group(0);
    die_with_parent(&mut command);
    let mut child = command.spawn().map_err(cannot_start)?;

    let mut log = std::fs::File::create(job.log).map_err(cannot_start)?;
    let stderr = child.stderr.take();
    let (failure, last_lines) = std::thread::scope(|scope| {
        let listener = scope.spawn(move || {
            let mut failure = None;
            let mut last_lines: Vec<String> = Vec::new();
            let Some(stderr) = stderr else {
                return (failure, last_lines);
            };
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let _ = writeln!(log, "{line}");
                match serde_json::from_str::<Event>(&line) {
                    Ok(Event::Error { message, .. }) => failure = Some(message),
                    Ok(event) => on_event(&event),
                    Err(_) => {
                        last_lines.push(line);
                        if last_lines.len() > 10 {
                            last_lines.remove(0);
                        }
                    }
                }
            }
            (failure, last_lines)
        });
        pass_on_interrupts(&mut child, interrupted);
        listener.join().unwrap_or_default()
    });
    let status = child.wait().map_err(cannot_start)?;
    if status.success() {
        return Ok(());
    }
    let message = match (failure, status.signal()) {
        (Some(message), _) => message,
        (None, Some(signal)) => format!(
            "killed by signal {signal}{}; run again to go on from its scratch",
            if signal == libc::SIGKILL { " (out of memory?)" } else { "" }
        ),
        (None, None) => {
            format!(
                "failed with exit code {}\n{}",
                status.code().unwrap_or(1),
                last_lines.join("\n")
            )
        }
    };
    let exit_code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Err(RunError { message: message.trim_end().to_string(), exit_code })
}

/// Waits for the child's end; an interrupt of the runner is passed on as SIGTERM.
fn pass_on_interrupts(child: &mut Child, interrupted: &AtomicBool) {
    let mut told = false;
    let mut pause = Duration::from_millis(1);
    while let Ok(None) = child.try_wait() {
        if interrupted.load(Ordering::Relaxed) && !told {
            told = true;
            if let Ok(pid) = libc::pid_t::try_from(child.id()) {
                // SAFETY: `kill` only sends a signal; the child has not been waited for, so its
                // process id is still its own.
                unsafe { libc::kill(pid, libc::SIGTERM) };
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// A stage whose runner was killed must not go on writing.
fn die_with_parent(command: &mut Command) {
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
