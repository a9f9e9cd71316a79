//! Runs backends over texts of any length and combines what they find.
//!
//! **The overlap rule.** Labels are mapped, spans below their label's threshold, with a label that
//! does not count, or with an ignored text are left out, and white space is trimmed. Then spans that
//! share a character become one span over their union, so that nothing that any backend found stays
//! in the clear. Its label and source are those of the member whose backend has the highest priority;
//! among equals of the longest, then of the highest score, then of the first. The labels of the other
//! members become its other labels, and its score is the highest of all. Dates that are linked
//! (`1 March and 31 December 1998`) become one.

use std::cmp::Reverse;

use rayon::prelude::*;

use crate::union::Union;
use crate::window::{Window, windows};
use crate::{Span, TagError, Tagger};

pub use crate::policy::Policy;

/// A span that counts, by its place: what is sorted, so that a long text's spans need no second copy.
struct Candidate {
    start: usize,
    end: usize,
    /// Where it is in `found`: the backend and its span.
    place: (u32, u32),
}

/// What a backend found in a text: spans, or something smaller that gives them.
pub trait SpanList {
    /// Number of spans.
    fn len(&self) -> usize;

    /// Span number `index`.
    fn span(&self, index: usize) -> Span;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl SpanList for Vec<Span> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn span(&self, index: usize) -> Span {
        self[index].clone()
    }
}

/// Combines the spans of several backends over one text by the overlap rule. Backends come with
/// their priority; the result is sorted and without overlaps.
pub fn combine(text: &str, found: &[(i32, &dyn SpanList)], policy: &Policy) -> Vec<Span> {
    let mut candidates = Vec::with_capacity(found.iter().map(|(_, spans)| spans.len()).sum());
    for (backend, (_, spans)) in (0..).zip(found) {
        candidates.extend((0..spans.len()).zip(0..).filter_map(|(at, index)| {
            let (start, end) = policy.admit(text, &spans.span(at))?;
            Some(Candidate { start, end, place: (backend, index) })
        }));
    }
    candidates.sort_unstable_by_key(|span| (span.start, Reverse(span.end), span.place));
    let spans = candidates.iter().map(|&Candidate { start, end, place: (backend, index) }| {
        let (priority, spans) = found[backend as usize];
        let span = spans.span(index as usize);
        (priority, Span { start, end, label: policy.labels.canonical(&span.label), ..span })
    });
    let mut combined: Vec<Span> = Vec::new();
    let mut add = |span: Span| match combined.last_mut() {
        Some(last) if is_one_date(text, last, &span) => {
            last.end = span.end;
            last.absorb(&span);
        }
        _ => combined.push(span),
    };
    let mut open: Option<Union> = None;
    for (priority, span) in spans {
        match &mut open {
            Some(union) if union.reaches(&span) => union.add(priority, span),
            _ => {
                if let Some(union) = open.replace(Union::new(priority, span)) {
                    add(union.into_span());
                }
            }
        }
    }
    if let Some(union) = open {
        add(union.into_span());
    }
    combined
}

/// Whether a date and the next one are one expression: `1 March and 31 December 1998`.
fn is_one_date(text: &str, last: &Span, next: &Span) -> bool {
    const LINKS: &[&str] = &["and", "to", "or", "until", "on", "and on", "-", "–", ",", ", on"];
    let are_dates = &*last.label == "DATE" && &*next.label == "DATE";
    are_dates && LINKS.contains(&text[last.end..next.start].trim())
}

/// Tags texts of any length with one backend, on all threads of the current rayon pool. Long texts
/// are cut into windows, batches hold texts of similar length, and the result has one entry per text, in
/// their order, whatever the number of threads.
pub fn tag_texts(tagger: &dyn Tagger, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>> {
    let pieces: Vec<(usize, Window)> = texts
        .iter()
        .enumerate()
        .flat_map(|(text, content)| windows(content).into_iter().map(move |window| (text, window)))
        .collect();
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|&piece| std::cmp::Reverse(pieces[piece].1.range.len()));
    // Small enough that no thread waits long for the last; backends answer for each text alone, so the
    // grouping changes no answer.
    let total: usize = pieces.iter().map(|(_, window)| window.range.len()).sum();
    let bytes = tagger.batch_bytes().min(total / (16 * rayon::current_num_threads())).max(4096);
    let batches = batches(&order, bytes, |piece| pieces[piece].1.range.len());

    let tagged: Vec<(usize, Result<Vec<Span>, TagError>)> = batches
        .par_iter()
        .flat_map_iter(|batch| {
            let contents: Vec<&str> = batch
                .iter()
                .map(|&piece| &texts[pieces[piece].0][pieces[piece].1.range.clone()])
                .collect();
            let mut results = tagger.tag_batch(&contents);
            let answered = results.len();
            results.resize_with(batch.len(), || {
                Err(TagError::Model(format!(
                    "the backend answered {answered} of {} texts",
                    contents.len()
                )))
            });
            let results: Vec<_> = batch
                .iter()
                .zip(results)
                .map(|(&piece, result)| {
                    let (text, window) = &pieces[piece];
                    (
                        piece,
                        result.and_then(|spans| own(texts[*text], window, spans, tagger.name())),
                    )
                })
                .collect();
            results
        })
        .collect();

    let mut by_piece: Vec<Option<Result<Vec<Span>, TagError>>> = Vec::new();
    by_piece.resize_with(pieces.len(), || None);
    let mut counts = vec![0; texts.len()];
    for (piece, result) in tagged {
        counts[pieces[piece].0] += result.as_ref().map_or(0, Vec::len);
        by_piece[piece] = Some(result);
    }
    let mut results: Vec<Result<Vec<Span>, TagError>> =
        counts.into_iter().map(|count| Ok(Vec::with_capacity(count))).collect();
    for ((text, _), result) in pieces.iter().zip(by_piece) {
        let result =
            result.unwrap_or_else(|| Err(TagError::Model("a window was not tagged".into())));
        match (&mut results[*text], result) {
            (Ok(all), Ok(spans)) => all.extend(spans),
            (all @ Ok(_), Err(error)) => *all = Err(error),
            (Err(_), _) => {}
        }
    }
    results
}

/// Groups of pieces of at most `bytes` bytes each, at least one piece a group.
fn batches(order: &[usize], bytes: usize, len: impl Fn(usize) -> usize) -> Vec<Vec<usize>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut size = 0;
    for &piece in order {
        if !batch.is_empty() && size + len(piece) > bytes {
            batches.push(std::mem::take(&mut batch));
            size = 0;
        }
        batch.push(piece);
        size += len(piece);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// The spans that a window owns, moved to the text's offsets. A span off the characters of its
/// text is a backend's fault that must not pass.
fn own(text: &str, window: &Window, spans: Vec<Span>, name: &str) -> Result<Vec<Span>, TagError> {
    let content = &text[window.range.clone()];
    let mut owned = Vec::with_capacity(spans.len());
    for mut span in spans {
        if span.is_empty() || content.get(span.start..span.end).is_none() {
            return Err(TagError::Model(format!(
                "backend {name} returned the span {}..{}, which is not on characters of the text",
                span.start, span.end
            )));
        }
        span.start += window.range.start;
        span.end += window.range.start;
        if window.core.contains(&span.start) {
            owned.push(span);
        }
    }
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{RulesConfig, RulesTagger};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn span(start: usize, end: usize, label: &str, score: f32) -> Span {
        let source: Arc<str> = "test".into();
        Span::new(start, end, &label.into(), score, &source)
    }

    fn policy() -> Policy {
        Policy::new(crate::labels::default_pii())
    }

    #[test]
    fn overlaps_become_their_union_with_the_label_of_the_highest_priority() {
        let text = "0123456789";
        let low = vec![span(0, 5, "ORG", 0.9), span(8, 10, "DATE", 0.9)];
        let high = vec![span(4, 7, "PERSON", 0.5)];
        let spans = combine(text, &[(0, &low), (1, &high)], &policy());
        let found: Vec<_> = spans.iter().map(|s| (s.start, s.end, &*s.label)).collect();
        assert_eq!(found, vec![(0, 7, "PERSON"), (8, 10, "DATE")]);
        let spans = combine(text, &[(0, &low), (0, &high)], &policy());
        assert_eq!(&*spans[0].label, "ORG", "the longest wins among equals");
    }

    fn others(span: &Span) -> Option<String> {
        span.other_labels.joined().map(|labels| labels.to_string())
    }

    /// What a member was taken for decides what is done to the whole, so no label may get lost.
    #[test]
    fn a_union_has_all_labels_of_its_members_and_their_highest_score() {
        let text = "12 May Kowalski Ltd; 3 June";
        let dates = vec![span(0, 6, "DATE", 0.6), span(21, 27, "DATE", 0.5)];
        let names = vec![span(3, 15, "PER", 0.9), span(7, 19, "ORG", 0.7)];
        for (first, second, label, rest) in [
            (1, 0, "DATE", "ORG+PERSON"),
            (0, 1, "PERSON", "DATE+ORG"),
            (0, 0, "PERSON", "DATE+ORG"),
        ] {
            let spans = combine(text, &[(first, &dates), (second, &names)], &policy());
            assert_eq!((spans[0].start, spans[0].end, spans[0].score), (0, 19, 0.9));
            assert_eq!(&*spans[0].label, label);
            assert_eq!(others(&spans[0]).as_deref(), Some(rest));
            assert_eq!((others(&spans[1]), spans[1].score), (None, 0.5));
        }
        let same = vec![span(0, 6, "DATE", 0.6), span(3, 10, "DATE_TIME", 0.7)];
        let spans = combine(text, &[(0, &same)], &policy());
        assert_eq!(others(&spans[0]), None, "labels are compared by what they mean");
    }

    /// The score of a member that lost must not decide between the members to come.
    #[test]
    fn the_label_is_chosen_by_the_members_own_scores() {
        let found =
            vec![span(0, 4, "ORG", 0.5), span(1, 3, "DATE", 0.9), span(2, 6, "PERSON", 0.7)];
        let spans = combine("0123456789", &[(0, &found)], &policy());
        assert_eq!((&*spans[0].label, spans[0].score), ("PERSON", 0.9));
    }

    #[test]
    fn linked_dates_become_one() {
        let text = "from 1 March to 31 December 1998; 2 May 1999";
        let found =
            vec![span(5, 12, "DATE", 1.0), span(16, 32, "DATE", 1.0), span(34, 44, "DATE", 1.0)];
        let spans = combine(text, &[(0, &found)], &policy());
        let ranges: Vec<_> = spans.iter().map(|s| &text[s.start..s.end]).collect();
        assert_eq!(ranges, ["1 March to 31 December 1998", "2 May 1999"]);
        let more = vec![span(16, 24, "ORG", 0.3)];
        let spans = combine(text, &[(1, &found), (0, &more)], &policy());
        assert_eq!(others(&spans[0]).as_deref(), Some("ORG"), "what a part was taken for");
    }

    #[test]
    fn thresholds_labels_and_ignored_texts_leave_spans_out() {
        let text = "Jane in Paris, Court";
        let found = vec![span(0, 4, "PER", 0.4), span(8, 13, "GPE", 0.4), span(15, 20, "ORG", 1.0)];
        let mut policy = policy();
        policy.min_score = 0.5;
        policy.thresholds.insert("PERSON".into(), 0.3);
        policy.ignore("(?:the )?Court", &[]).unwrap();
        policy.ignore("J.*", &["ORG".into()]).unwrap();
        let spans = combine(text, &[(0, &found)], &policy);
        assert_eq!(spans.len(), 1);
        assert_eq!(&*spans[0].label, "PERSON");
        let mut other = policy.clone();
        other.ignore("J.*", &["PERSON".into()]).unwrap();
        assert!(combine(text, &[(0, &found)], &other).is_empty());
        for anything in [".*", "(?s:.+)", "[^@]*"] {
            assert!(policy.ignore(anything, &[]).is_err(), "{anything}");
        }
        policy.pii.remove("PERSON");
        assert!(combine(text, &[(0, &found)], &policy).is_empty());
    }

    #[test]
    fn a_long_text_is_found_as_its_parts_are() {
        let line = "On 12 March 1999 Mr Jan Kowalski of Łódź wrote to jan@example.pl about no. 12345/67.\n";
        let text = line.repeat(5000);
        let tagger = RulesTagger::new(&RulesConfig::default()).unwrap();
        let single = tagger.tag(line);
        let whole = tag_texts(&tagger, &[&text]).remove(0).unwrap();
        let expected: Vec<(usize, usize)> = (0..5000)
            .flat_map(|n| {
                single.iter().map(move |s| (s.start + n * line.len(), s.end + n * line.len()))
            })
            .collect();
        assert_eq!(whole.iter().map(|s| (s.start, s.end)).collect::<Vec<_>>(), expected);
    }

    struct Faulty;
    impl Tagger for Faulty {
        fn name(&self) -> &str {
            "faulty"
        }
        fn fingerprint(&self) -> String {
            "faulty".into()
        }
        fn tag_batch(&self, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>> {
            texts
                .iter()
                .filter(|t| !t.contains("skip"))
                .map(|_| Ok(vec![span(0, 1, "ORG", 1.0)]))
                .collect()
        }
    }

    #[test]
    fn a_faulty_backend_fails_closed() {
        assert!(tag_texts(&Faulty, &["é"])[0].is_err(), "a span inside a character");
        assert!(tag_texts(&Faulty, &["skip this"])[0].is_err(), "a text without an answer");
        assert!(tag_texts(&Faulty, &["fine"])[0].is_ok());
    }

    proptest! {
        #[test]
        fn the_union_of_what_counts_is_covered(ranges in proptest::collection::vec((0usize..40, 1usize..12, 0i32..3), 0..12)) {
            let text = "é".repeat(60);
            let found: Vec<(i32, Vec<Span>)> = ranges.iter()
                .map(|&(start, len, priority)| (priority, vec![span(2 * start, 2 * (start + len), "ORG", 1.0)]))
                .collect();
            let borrowed: Vec<(i32, &dyn SpanList)> = found.iter().map(|(p, s)| (*p, s as &dyn SpanList)).collect();
            let combined = combine(&text, &borrowed, &policy());
            for pair in combined.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            let covered = |at: usize, spans: &[Span]| spans.iter().any(|s| (s.start..s.end).contains(&at));
            for at in 0..text.len() {
                let expected = found.iter().any(|(_, spans)| covered(at, spans));
                prop_assert_eq!(covered(at, &combined), expected);
            }
        }
    }
}
