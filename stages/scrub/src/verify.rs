//! The check after scrubbing, on every document: what was tagged is replaced, and all else is as it
//! was. What taggers missed is still there, and no check of this kind can tell.

use pft_artifact::{DocumentRow, Quoted, SpanRow};
use pft_stage::StageError;

use crate::Replacement;

/// Walks the old and the new text side by side: between spans they must be equal, and at the place
/// of each replaced span there must be its replacement, which must not be the original text.
///
/// # Errors
/// Names the document and the span's label and offsets, never its text.
pub fn check(
    document: DocumentRow<'_>,
    spans: &[SpanRow<'_>],
    replacements: &[Replacement<'_>],
    scrubbed: &str,
) -> Result<(), StageError> {
    let fail = |span: Option<&SpanRow<'_>>, what: &str| {
        let place = span
            .map(|span| format!(" at {} {}..{}", span.label, span.start, span.end))
            .unwrap_or_default();
        StageError::bug(format!("document {}{place}: {what}", Quoted(document.doc_id)))
    };
    let (old, new) = (document.text.as_bytes(), scrubbed.as_bytes());
    let (mut old_at, mut new_at) = (0, 0);
    for (span, replacement) in spans.iter().zip(replacements) {
        let (start, end) = (span.start as usize, span.end as usize);
        let gap = start - old_at;
        if new.get(new_at..new_at + gap) != Some(&old[old_at..start]) {
            return Err(fail(Some(span), "text outside the spans was changed"));
        }
        new_at += gap;
        let original = &old[start..end];
        let expected = replacement.as_deref().map_or(original, str::as_bytes);
        if new.get(new_at..new_at + expected.len()) != Some(expected) {
            return Err(fail(Some(span), "the replacement is not at the span's place"));
        }
        if replacement.is_some() && expected == original {
            return Err(StageError::input(format!(
                "document {} at {} {}..{}: the original text equals its replacement, so that it \
                 would survive",
                Quoted(document.doc_id),
                span.label,
                span.start,
                span.end
            ))
            .with_help("choose another mask_token or mode for this label"));
        }
        new_at += expected.len();
        old_at = end;
    }
    if new.get(new_at..) != Some(&old[old_at..]) {
        return Err(fail(None, "text outside the spans was changed"));
    }
    Ok(())
}
