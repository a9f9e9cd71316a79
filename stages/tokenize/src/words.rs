//! Byte-level BPE by words that were seen before.
//!
//! A byte-level tokenizer cuts a text into words by a regular expression and encodes each word by
//! itself, and most words of a corpus come again. Here the words of GPT-2's expression are found
//! by a scanner, and what the `tokenizers` crate makes of a word is remembered. The crate stays
//! the authority: it encodes every new word, and whole documents where the two could differ.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use regex::Regex;
use serde_json::{Value, json};
use tokenizers::{
    ModelWrapper, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
};

/// Words that a thread remembers; beyond them it asks the crate each time.
const MAX_WORDS: usize = 1 << 18;
/// The longest word, in bytes, that is remembered.
const MAX_WORD_BYTES: usize = 64;

/// Token ids and their bytes in the text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encoded {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The bytes of each token; those of a whole character where it has several tokens.
    pub offsets: Vec<(usize, usize)>,
}

/// Encodes texts as a [`Tokenizer`] of this kind does, faster.
#[derive(Debug)]
pub struct WordEncoder<'a> {
    tokenizer: &'a Tokenizer,
    /// Whether each digit is a word of its own.
    single_digits: bool,
    /// Texts that are tokens in themselves, wherever they stand.
    added: Vec<String>,
    /// Whether an added token begins with this byte.
    begins_added: Box<[bool; 256]>,
    /// One for each thread, so that locks are free.
    caches: Vec<Mutex<Cache>>,
}

/// Words with their tokens. The tokens of all words lie behind each other, and short words, which most
/// are, lie in the table itself, so that a word is found with few looks at memory.
#[derive(Debug, Default)]
struct Cache {
    short: HashMap<u128, Known, ahash::RandomState>,
    long: HashMap<Box<str>, Known, ahash::RandomState>,
    tokens: Vec<Token>,
}

/// Where a word's tokens are.
#[derive(Debug, Clone, Copy)]
struct Known {
    first: u32,
    count: u32,
}

/// A token of a word and its bytes in it.
#[derive(Debug, Clone, Copy)]
struct Token {
    id: u32,
    start: u8,
    end: u8,
}

impl Cache {
    /// The tokens of the word that the first `length` bytes of a text are.
    fn get(&self, text: &str, length: usize) -> Option<&[Token]> {
        let known = match packed(text.as_bytes(), length) {
            Some(word) => self.short.get(&word),
            None => self.long.get(&text[..length]),
        }?;
        Some(&self.tokens[known.first as usize..][..known.count as usize])
    }

    fn insert(&mut self, word: &str, encoded: &Encoded) {
        if word.len() > MAX_WORD_BYTES || self.short.len() + self.long.len() >= MAX_WORDS {
            return;
        }
        // A word has at most MAX_WORD_BYTES tokens of that many bytes.
        let known = Known { first: self.tokens.len() as u32, count: encoded.ids.len() as u32 };
        let tokens = encoded.ids.iter().zip(&encoded.offsets);
        self.tokens.extend(tokens.map(|(&id, &(start, end))| Token {
            id,
            start: start as u8,
            end: end as u8,
        }));
        match packed(word.as_bytes(), word.len()) {
            Some(word) => self.short.insert(word, known),
            None => self.long.insert(word.into(), known),
        };
    }
}

/// The first `length` bytes of a text, at most 15 of them, with their number, as a number.
fn packed(text: &[u8], length: usize) -> Option<u128> {
    if length > 15 {
        return None;
    }
    // One read where the text goes on, because a copy of so few bytes is slow to be read again.
    let bytes = match text.first_chunk() {
        Some(bytes) => u128::from_le_bytes(*bytes) & ((1 << (8 * length)) - 1),
        None => text[..length].iter().rev().fold(0, |bytes, &byte| bytes << 8 | u128::from(byte)),
    };
    Some(bytes | (length as u128) << 120)
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
        let added: Vec<String> =
            tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
        let mut begins_added = Box::new([false; 256]);
        for token in &added {
            begins_added[usize::from(*token.as_bytes().first()?)] = true;
        }
        let threads = rayon::current_num_threads() + 1;
        let caches = (0..threads).map(|_| Mutex::default()).collect();
        Some(Self { tokenizer, single_digits, added, begins_added, caches })
    }

    /// What the tokenizer makes of a text, without tokens that it would add around it.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn encode(&self, text: &str) -> tokenizers::Result<Encoded> {
        if self.holds_added_token(text) {
            return self.by_the_crate(text);
        }
        let place = rayon::current_thread_index().map_or(0, |index| index + 1);
        let cache = &self.caches[place % self.caches.len()];
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        // English has a token in about four bytes.
        let tokens = text.len() / 4;
        let mut encoded =
            Encoded { ids: Vec::with_capacity(tokens), offsets: Vec::with_capacity(tokens) };
        let (classes, mut start) = (classes(), 0);
        while start < text.len() {
            let rest = &text[start..];
            let length = word_length(rest, classes, self.single_digits);
            if let Some(known) = cache.get(rest, length) {
                encoded.append_known(known, start);
            } else {
                let word = &rest[..length];
                let Some(new) = self.word(word)? else { return self.by_the_crate(text) };
                encoded.append(&new, start);
                cache.insert(word, &new);
            }
            start += length;
        }
        Ok(encoded)
    }

    fn holds_added_token(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        bytes.iter().enumerate().any(|(at, &byte)| {
            self.begins_added[usize::from(byte)]
                && self.added.iter().any(|token| bytes[at..].starts_with(token.as_bytes()))
        })
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
        self.by_the_crate(word).map(Some)
    }

    fn by_the_crate(&self, text: &str) -> tokenizers::Result<Encoded> {
        let encoding = self.tokenizer.encode(text, false)?;
        let (ids, offsets) = (encoding.get_ids().to_vec(), encoding.get_offsets().to_vec());
        Ok(Encoded { ids, offsets })
    }
}

/// Whether a post-processor, or a part of it, trims offsets and makes an exception of the first.
fn trims_all_but_the_first(post_processor: &Value) -> bool {
    let parts = post_processor["processors"].as_array();
    post_processor["trim_offsets"] == true && post_processor["add_prefix_space"] == true
        || parts.is_some_and(|parts| parts.iter().any(trims_all_but_the_first))
}

impl Encoded {
    fn append_known(&mut self, word: &[Token], start: usize) {
        for &Token { id, start: from, end: to } in word {
            self.ids.push(id);
            self.offsets.push((start + usize::from(from), start + usize::from(to)));
        }
    }

    fn append(&mut self, word: &Self, start: usize) {
        self.ids.extend_from_slice(&word.ids);
        self.offsets.extend(word.offsets.iter().map(|(from, to)| (start + from, start + to)));
    }
}

/// What GPT-2's expression tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`
    Space,
    /// Everything else.
    Other,
}

/// The class of every character, by its number.
fn classes() -> &'static [Class] {
    static CLASSES: OnceLock<Vec<Class>> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let all: String = ('\0'..=char::MAX).collect();
        let mut classes = vec![Class::Other; char::MAX as usize + 1];
        for (expression, class) in
            [(r"\p{L}+", Class::Letter), (r"\p{N}+", Class::Number), (r"\s+", Class::Space)]
        {
            // The expressions are constants, and Unicode's classes are built in.
            let Ok(expression) = Regex::new(expression) else { continue };
            for run in expression.find_iter(&all) {
                run.as_str().chars().for_each(|character| classes[character as usize] = class);
            }
        }
        classes
    })
}

/// The bytes of the first word of a text that is not empty, by the expression
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` (Radford et al.
/// 2019). With `single_digits` a number's characters are cut out before the expression sees what is
/// between them.
fn word_length(text: &str, classes: &[Class], single_digits: bool) -> usize {
    let class = |character: char| classes[character as usize];
    let Some(first) = text.chars().next() else { return 0 };
    if single_digits && class(first) == Class::Number {
        return first.len_utf8();
    }
    if first == '\'' {
        let endings = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
        if let Some(ending) = endings.iter().find(|ending| text.starts_with(**ending)) {
            return ending.len();
        }
    }
    let after_space = text.strip_prefix(' ').unwrap_or(text);
    if let Some(head) = after_space.chars().next() {
        let kind = class(head);
        let cut_off = single_digits && kind == Class::Number;
        if kind != Class::Space && !cut_off {
            let run = after_space.find(|character| class(character) != kind);
            return text.len() - after_space.len() + run.unwrap_or(after_space.len());
        }
    }
    let run = text.find(|character| class(character) != Class::Space).unwrap_or(text.len());
    let last = text[..run].chars().next_back().map_or(0, char::len_utf8);
    let next = text[run..].chars().next();
    // A digit that is cut out ends the text before it.
    let at_the_end =
        next.is_none_or(|character| single_digits && class(character) == Class::Number);
    if at_the_end || run == last { run } else { run - last }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::load::parse;

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

    fn check(text: &str) {
        for tokenizer in kinds() {
            let encoder = WordEncoder::new(&tokenizer).unwrap();
            let expected = encoder.by_the_crate(text).unwrap();
            for time in ["new", "known"] {
                assert_eq!(encoder.encode(text).unwrap(), expected, "{text:?}, {time}");
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
                assert_eq!(encoder.encode(text).unwrap(), encoder.by_the_crate(text).unwrap());
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
