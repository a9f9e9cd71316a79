//! How a stage's line looks on a terminal, and how many lines there is room for.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the time on a line goes on where the stage says nothing.
const TICK: Duration = Duration::from_millis(250);

/// The style of a template; the line stays as it was where the template is wrong.
fn set(line: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        line.set_style(style);
    }
}

/// A line that holds a text: what a stage waits for, or what became of it.
pub(crate) fn still(line: &ProgressBar, text: String) {
    line.disable_steady_tick();
    set(line, "{prefix}  {msg}");
    line.set_message(text);
    line.tick();
}

/// A line of a stage that works and has not said how far it is.
pub(crate) fn busy(line: &ProgressBar, text: String) {
    line.reset_elapsed();
    set(line, "{prefix}  {spinner} {msg} ({elapsed})");
    line.set_message(text);
    line.enable_steady_tick(TICK);
}

/// A line of a task: a bar with its rate and the time left, where its total is known.
pub(crate) fn course(line: &ProgressBar, total: Option<u64>, unit: &str) {
    line.disable_steady_tick();
    match total {
        Some(total) => line.set_length(total),
        None => line.unset_length(),
    }
    line.reset();
    // A stage names its units: braces in them would be read as a part of the template.
    let unit: String = unit.chars().filter(|c| !matches!(c, '{' | '}')).collect();
    let template = match total {
        Some(_) => "{prefix}  {bar:30.cyan} {human_pos}/{human_len} UNIT {per_sec} eta {eta} {msg}",
        None => "{prefix}  {spinner} {human_pos} UNIT {per_sec} {msg}",
    };
    set(line, &template.replace("UNIT", &unit));
    line.set_message("");
    line.enable_steady_tick(TICK);
}

/// Rows of the terminal that standard error is; `None` where it is none.
pub(crate) fn rows() -> Option<usize> {
    // SAFETY: all-zero bytes are a valid `winsize`, and `ioctl` writes into it alone.
    let (answer, size) = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size), size)
    };
    (answer == 0 && size.ws_row > 0).then(|| usize::from(size.ws_row))
}
