//! Conversations as examples: rendered by the chat template, and cut at turns.

use std::ops::Range;

use pft_artifact::{DocumentRow, Quoted, Role, Turn};
use pft_stage::StageError;

use crate::chat::{Chat, ChatText};
use crate::config::{LongConversation, Loss, Mode, Refused};
use crate::examples::{Cut, Cutter, DocumentExamples, Tokens, flags};
use crate::outcomes::Outcomes;
use crate::words::Encoded;

/// The tokens of some turns of a conversation.
struct Piece {
    tokens: Tokens,
    held_control_tokens: bool,
    ends_answers: bool,
}

impl Piece {
    /// Whether a token in its first `length` is learned. Nothing predicts the first.
    fn teaches(&self, length: usize) -> bool {
        let mask = &self.tokens.loss_mask;
        mask.is_empty() || mask[..length.min(mask.len())].iter().skip(1).any(|&learned| learned)
    }
}

/// What becomes of a conversation, as it is found out.
#[derive(Default)]
struct Made {
    tokens: Tokens,
    cuts: Vec<Cut>,
    truncated: bool,
    outcomes: Outcomes,
}

impl Made {
    /// Takes the first `length` tokens of a piece for an example.
    fn take(&mut self, piece: Piece, length: usize) {
        if !piece.teaches(length) {
            self.outcomes.without_answer += 1;
            return;
        }
        self.outcomes.held_control_tokens |= u64::from(piece.held_control_tokens);
        self.outcomes.unended |= u64::from(!piece.ends_answers);
        let start = self.tokens.ids.len();
        self.tokens.ids.extend_from_slice(&piece.tokens.ids[..length]);
        self.tokens.pii.extend_from_slice(&piece.tokens.pii[..length]);
        let mask = &piece.tokens.loss_mask;
        self.tokens.loss_mask.extend_from_slice(&mask[..length.min(mask.len())]);
        self.cuts.push(Cut::bare(start..start + length));
    }
}

impl Cutter<'_> {
    /// The examples of a conversation. `places` are its personal data.
    ///
    /// # Errors
    /// When there is no chat template, the tokenizer fails, or the template refuses the conversation
    /// and config says to stop then.
    pub(crate) fn conversation<'d>(
        &self,
        document: DocumentRow<'d>,
        places: &[(usize, usize)],
    ) -> Result<DocumentExamples<'d>, StageError> {
        let config = self.config;
        if config.mode == Mode::Blocks {
            return Err(StageError::config(
                "mode: blocks cuts through the turns of conversations, which the corpus holds",
            )
            .with_help("use `mode: truncate`, and `chat.long` for those that are too long"));
        }
        let date = config.chat.date.as_deref();
        let chat = self.chat.get_or_init(|| Chat::new(self.tokenizer, date));
        let chat = chat.as_ref().map_err(StageError::config)?;
        let mut made = Made::default();
        match self.examples_of(chat, document, places, &mut made) {
            Ok(()) => {}
            Err(Failed::Stop(error)) => return Err(error),
            Err(Failed::Template(_)) if config.chat.refused == Refused::LeaveOut => {
                made = Made::default();
                made.outcomes.refused = 1;
            }
            Err(Failed::Template(reason)) => {
                return Err(StageError::input(format!(
                    "document {}: the conversation cannot be rendered: {reason}",
                    Quoted(document.doc_id)
                ))
                .with_help(
                    "mend the conversation or the template, or set `chat.refused: leave_out` to \
                     leave such conversations out",
                ));
            }
        }
        let Made { tokens, cuts, truncated, outcomes } = made;
        Ok(self.made_of(document, tokens, cuts, truncated, outcomes))
    }

    fn examples_of(
        &self,
        chat: &Chat,
        document: DocumentRow<'_>,
        places: &[(usize, usize)],
        made: &mut Made,
    ) -> Result<(), Failed> {
        let most = self.config.max_length as usize;
        let whole = self.piece(chat, document, document.turns, places)?;
        let length = whole.tokens.ids.len();
        if length <= most {
            made.take(whole, length);
            return Ok(());
        }
        match self.config.chat.long {
            LongConversation::Truncate => {
                made.truncated = true;
                made.take(whole, most);
            }
            LongConversation::LeaveOut => made.outcomes.too_long += 1,
            LongConversation::Split => {
                let (head, exchanges) = exchanges(document.turns);
                let mut open: Option<(Vec<Turn>, Piece)> = None;
                for exchange in exchanges {
                    let begun = open.as_ref().map_or(head, |(turns, _)| turns);
                    let turns = [begun, exchange].concat();
                    let piece = self.piece(chat, document, &turns, places)?;
                    if piece.tokens.ids.len() <= most {
                        open = Some((turns, piece));
                        continue;
                    }
                    let Some((_, full)) = open.take() else {
                        made.outcomes.too_long += 1;
                        continue;
                    };
                    let length = full.tokens.ids.len();
                    made.take(full, length);
                    let turns = [head, exchange].concat();
                    let piece = self.piece(chat, document, &turns, places)?;
                    match piece.tokens.ids.len() <= most {
                        true => open = Some((turns, piece)),
                        false => made.outcomes.too_long += 1,
                    }
                }
                if let Some((_, last)) = open {
                    let length = last.tokens.ids.len();
                    made.take(last, length);
                }
            }
        }
        Ok(())
    }

    /// The tokens of turns as the template puts them.
    fn piece(
        &self,
        chat: &Chat,
        document: DocumentRow<'_>,
        turns: &[Turn],
        places: &[(usize, usize)],
    ) -> Result<Piece, Failed> {
        let ChatText { text, contents, answers, ends_answers } =
            chat.render(document, turns).map_err(Failed::Template)?;
        let written: Vec<Range<usize>> = contents.iter().map(|part| part.range.clone()).collect();
        let mut encoded = Encoded::default();
        let held_control_tokens =
            self.encode(document, &text, &written, &mut encoded).map_err(Failed::Stop)?;
        let mut pii: Vec<(usize, usize)> = contents
            .iter()
            .flat_map(|part| {
                let first = places.partition_point(|&(_, end)| end <= part.source.start);
                let within = places[first..].iter();
                within
                    .take_while(|&&(start, _)| start < part.source.end)
                    .filter_map(|&(start, end)| part.place_of(&(start..end)))
            })
            .map(|place| (place.start, place.end))
            .collect();
        pii.sort_unstable();
        let loss_mask = match self.config.chat.loss {
            Loss::All => Vec::new(),
            Loss::Answers => {
                let answers: Vec<_> = answers.iter().map(|part| (part.start, part.end)).collect();
                flags(&encoded, &answers)
            }
        };
        let tokens = Tokens { pii: flags(&encoded, &pii), loss_mask, ids: encoded.ids };
        Ok(Piece { tokens, held_control_tokens, ends_answers })
    }
}

/// Why a conversation has no examples.
enum Failed {
    /// The template refuses it.
    Template(String),
    /// The stage cannot go on.
    Stop(StageError),
}

/// The turns that say how to answer, which come first, and the rest: each part begins with a user's turn
/// and ends before the next user's turn that follows another's.
fn exchanges(turns: &[Turn]) -> (&[Turn], Vec<&[Turn]>) {
    let instructs = |turn: &&Turn| matches!(turn.role, Role::System | Role::Developer);
    let (head, rest) = turns.split_at(turns.iter().take_while(instructs).count());
    let begins = |before: &Turn, turn: &Turn| before.role != Role::User && turn.role == Role::User;
    (head, rest.chunk_by(|before, turn| !begins(before, turn)).collect())
}
