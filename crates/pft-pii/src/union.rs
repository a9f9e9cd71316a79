//! Spans that share characters, on their way to becoming one.

use std::cmp::Ordering;

use crate::{OtherLabels, Span};

/// A union that may still grow.
pub(crate) struct Union {
    start: usize,
    end: usize,
    /// The highest of its members' scores.
    score: f32,
    /// The member that the union takes its label from, and its backend's priority.
    best: (i32, Span),
    /// The labels of the other members; the best one's may be among them.
    labels: OtherLabels,
}

impl Union {
    /// A union of one span, whose backend has this priority.
    pub(crate) fn new(priority: i32, span: Span) -> Self {
        Self {
            start: span.start,
            end: span.end,
            score: span.score,
            best: (priority, span),
            labels: OtherLabels::default(),
        }
    }

    /// Whether a span that begins no earlier than the members shares a character with the union.
    pub(crate) fn reaches(&self, span: &Span) -> bool {
        span.start < self.end
    }

    /// Adds a span that the union reaches.
    pub(crate) fn add(&mut self, priority: i32, span: Span) {
        self.end = self.end.max(span.end);
        self.score = self.score.max(span.score);
        let (best_priority, best) = &mut self.best;
        let other = if outranks((priority, &span), (*best_priority, best)) {
            *best_priority = priority;
            std::mem::replace(best, span)
        } else {
            span
        };
        for label in other.labels().filter(|&label| *label != best.label) {
            self.labels.insert(label);
        }
    }

    /// The union as one span.
    pub(crate) fn into_span(self) -> Span {
        let (_, best) = self.best;
        let mut span = Span { start: self.start, end: self.end, score: self.score, ..best };
        self.labels.iter().for_each(|label| span.add_label(label));
        span
    }
}

fn outranks((a_priority, a): (i32, &Span), (b_priority, b): (i32, &Span)) -> bool {
    let order =
        a_priority.cmp(&b_priority).then(a.len().cmp(&b.len())).then(a.score.total_cmp(&b.score));
    order == Ordering::Greater
}
