//! Spans of conversations: none reaches from one turn into the next, whatever a tagger saw there.

use pft_artifact::Turn;
use pft_pii::Span;

/// Cuts spans at the borders of turns, so that each lies in one of them. What lies between turns is no
/// text of anybody; all else of a span stays in spans, so that nothing that was found is left readable.
/// A document without turns keeps its spans.
pub(crate) fn within(text: &str, turns: &[Turn], spans: Vec<Span>) -> Vec<Span> {
    if turns.is_empty() {
        return spans;
    }
    let mut cut = Vec::with_capacity(spans.len());
    let mut first = 0;
    for span in spans {
        while turns.get(first).is_some_and(|turn| turn.range().end <= span.start) {
            first += 1;
        }
        let touched = turns[first..].iter().take_while(|turn| turn.range().start < span.end);
        for turn in touched {
            let start = span.start.max(turn.range().start);
            let end = span.end.min(turn.range().end);
            let part = &text[start..end];
            if (start, end) == (span.start, span.end) {
                cut.push(span.clone());
            } else if !part.trim().is_empty() {
                let start = start + part.len() - part.trim_start().len();
                let end = start + part.trim().len();
                cut.push(Span { start, end, ..span.clone() });
            }
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use pft_artifact::Role;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// By brute force: the characters that stay covered are those of turns that were covered, but
        /// for white space at the ends of what was cut.
        #[test]
        fn spans_are_cut_at_turns_and_nothing_else_is_lost(
            contents in prop::collection::vec("[ab \n]{0,6}", 1..6),
            lengths in prop::collection::vec((0usize..4, 1usize..9), 0..8),
        ) {
            let contents = contents.into_iter().map(|content| (Role::User, content));
            let (text, turns) = Turn::join(contents).unwrap();
            let mut spans = Vec::new();
            let mut at = 0;
            for (gap, length) in lengths {
                let (start, end) = (at + gap, at + gap + length);
                if end > text.len() {
                    break;
                }
                spans.push(Span::new(start, end, &"PERSON".into(), 1.0, &"t".into()));
                at = end;
            }
            let cut = within(&text, &turns, spans.clone());
            let holds = |span: &Span, turn: &Turn| {
                turn.range().start <= span.start && span.end <= turn.range().end
            };
            for span in &cut {
                prop_assert!(turns.iter().any(|turn| holds(span, turn)), "{span:?} {turns:?}");
            }
            prop_assert!(cut.iter().is_sorted_by(|a, b| a.end <= b.start));
            let covers = |spans: &[Span], at: usize| {
                spans.iter().any(|span| (span.start..span.end).contains(&at))
            };
            for (at, byte) in text.bytes().enumerate() {
                let in_a_turn = turns.iter().any(|turn| turn.range().contains(&at));
                if in_a_turn && !byte.is_ascii_whitespace() {
                    prop_assert_eq!(covers(&cut, at), covers(&spans, at));
                }
                if covers(&cut, at) {
                    prop_assert!(in_a_turn && covers(&spans, at));
                }
            }
            prop_assert_eq!(within(&text, &[], spans.clone()), spans);
        }
    }
}
