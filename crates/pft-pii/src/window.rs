//! Cuts long texts into windows at safe borders.
//!
//! A window is read as a whole but answers only for its core: an entity belongs to the window
//! whose core holds its first byte. Cores tile the text, and each window reaches beyond its core
//! on both sides, so an entity at a border is seen with context and found exactly once.

use std::ops::Range;

/// Longest text that a backend is handed in one piece, in bytes.
pub const MAX_WINDOW_BYTES: usize = 128 * 1024;

/// Bytes of context on each side of a core.
const CONTEXT_BYTES: usize = 1024;

/// One window over a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// What the backend reads.
    pub range: Range<usize>,
    /// Where it owns the entities that start there.
    pub core: Range<usize>,
}

/// Windows over `text`, in order; a single one where the text is short enough.
pub fn windows(text: &str) -> Vec<Window> {
    windows_of(text, MAX_WINDOW_BYTES, CONTEXT_BYTES)
}

/// As [`windows`], with windows of at most `max_bytes` (at least four contexts), and
/// `context` bytes around each core.
pub fn windows_of(text: &str, max_bytes: usize, context: usize) -> Vec<Window> {
    assert!(
        max_bytes >= 4 * context.max(4),
        "windows of {max_bytes} bytes with {context} bytes of context"
    );
    if text.len() <= max_bytes {
        return vec![Window { range: 0..text.len(), core: 0..text.len() }];
    }
    let core_bytes = max_bytes - 2 * context;
    let mut windows = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = if text.len() - start <= core_bytes {
            text.len()
        } else {
            safe_border(text, start + core_bytes / 2, start + core_bytes)
        };
        let range = space_before(text, start.saturating_sub(context), start)
            ..space_after(text, end, (end + context).min(text.len()));
        windows.push(Window { range, core: start..end });
        start = end;
    }
    windows
}

/// The best place to cut in `low..=high`: after the last blank line, else line break, else
/// sentence end, else space, else the last character boundary.
fn safe_border(text: &str, low: usize, high: usize) -> usize {
    let (low, high) = (text.floor_char_boundary(low), text.floor_char_boundary(high));
    let region = &text[low..high];
    for separator in ["\n\n", "\n", ". ", " "] {
        if let Some(at) = region.rfind(separator) {
            return low + at + separator.len();
        }
    }
    high
}

/// First place at or after `low` that follows white space, at most `high`.
fn space_before(text: &str, low: usize, high: usize) -> usize {
    if low == 0 {
        return 0;
    }
    let low = text.ceil_char_boundary(low);
    match text[low..high].find([' ', '\n']) {
        Some(at) => low + at + 1,
        None => low,
    }
}

/// Last place at or before `high` that precedes white space, at least `low`.
fn space_after(text: &str, low: usize, high: usize) -> usize {
    if high == text.len() {
        return high;
    }
    let high = text.floor_char_boundary(high);
    match text[low..high].rfind([' ', '\n']) {
        Some(at) => low + at,
        None => high,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_text_is_one_window() {
        assert_eq!(windows("abc"), vec![Window { range: 0..3, core: 0..3 }]);
        assert_eq!(windows(""), vec![Window { range: 0..0, core: 0..0 }]);
    }

    #[test]
    fn borders_prefer_line_breaks() {
        let text = format!("{}\n{}", "word ".repeat(7), "word ".repeat(20));
        let cut = windows_of(&text, 64, 4);
        assert_eq!(cut[0].core, 0..36, "the core ends after the line break");
        assert_eq!(cut[1].core.start, 36);
    }

    proptest! {
        #[test]
        fn cores_tile_and_windows_hold_them(text in "[a-z \\n.é漢]{0,400}", max in 16usize..80) {
            let cut = windows_of(&text, max, 4);
            let mut at = 0;
            for window in &cut {
                prop_assert_eq!(window.core.start, at);
                at = window.core.end;
                prop_assert!(window.range.start <= window.core.start && window.range.end >= window.core.end);
                prop_assert!(window.range.len() <= max);
                prop_assert!(text.get(window.range.clone()).is_some());
                prop_assert!(text.get(window.core.clone()).is_some());
            }
            prop_assert_eq!(at, text.len());
        }
    }
}
