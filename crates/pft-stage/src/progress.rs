//! Progress: a bar on a terminal, plain lines otherwise, JSON lines for the runner. All of it goes
//! to standard error, and none of it ever carries document text.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, plain lines otherwise.
    Auto,
    /// A line now and then.
    Plain,
    /// One JSON object a line, for the runner.
    Json,
}

/// One line of JSON progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A task has begun.
    Start {
        /// The task's name.
        task: String,
        /// How many units it has, where that is known.
        total: Option<u64>,
        /// What is counted: documents, steps, …
        unit: String,
    },
    /// A task has advanced.
    Progress {
        /// The task's name.
        task: String,
        /// Units done.
        done: u64,
        /// How many units it has, where that is known.
        total: Option<u64>,
        /// What is counted.
        unit: String,
        /// The latest message: a loss, a count.
        message: String,
    },
    /// A task is done.
    Finish {
        /// The task's name.
        task: String,
        /// Units done.
        done: u64,
        /// What is counted.
        #[serde(default)]
        unit: String,
        /// How long it took.
        seconds: f64,
    },
    /// Something worth a line.
    Note {
        /// The line.
        message: String,
    },
    /// The stage failed.
    Error {
        /// What is wrong and what to do.
        message: String,
        /// The exit code.
        exit_code: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Plain,
    Json,
}

/// Where a stage reports what it is doing.
#[derive(Debug, Clone)]
pub struct Progress {
    stage: &'static str,
    style: Style,
}

impl Progress {
    /// Progress of a stage.
    pub fn new(stage: &'static str, mode: ProgressMode) -> Self {
        let style = match mode {
            ProgressMode::Json => Style::Json,
            // Bars are hidden without a terminal that can move its cursor.
            ProgressMode::Auto if !ProgressBar::new_spinner().is_hidden() => Style::Bar,
            ProgressMode::Auto | ProgressMode::Plain => Style::Plain,
        };
        Self { stage, style }
    }

    /// Begins a task of `total` units, if that is known.
    pub fn start(&self, task: &str, total: Option<u64>, unit: &str) -> Bar {
        let bar = match self.style {
            Style::Bar => {
                let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
                let template = if total.is_some() {
                    "{prefix:>12} {bar:30.cyan} {human_pos}/{human_len} {unit} {per_sec} eta {eta} {msg}"
                } else {
                    "{prefix:>12} {spinner} {human_pos} {unit} {per_sec} {msg}"
                };
                let template = template.replace("{unit}", unit);
                if let Ok(style) = ProgressStyle::with_template(&template) {
                    bar.set_style(style);
                }
                bar.set_prefix(task.to_string());
                Some(bar)
            }
            Style::Plain | Style::Json => None,
        };
        let inner = Inner {
            task: task.to_string(),
            unit: unit.to_string(),
            total,
            done: AtomicU64::new(0),
            started: Instant::now(),
            shown: Mutex::new(Shown { last: Instant::now(), message: String::new() }),
            stage: self.stage,
            style: self.style,
            bar,
        };
        let event = Event::Start { task: task.to_string(), total, unit: unit.to_string() };
        self.emit(&event);
        Bar { inner: Arc::new(inner) }
    }

    /// Says a line to the person.
    pub fn note(&self, message: impl AsRef<str>) {
        match self.style {
            Style::Json => self.emit(&Event::Note { message: message.as_ref().to_string() }),
            Style::Bar | Style::Plain => {
                print_line(&format!("{}: {}", self.stage, message.as_ref()))
            }
        }
    }

    pub(crate) fn error(&self, message: &str, exit_code: u8) {
        match self.style {
            Style::Json => self.emit(&Event::Error { message: message.to_string(), exit_code }),
            Style::Bar | Style::Plain => print_line(&format!("{}: error: {message}", self.stage)),
        }
    }

    fn emit(&self, event: &Event) {
        if self.style == Style::Json {
            emit_json(event);
        }
    }
}

#[derive(Debug)]
struct Shown {
    last: Instant,
    message: String,
}

#[derive(Debug)]
struct Inner {
    task: String,
    unit: String,
    total: Option<u64>,
    done: AtomicU64,
    started: Instant,
    shown: Mutex<Shown>,
    stage: &'static str,
    style: Style,
    bar: Option<ProgressBar>,
}

/// A running task. Clones report to the same task, from any thread.
#[derive(Debug, Clone)]
pub struct Bar {
    inner: Arc<Inner>,
}

impl Bar {
    /// Adds `count` units to what is done.
    pub fn advance(&self, count: u64) {
        let done = self.inner.done.fetch_add(count, Ordering::Relaxed) + count;
        match &self.inner.bar {
            Some(bar) => bar.inc(count),
            None => self.show(done),
        }
    }

    /// Sets the message shown beside the task.
    pub fn message(&self, message: impl Into<String>) {
        let message = message.into();
        if let Some(bar) = &self.inner.bar {
            bar.set_message(message);
        } else if let Ok(mut shown) = self.inner.shown.lock() {
            shown.message = message;
        }
    }

    /// Ends the task.
    pub fn finish(&self) {
        let inner = &self.inner;
        let done = inner.done.load(Ordering::Relaxed);
        let seconds = inner.started.elapsed().as_secs_f64();
        match inner.style {
            Style::Bar => {
                if let Some(bar) = &inner.bar {
                    bar.finish();
                }
            }
            Style::Json => emit_json(&Event::Finish {
                task: inner.task.clone(),
                done,
                unit: inner.unit.clone(),
                seconds,
            }),
            Style::Plain => {
                let message = inner.shown.lock().map(|s| s.message.clone()).unwrap_or_default();
                let line = format!(
                    "{}: {}: {done} {} in {seconds:.1} s {message}",
                    inner.stage,
                    inner.task,
                    noun(&inner.unit, done)
                );
                print_line(line.trim_end());
            }
        }
    }

    fn show(&self, done: u64) {
        let inner = &self.inner;
        let interval = match inner.style {
            Style::Json => Duration::from_millis(200),
            Style::Bar | Style::Plain => Duration::from_secs(10),
        };
        // Whoever cannot have the lock at once leaves the showing to the one who has it.
        let Ok(mut shown) = inner.shown.try_lock() else {
            return;
        };
        if shown.last.elapsed() < interval {
            return;
        }
        shown.last = Instant::now();
        let message = shown.message.clone();
        drop(shown);
        if inner.style == Style::Json {
            emit_json(&Event::Progress {
                task: inner.task.clone(),
                done,
                total: inner.total,
                unit: inner.unit.clone(),
                message,
            });
            return;
        }
        let seconds = inner.started.elapsed().as_secs_f64();
        let rate = done as f64 / seconds.max(1e-9);
        let of_total = match inner.total {
            Some(total) => {
                let left = total.saturating_sub(done) as f64 / rate.max(1e-9);
                format!("{done}/{total} {}, {rate:.1}/s, {left:.0} s left", inner.unit)
            }
            None => format!("{done} {}, {rate:.1}/s", noun(&inner.unit, done)),
        };
        print_line(format!("{}: {}: {of_total} {message}", inner.stage, inner.task).trim_end());
    }
}

fn emit_json(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        print_line(&line);
    }
}

/// What is counted, which is named in the plural: one `document`, two `documents`.
pub fn noun(unit: &str, count: u64) -> &str {
    if count == 1 { unit.strip_suffix('s').unwrap_or(unit) } else { unit }
}

/// A reader that has gone away is no reason to stop working.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_named_in_the_singular() {
        assert_eq!(
            ["0", "1", "2"].map(|n| noun("documents", n.parse().unwrap())).join(" "),
            "documents document documents"
        );
    }

    #[test]
    fn events_survive_a_round_trip_as_one_line() {
        let event = Event::Progress {
            task: "tagging".into(),
            done: 3,
            total: Some(10),
            unit: "documents".into(),
            message: "12 entities\nso far".into(),
        };
        let line = serde_json::to_string(&event).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}
