//! What many names match in a text.

use crate::Span;

/// Adds a match to those before it; matches come in the order of their ends. One that lies within
/// another is taken in by it, and those that share a part stay beside each other, so that nothing that
/// a name covers gets lost, and no more are kept than there are places to begin.
pub(crate) fn add(matches: &mut Vec<Span>, mut span: Span) {
    while let Some(within) = matches.pop_if(|last| last.start >= span.start) {
        span.absorb(&within);
    }
    match matches.last_mut() {
        Some(last) if last.end >= span.end => last.absorb(&span),
        _ => matches.push(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_covered_and_by_which_labels_stays(
            mut ranges in proptest::collection::vec((0usize..20, 1usize..8, 0usize..3), 0..12),
        ) {
            ranges.sort_by_key(|&(start, length, _)| start + length);
            let labels = ["PERSON", "ORG", "GPE"];
            let mut kept = Vec::new();
            for &(start, length, label) in &ranges {
                let span = Span::new(start, start + length, &labels[label].into(), 1.0, &"t".into());
                add(&mut kept, span);
            }
            for pair in kept.windows(2) {
                prop_assert!(pair[0].start < pair[1].start && pair[0].end < pair[1].end);
            }
            for (start, length, label) in ranges {
                prop_assert!(kept.iter().any(|span| span.start <= start
                    && start + length <= span.end
                    && span.labels().any(|known| **known == *labels[label])));
            }
        }
    }
}
