//! Where the turns of a conversation lie in what a template made of them.
//!
//! Each turn's text goes through the template between two marks, characters of the last private plane
//! that no text may hold. White space at its ends stays outside of them, so that a template which trims
//! does so as without marks. Read back, the marks say which part of the rendered text is whose; without
//! them it must be what the template makes of the turns as they are, or the template looks at their
//! texts in a way that marks change, and the conversation is refused.

use std::ops::Range;

use super::python::is_space;

/// What is put around the text of `{% generation %}` blocks.
pub(super) const GENERATION: (char, char) = ('\u{10fff0}', '\u{10fff1}');

/// The most turns that have marks of their own.
pub(super) const MOST_TURNS: usize = 30_000;

const FIRST_MARK: u32 = 0x10_0000;

/// Whether a character is of the plane that marks are taken from.
pub(super) fn is_mark(character: char) -> bool {
    u32::from(character) >= FIRST_MARK
}

/// The mark before (0) or after (1) a turn's text.
fn mark(turn: usize, side: u32) -> char {
    char::from_u32(FIRST_MARK + 2 * turn as u32 + side).unwrap_or(GENERATION.0)
}

/// A turn's text between its marks; one of white space alone has none.
pub(super) fn marked(turn: usize, content: &str) -> String {
    let (core, start) = trimmed(content);
    if core.is_empty() {
        return content.to_string();
    }
    let (before, after) = (&content[..start], &content[start + core.len()..]);
    format!("{before}{}{core}{}{after}", mark(turn, 0), mark(turn, 1))
}

/// A part of the rendered text that is a turn's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region {
    /// The turn.
    pub(super) turn: usize,
    /// Its bytes in the rendered text.
    pub(super) range: Range<usize>,
    /// Where they begin in the turn's own text; none where the template changed them.
    pub(super) source: Option<usize>,
}

/// A rendered conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rendered {
    /// The text, without marks.
    pub(super) text: String,
    /// The turns' parts of it, in their order in the text.
    pub(super) regions: Vec<Region>,
    /// What stood in `{% generation %}` blocks.
    pub(super) generated: Vec<Range<usize>>,
}

/// A mark as it was found.
enum Found {
    Turn { turn: usize, is_end: bool, at: usize },
    Generation { is_end: bool, at: usize },
}

/// Reads the marks of a rendered text back. `contents` are the turns' own texts.
///
/// # Errors
/// When marks of generation blocks do not pair.
pub(super) fn read(rendered: &str, contents: &[&str]) -> Result<Rendered, &'static str> {
    let mut text = String::with_capacity(rendered.len());
    let mut found = Vec::new();
    for character in rendered.chars() {
        if !is_mark(character) {
            text.push(character);
            continue;
        }
        let at = text.len();
        found.push(if character == GENERATION.0 || character == GENERATION.1 {
            Found::Generation { is_end: character == GENERATION.1, at }
        } else {
            let number = u32::from(character) - FIRST_MARK;
            Found::Turn { turn: number as usize / 2, is_end: number % 2 == 1, at }
        });
    }
    let mut regions = Vec::new();
    let mut generated = Vec::new();
    let mut open_generation = None;
    let mut open: Option<(usize, usize)> = None;
    let mut last_end = 0;
    for mark in found {
        match mark {
            Found::Generation { is_end: false, at } => {
                if open_generation.replace(at).is_some() {
                    return Err("the template has generation blocks within each other");
                }
            }
            Found::Generation { is_end: true, at } => match open_generation.take() {
                Some(start) => generated.push(start..at),
                None => return Err("the template takes its generation blocks apart"),
            },
            Found::Turn { turn, is_end: false, at } => {
                if let Some(region) = open.take().and_then(|open| beginning(&text, contents, open))
                {
                    last_end = region.range.end;
                    regions.push(region);
                }
                open = Some((turn, at));
            }
            Found::Turn { turn, is_end: true, at } => {
                let start = match open.take() {
                    Some((opened, start)) if opened == turn => Some(start),
                    _ => None,
                };
                let region = match start {
                    Some(start) => whole(&text, contents, turn, start..at),
                    None => ending(&text, contents, turn, last_end..at),
                };
                last_end = at;
                regions.push(region);
            }
        }
    }
    if let Some(region) = open.and_then(|open| beginning(&text, contents, open)) {
        regions.push(region);
    }
    if open_generation.is_some() {
        return Err("the template takes its generation blocks apart");
    }
    regions.retain(|region| !region.range.is_empty());
    Ok(Rendered { text, regions, generated })
}

/// The text of a turn without white space around it, and where that begins in it.
fn core<'c>(contents: &[&'c str], turn: usize) -> (&'c str, usize) {
    trimmed(contents.get(turn).copied().unwrap_or_default())
}

fn trimmed(content: &str) -> (&str, usize) {
    let rest = content.trim_start_matches(is_space);
    (rest.trim_end_matches(is_space), content.len() - rest.len())
}

fn whole(text: &str, contents: &[&str], turn: usize, range: Range<usize>) -> Region {
    let (core, start) = core(contents, turn);
    let source = (text[range.clone()] == *core).then_some(start);
    Region { turn, range, source }
}

/// The part of a turn of which the template left out the beginning.
fn ending(text: &str, contents: &[&str], turn: usize, room: Range<usize>) -> Region {
    let (core, start) = core(contents, turn);
    let same: usize = text[room.clone()]
        .chars()
        .rev()
        .zip(core.chars().rev())
        .take_while(|(one, other)| one == other)
        .map(|(character, _)| character.len_utf8())
        .sum();
    let source = Some(start + core.len() - same);
    Region { turn, range: room.end - same..room.end, source }
}

/// The part of a turn of which the template left out the end.
fn beginning(text: &str, contents: &[&str], (turn, at): (usize, usize)) -> Option<Region> {
    let (core, start) = core(contents, turn);
    let same: usize = text[at..]
        .chars()
        .zip(core.chars())
        .take_while(|(one, other)| one == other)
        .map(|(character, _)| character.len_utf8())
        .sum();
    (same > 0).then(|| Region { turn, range: at..at + same, source: Some(start) })
}
