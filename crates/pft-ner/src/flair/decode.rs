//! From scores of tokens to tags, and from tags to entities, as Flair does it.

use std::sync::Arc;

use pft_pii::{Span, TagError};

use super::tokens::Token;

/// Transition scores between tags.
pub(super) struct Crf {
    /// `[to, from]`
    pub(super) transitions: Vec<f32>,
    pub(super) start: usize,
    pub(super) stop: usize,
}

impl Crf {
    /// The best path through a sentence's scores `[tokens, tags]` (Viterbi), and for each token the
    /// largest share in the softmax of the paths' scores so far, which is what Flair calls confidence.
    pub(super) fn decode(&self, scores: &[f32], tags: usize) -> Vec<(usize, f32)> {
        let length = scores.len() / tags;
        let mut best = Vec::new();
        let mut back: Vec<usize> = Vec::with_capacity(scores.len());
        let mut confidences = Vec::with_capacity(length);
        let argmax = |row: &[f32], sums: &[f32]| {
            let mut found = (0, f32::NEG_INFINITY);
            for (from, sum) in row.iter().zip(sums).map(|(a, b)| a + b).enumerate() {
                if sum > found.1 {
                    found = (from, sum);
                }
            }
            found
        };
        for (step, emissions) in scores.chunks_exact(tags).enumerate() {
            let mut next = Vec::with_capacity(tags);
            for (to, emission) in emissions.iter().enumerate() {
                let row = &self.transitions[to * tags..(to + 1) * tags];
                let (from, sum) =
                    if step == 0 { (self.start, row[self.start]) } else { argmax(row, &best) };
                back.push(from);
                next.push(emission + sum);
            }
            confidences.push(largest_share(&next));
            best = next;
        }
        let last = &self.transitions[self.stop * tags..(self.stop + 1) * tags];
        let mut path = vec![0; length];
        let mut tag = argmax(last, &best).0;
        for step in (0..length).rev() {
            path[step] = tag;
            tag = back[step * tags + tag];
        }
        path.into_iter().zip(confidences).collect()
    }
}

/// The most likely tag of each token on its own, and its probability.
pub(super) fn most_likely(scores: &[f32], tags: usize) -> Vec<(usize, f32)> {
    scores
        .chunks_exact(tags)
        .map(|row| {
            let best = (1..tags).fold(0, |best, tag| if row[tag] > row[best] { tag } else { best });
            (best, largest_share(row))
        })
        .collect()
}

/// The largest value of the softmax of a row.
fn largest_share(row: &[f32]) -> f32 {
    let largest = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    1.0 / row.iter().map(|x| (x - largest).exp()).sum::<f32>()
}

/// Entities of a sentence's tags and confidences (Flair's `get_spans_from_bio`): tags that follow each other
/// are one entity until `O`, `B-`, `S-`, or an `I-` of another class; its class is that of most
/// of its tags, the first one counting a little more.
pub(super) fn entities(
    tokens: &[Token],
    tagged: &[(usize, f32)],
    tags: &[String],
    source: &Arc<str>,
) -> Result<Vec<Span>, TagError> {
    if tagged.iter().any(|(_, score)| !score.is_finite()) {
        return Err(TagError::Model(
            "the model's output is not a number; its weights are damaged".to_owned(),
        ));
    }
    let mut spans = Vec::new();
    let mut open: Option<Entity<'_>> = None;
    let mut last_class = "";
    for (index, &(tag, score)) in tagged.iter().enumerate() {
        let (prefix, class) = parts(&tags[tag]);
        let starts = matches!(prefix, "B" | "S") || prefix == "I" && class != last_class;
        last_class = class;
        if prefix.is_empty() || starts {
            spans.extend(open.take().map(|entity| entity.span(tokens, source)));
        }
        if !prefix.is_empty() {
            let entity = open.get_or_insert_with(|| Entity::new(index));
            entity.add(class, score, if starts { 1.1 } else { 1.0 });
        }
    }
    spans.extend(open.map(|entity| entity.span(tokens, source)));
    Ok(spans)
}

/// Prefix and class of a tag; both empty outside entities.
fn parts(tag: &str) -> (&str, &str) {
    match tag.split_once('-') {
        Some((prefix @ ("B" | "I" | "E" | "S"), class)) => (prefix, class),
        _ => ("", ""),
    }
}

struct Entity<'t> {
    first: usize,
    scores: Vec<f32>,
    weights: Vec<(&'t str, f32)>,
}

impl<'t> Entity<'t> {
    fn new(first: usize) -> Self {
        Self { first, scores: Vec::new(), weights: Vec::new() }
    }

    fn add(&mut self, class: &'t str, score: f32, weight: f32) {
        self.scores.push(score);
        match self.weights.iter_mut().find(|(known, _)| *known == class) {
            Some((_, sum)) => *sum += weight,
            None => self.weights.push((class, weight)),
        }
    }

    fn span(self, tokens: &[Token], source: &Arc<str>) -> Span {
        let mut best = self.weights[0];
        for &class in &self.weights {
            if class.1 > best.1 {
                best = class;
            }
        }
        let score = self.scores.iter().sum::<f32>() / self.scores.len() as f32;
        let last = self.first + self.scores.len() - 1;
        Span::new(tokens[self.first].start, tokens[last].end, &best.0.into(), score, source)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans(tags: &[&str]) -> Vec<(usize, usize, String)> {
        let token = |n: usize| Token { text: String::new(), start: n, end: n + 1 };
        let tokens: Vec<Token> = (0..tags.len()).map(token).collect();
        let tagged: Vec<(usize, f32)> = (0..tags.len()).map(|tag| (tag, 0.5)).collect();
        let names: Vec<String> = tags.iter().map(ToString::to_string).collect();
        let spans = entities(&tokens, &tagged, &names, &"flair".into()).unwrap();
        spans.iter().map(|span| (span.start, span.end, span.label.to_string())).collect()
    }

    // What flair 0.15.1 says.
    #[test]
    fn entities_are_those_of_get_spans_from_bio() {
        let span = |start, end, label: &str| (start, end, label.to_string());
        assert_eq!(spans(&["B-A", "I-A", "E-A", "O", "S-B"]), [span(0, 3, "A"), span(4, 5, "B")]);
        assert_eq!(spans(&["B-A", "I-B"]), [span(0, 1, "A"), span(1, 2, "B")]);
        assert_eq!(spans(&["B-A", "E-B", "E-B"]), [span(0, 3, "B")]);
        assert_eq!(spans(&["B-A", "E-B"]), [span(0, 2, "A")]);
        assert_eq!(spans(&["S-A", "E-A", "S-A"]), [span(0, 2, "A"), span(2, 3, "A")]);
        assert_eq!(spans(&["E-A", "<unk>", "I-A", "I-A"]), [span(0, 1, "A"), span(2, 4, "A")]);
    }

    proptest! {
        #[test]
        fn viterbi_finds_the_best_of_all_paths(
            scores in proptest::collection::vec(-4.0f32..4.0, 12),
            transitions in proptest::collection::vec(-4.0f32..4.0, 16),
        ) {
            let (start, stop, tags) = (2, 3, 4);
            let crf = Crf { transitions: transitions.clone(), start, stop };
            let worth = |path: &[usize]| {
                let mut from = start;
                let mut sum = 0.0f64;
                for (step, &to) in path.iter().enumerate() {
                    sum += f64::from(scores[step * tags + to]) + f64::from(transitions[to * tags + from]);
                    from = to;
                }
                sum + f64::from(transitions[stop * tags + from])
            };
            let best = (0..tags.pow(3))
                .map(|n| worth(&[n / 16, n / 4 % 4, n % 4]))
                .fold(f64::NEG_INFINITY, f64::max);
            let decoded = crf.decode(&scores, tags);
            let path: Vec<usize> = decoded.iter().map(|&(tag, _)| tag).collect();
            prop_assert!((worth(&path) - best).abs() < 1e-4);
            prop_assert!(decoded.iter().all(|&(_, share)| (0.25..=1.0).contains(&share)));
        }
    }
}
