//! The turns of a conversation after its text has changed.

use pft_artifact::{DocumentRow, Quoted, SpanRow, Turn};
use pft_stage::StageError;

use crate::Replacement;

/// Where the turns of a document lie once its spans are replaced; roles stay. A turn may become empty.
///
/// # Errors
/// When a span reaches over the border of a turn, so that its replacement belongs to no turn.
pub(crate) fn moved(
    document: DocumentRow<'_>,
    spans: &[SpanRow<'_>],
    replacements: &[Replacement<'_>],
) -> Result<Vec<Turn>, StageError> {
    let mut changes = spans.iter().zip(replacements).peekable();
    let (mut at, mut new_at) = (0, 0);
    let mut turns = Vec::with_capacity(document.turns.len());
    for turn in document.turns {
        new_at += turn.range().start - at;
        let start = new_at;
        at = turn.range().start;
        while let Some((span, replacement)) = changes.next_if(|(span, _)| span.start < turn.end) {
            if span.start < turn.start || span.end > turn.end {
                return Err(StageError::input(format!(
                    "document {}: the span {}..{} reaches over the border of a turn",
                    Quoted(document.doc_id),
                    span.start,
                    span.end
                ))
                .with_help("make the tags again; `tag-pii` writes none such"));
            }
            new_at += span.start as usize - at;
            let length = (span.end - span.start) as usize;
            new_at += replacement.as_deref().map_or(length, str::len);
            at = span.end as usize;
        }
        new_at += turn.range().end - at;
        at = turn.range().end;
        let (start, end) = (offset(document, start)?, offset(document, new_at)?);
        turns.push(Turn { role: turn.role, start, end });
    }
    match changes.next() {
        Some(_) if !turns.is_empty() => Err(StageError::input(format!(
            "document {}: a span lies outside its turns",
            Quoted(document.doc_id)
        ))
        .with_help("make the tags again; `tag-pii` writes none such")),
        _ => Ok(turns),
    }
}

pub(crate) fn offset(document: DocumentRow<'_>, at: usize) -> Result<u32, StageError> {
    u32::try_from(at).map_err(|_| {
        StageError::input(format!(
            "document {}: longer than 4 GiB once scrubbed",
            Quoted(document.doc_id)
        ))
    })
}
