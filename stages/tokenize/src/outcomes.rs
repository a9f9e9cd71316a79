//! What became of documents beside their examples, counted.

use pft_stage::Context;

/// Counts of one document or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    /// Documents with a control token of the tokenizer in their text.
    pub(crate) held_control_tokens: u64,
    /// Conversations that the template refused.
    pub(crate) refused: u64,
    /// Conversations, or exchanges of them, that were too long.
    pub(crate) too_long: u64,
    /// Conversations of which no answer was left to learn.
    pub(crate) without_answer: u64,
    /// Conversations with an answer that no token ends.
    pub(crate) unended: u64,
}

impl Outcomes {
    /// Whether nothing was left out.
    pub(crate) fn is_kept(&self) -> bool {
        self.refused + self.too_long + self.without_answer == 0
    }

    /// Adds a document's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.held_control_tokens += other.held_control_tokens;
        self.refused += other.refused;
        self.too_long += other.too_long;
        self.without_answer += other.without_answer;
        self.unended += other.unended;
    }

    /// Says what there is to say.
    pub(crate) fn report(&self, context: &Context) {
        let notes = [
            (
                "control_tokens_in_text",
                self.held_control_tokens,
                "documents hold text of a control token of the tokenizer",
            ),
            (
                "conversations_refused",
                self.refused,
                "conversations left out: the template refuses them",
            ),
            (
                "conversations_too_long",
                self.too_long,
                "conversations or exchanges left out: too long",
            ),
            (
                "conversations_without_answer",
                self.without_answer,
                "conversations left out: nothing of an answer fits",
            ),
            (
                "conversations_unended",
                self.unended,
                "conversations have answers that no token ends: the model does not learn to stop there",
            ),
        ];
        for (name, count, said) in notes {
            if count > 0 {
                context.metric(name, count);
                context.progress().note(format!("{count} {said}"));
            }
        }
    }
}
