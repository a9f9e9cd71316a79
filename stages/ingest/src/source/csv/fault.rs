//! What is said of a file that a strict reader does not read.

use std::path::Path;

use pft_stage::StageError;

use super::dialect::Dialect;
use super::fields::{Fault, FaultKind};
use crate::source::lines::{Block, count_lines};

/// The message for what a strict reader does not read. It shows nothing of the file.
pub(super) fn fault_error(
    path: &Path,
    block: &Block,
    dialect: Dialect,
    fault: Fault,
) -> StageError {
    let before = &block.text[..fault.at];
    let line = block.first_line + count_lines(before.as_bytes());
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let unquoted = if dialect.separator == b'\t' {
        "; if fields are not quoted in this file, set `quote: none`"
    } else {
        ""
    };
    let doubled = "quotes within a quoted field must be doubled";
    let (what, help) = match fault.kind {
        FaultKind::AfterQuote => ("text follows a closing quote", format!("{doubled}{unquoted}")),
        FaultKind::AfterEscapedQuote => (
            "text follows a closing quote, before which stands a backslash",
            format!(
                "if backslashes escape quotes in this file, set `escape: \"\\\\\"`; {doubled}{unquoted}"
            ),
        ),
        FaultKind::Unclosed => {
            ("a quote opens here and never closes", format!("{doubled}{unquoted}"))
        }
        FaultKind::Escape => {
            ("the file ends with an escape", "end the file with a whole row".to_string())
        }
        FaultKind::LoneReturn => (
            "CR stands here without LF after it",
            "a field with a line end in it must be quoted; lines end in LF or CR LF".to_string(),
        ),
    };
    StageError::input(format!("{}:{line}: {what} (column {column})", path.display()))
        .with_help(help)
}
