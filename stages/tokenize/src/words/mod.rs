//! Byte-level BPE by words that were seen before.
//!
//! A byte-level tokenizer cuts a text into words by a regular expression and encodes each word by
//! itself, and most words of a corpus come again. Here the words of GPT-2's expression are found
//! by a [`Scanner`], and what the `tokenizers` crate makes of a word is remembered ([`Memory`]).
//! The crate stays the authority: it encodes every new word, and whole documents where the two
//! could differ.

mod block;
mod class;
mod memory;
mod scanner;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::{Value, json};
use tokenizers::{
    AddedToken, ModelWrapper, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    Tokenizer,
};

use memory::{Memory, Word};
use scanner::Scanner;

/// So many words are found before the first of them is recalled, so that looks at memory go on side
/// by side.
const AHEAD: usize = 64;

/// Token ids and their bytes in the text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encoded {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The bytes of each token; those of a whole character where it has several tokens.
    pub offsets: Vec<(usize, usize)>,
}

/// Takes the tokens of a text, one after another.
pub trait Sink {
    /// Takes a token and its bytes in the text.
    fn push(&mut self, id: u32, start: usize, end: usize);
    /// Forgets all tokens, because they come again from the first.
    fn clear(&mut self);
}

impl Sink for Encoded {
    fn push(&mut self, id: u32, start: usize, end: usize) {
        self.ids.push(id);
        self.offsets.push((start, end));
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.offsets.clear();
    }
}

/// Takes the tokens of a part of a text, which begins so many bytes into it.
pub(crate) struct Moved<'s, S> {
    pub(crate) sink: &'s mut S,
    pub(crate) by: usize,
}

impl<S: Sink> Sink for Moved<'_, S> {
    #[inline]
    fn push(&mut self, id: u32, start: usize, end: usize) {
        self.sink.push(id, self.by + start, self.by + end);
    }

    fn clear(&mut self) {
        self.sink.clear();
    }
}

/// Encodes texts as a [`Tokenizer`] of this kind does, faster.
#[derive(Debug)]
pub struct WordEncoder<'a> {
    tokenizer: &'a Tokenizer,
    scanner: Scanner,
    /// Texts that are tokens in themselves, wherever they stand.
    added: AhoCorasick,
    /// The ids of those, where text around them is encoded as if they ended it.
    added_ids: Option<Vec<u32>>,
    /// One for each thread, so that locks are free.
    memories: Vec<Mutex<Memory>>,
}

impl<'a> WordEncoder<'a> {
    /// An encoder for a byte-level BPE with GPT-2's expression, with or without digits on their
    /// own; `None` for every other tokenizer.
    pub fn new(tokenizer: &'a Tokenizer) -> Option<Self> {
        let ModelWrapper::BPE(model) = tokenizer.get_model() else { return None };
        if model.dropout.is_some() || tokenizer.get_normalizer().is_some() {
            return None;
        }
        // Such a post-processor treats the first token of a text unlike the others, and a word by
        // itself is all first.
        let post_processor = serde_json::to_value(tokenizer.get_post_processor()).ok()?;
        if trims_all_but_the_first(&post_processor) {
            return None;
        }
        let pre_tokenizer = serde_json::to_value(tokenizer.get_pre_tokenizer()?).ok()?;
        let byte_level = |value: &Value| {
            value["type"] == "ByteLevel"
                && value["add_prefix_space"] == false
                && value["use_regex"] == true
        };
        let single_digits = if byte_level(&pre_tokenizer) {
            false
        } else {
            let parts = pre_tokenizer["pretokenizers"].as_array()?;
            let digits = json!({ "type": "Digits", "individual_digits": true });
            if parts.len() != 2 || parts[0] != digits || !byte_level(&parts[1]) {
                return None;
            }
            true
        };
        let tokens: Vec<(u32, AddedToken)> =
            tokenizer.get_added_tokens_decoder().into_iter().collect();
        let added = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|(_, token)| &token.content))
            .ok()?;
        let is_plain = |token: &AddedToken| {
            !(token.lstrip || token.rstrip || token.single_word)
                && token.content.trim() == token.content
                && token.normalized == tokens[0].1.normalized
        };
        let are_plain = tokens.iter().all(|(_, token)| is_plain(token));
        let added_ids = are_plain.then(|| tokens.iter().map(|(id, _)| *id).collect());
        let threads = rayon::current_num_threads() + 1;
        let memories = (0..threads).map(|_| Mutex::default()).collect();
        let scanner = Scanner::new(single_digits);
        Some(Self { tokenizer, scanner, added, added_ids, memories })
    }

    /// Hands what the tokenizer makes of a text to `sink`, without tokens that it would add around
    /// it.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn encode(&self, text: &str, sink: &mut impl Sink) -> tokenizers::Result<()> {
        let mut at = 0;
        for found in self.added.find_iter(text) {
            let Some(ids) = &self.added_ids else {
                return self.by_the_crate(text, sink);
            };
            if !self.encode_words(text, at..found.start(), sink)? {
                sink.clear();
                return self.by_the_crate(text, sink);
            }
            sink.push(ids[found.pattern().as_usize()], found.start(), found.end());
            at = found.end();
        }
        if !self.encode_words(text, at..text.len(), sink)? {
            sink.clear();
            return self.by_the_crate(text, sink);
        }
        Ok(())
    }

    /// Encodes a part of a text that holds no added token; whether the crate agrees on what a word is.
    fn encode_words(
        &self,
        text: &str,
        part: Range<usize>,
        sink: &mut impl Sink,
    ) -> tokenizers::Result<bool> {
        let (first, text) = (part.start, &text[part]);
        let sink = &mut Moved { sink, by: first };
        let place = rayon::current_thread_index().map_or(0, |index| index + 1);
        let memory = &self.memories[place % self.memories.len()];
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ahead = self.scanner.words(text);
        let mut words = [Word::default(); AHEAD];
        loop {
            let mut found = 0;
            for (word, range) in words.iter_mut().zip(&mut ahead) {
                *word = Word::new(text, range);
                found += 1;
            }
            if found == 0 {
                return Ok(true);
            }
            memory.glance(&mut words[..found]);
            for word in &words[..found] {
                if memory.recall(word, text, sink) {
                    continue;
                }
                let (start, word) = (word.start, &text[word.start..word.end]);
                let Some(new) = self.word(word)? else {
                    return Ok(false);
                };
                memory.remember(word, &new);
                for (&id, (from, to)) in new.ids.iter().zip(new.offsets) {
                    sink.push(id, start + from, start + to);
                }
            }
        }
    }

    /// A word by itself; `None` if the crate takes it for several words.
    fn word(&self, word: &str) -> tokenizers::Result<Option<Encoded>> {
        if let Some(pre_tokenizer) = self.tokenizer.get_pre_tokenizer() {
            let mut pieces = PreTokenizedString::from(word);
            pre_tokenizer.pre_tokenize(&mut pieces)?;
            let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
            if splits.iter().filter(|(piece, _, _)| !piece.is_empty()).count() != 1 {
                return Ok(None);
            }
        }
        let mut encoded = Encoded::default();
        self.by_the_crate(word, &mut encoded)?;
        Ok(Some(encoded))
    }

    fn by_the_crate(&self, text: &str, sink: &mut impl Sink) -> tokenizers::Result<()> {
        encode_whole(self.tokenizer, text, sink)
    }
}

/// Hands what the `tokenizers` crate makes of a whole text to `sink`.
///
/// # Errors
/// When the tokenizer fails.
pub(crate) fn encode_whole(
    tokenizer: &Tokenizer,
    text: &str,
    sink: &mut impl Sink,
) -> tokenizers::Result<()> {
    let encoding = tokenizer.encode(text, false)?;
    for (&id, &(start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
        sink.push(id, start, end);
    }
    Ok(())
}

/// Whether a post-processor, or a part of it, trims offsets and makes an exception of the first.
fn trims_all_but_the_first(post_processor: &Value) -> bool {
    let parts = post_processor["processors"].as_array();
    post_processor["trim_offsets"] == true && post_processor["add_prefix_space"] == true
        || parts.is_some_and(|parts| parts.iter().any(trims_all_but_the_first))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::loaded::parse;

    /// A byte-level tokenizer over a vocabulary of bytes and a few merges.
    fn tokenizer(pre_tokenizer: &Value) -> Tokenizer {
        let mut alphabet: Vec<char> =
            tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
        alphabet.sort_unstable();
        let mut tokens: Vec<String> = alphabet.iter().map(char::to_string).collect();
        let merges =
            [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ã", "©"), ("'", "s"), ("Ġ", "Ġ"), ("l", "l")];
        tokens.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
        tokens.push("<|end|>".into());
        let vocab: serde_json::Map<String, Value> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
        let merges: Vec<String> = merges.iter().map(|(l, r)| format!("{l} {r}")).collect();
        let json = json!({
            "version": "1.0",
            "added_tokens": [{ "id": tokens.len() - 1, "content": "<|end|>", "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false, "special": true }],
            "normalizer": null,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": null,
            "model": { "type": "BPE", "vocab": vocab, "merges": merges },
        });
        parse(json.to_string().as_bytes(), Path::new("made here")).unwrap()
    }

    fn byte_level() -> Value {
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true })
    }

    fn kinds() -> [Tokenizer; 2] {
        let digits = json!({ "type": "Digits", "individual_digits": true });
        let both = json!({ "type": "Sequence", "pretokenizers": [digits, byte_level()] });
        [tokenizer(&byte_level()), tokenizer(&both)]
    }

    fn encode(encoder: &WordEncoder, text: &str) -> Encoded {
        let mut encoded = Encoded::default();
        encoder.encode(text, &mut encoded).unwrap();
        encoded
    }

    fn by_the_crate(encoder: &WordEncoder, text: &str) -> Encoded {
        let mut encoded = Encoded::default();
        encoder.by_the_crate(text, &mut encoded).unwrap();
        encoded
    }

    fn check(text: &str) {
        for tokenizer in kinds() {
            let encoder = WordEncoder::new(&tokenizer).unwrap();
            let expected = by_the_crate(&encoder, text);
            for time in ["new", "known"] {
                assert_eq!(encode(&encoder, text), expected, "{text:?}, {time}");
            }
        }
    }

    #[test]
    fn what_the_expression_tells_apart() {
        for text in [
            "",
            " ",
            "  ",
            "a",
            " a",
            "  a",
            "\n\na",
            " \n a",
            "a  ",
            "the'll 's it's I'D 'x",
            "№5 ²³ Ⅷ 1990s 12/3/45 3 4  5",
            "é\u{301}\u{a0}x\u{85}y\u{2003}z\u{200b}",
            "a<|end|>b <|end|>",
            "中文 字123字",
            "\u{1f600}\u{1f3fd}  \u{1f600}",
            "\t\tx\r\n \r\ny",
            "'",
            "''s",
            " 's",
            "'\u{73}'",
            "...!? -- —",
            "ǅ ª ʰ ৹ ½ 𝟘 𐒠",
        ] {
            check(text);
        }
    }

    /// Post-processors change offsets; the one whose rule looks at the place in the text is left to
    /// the crate.
    #[test]
    fn post_processors_move_offsets_alike() {
        use tokenizers::PostProcessorWrapper;
        for (trim_offsets, add_prefix_space) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let json = json!({ "type": "ByteLevel", "trim_offsets": trim_offsets,
                "add_prefix_space": add_prefix_space, "use_regex": true });
            let processor: PostProcessorWrapper = serde_json::from_value(json).unwrap();
            let mut tokenizer = tokenizer(&byte_level());
            tokenizer.with_post_processor(Some(processor));
            let Some(encoder) = WordEncoder::new(&tokenizer) else {
                assert!(trim_offsets && add_prefix_space);
                continue;
            };
            assert!(!(trim_offsets && add_prefix_space));
            for text in ["a the the", " the  the\n the"] {
                assert_eq!(encode(&encoder, text), by_the_crate(&encoder, text));
            }
        }
    }

    #[test]
    fn other_tokenizers_are_left_to_the_crate() {
        let prefixed = json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true });
        let whole = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
        for other in [prefixed, whole, json!({ "type": "Whitespace" })] {
            assert!(WordEncoder::new(&tokenizer(&other)).is_none(), "{other}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_text_is_encoded_as_the_crate_does(
            text in prop::collection::vec(
                prop_oneof![
                    any::<char>().prop_map(String::from),
                    prop::sample::select(vec![
                        " ", "  ", "\n", "\t", "'s", "'", "the", "é", "7", "19", "\u{a0}", ".", "<|end|>", "Ⅷ",
                    ]).prop_map(String::from),
                ],
                0..40,
            ).prop_map(|parts| parts.concat())
        ) {
            check(&text);
        }
    }
}
