//! spaCy's tokenizer: white space, then exceptions, prefixes, suffixes, URLs and infixes, then
//! exceptions that span several tokens.

use std::collections::HashMap;
use std::ops::Range;

use pft_pii::LoadError;

use super::hash::string_id;
use super::lexeme::is_space;
use super::msgpack::Packed;
use super::pattern::Pattern;

/// Keys of ORTH and NORM in the exceptions of a tokenizer file.
const ORTH: u64 = 65;
const NORM: u64 = 67;

/// A tokenizer read from a model's `tokenizer` file.
pub(super) struct Tokenizer {
    prefix: Option<Pattern>,
    suffix: Option<Pattern>,
    infix: Option<Pattern>,
    token_match: Option<Pattern>,
    url_match: Option<Pattern>,
    exceptions: HashMap<String, Vec<Piece>>,
    spanning: Trie,
}

/// A token inside a run of text without white space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Piece {
    /// Its text.
    pub(super) text: String,
    /// The norm that an exception gives it.
    pub(super) norm: Option<String>,
}

/// Exceptions that the affix rules take apart, by the ids of the resulting tokens.
#[derive(Default)]
struct Trie {
    next: HashMap<u64, Trie>,
    ends: bool,
}

impl Tokenizer {
    /// Reads the fields of a `tokenizer` file.
    pub(super) fn read(file: Packed<'_>) -> Result<Self, LoadError> {
        let pattern = |name: &str| -> Result<Option<Pattern>, LoadError> {
            let Some(field) = file.find(name) else { return Ok(None) };
            Pattern::compile(field.text()?)
                .map(Some)
                .map_err(|error| field.error(format!("`{name}` is not understood: {error}")))
        };
        let mut exceptions = HashMap::new();
        for (text, tokens) in file.field("exceptions")?.entries()? {
            let pieces = tokens.list()?.into_iter().map(|token| {
                let mut piece = Piece { text: String::new(), norm: None };
                for (key, value) in token.entries()? {
                    match key.number()? {
                        ORTH => piece.text = value.text()?.to_owned(),
                        NORM => piece.norm = Some(value.text()?.to_owned()),
                        other => {
                            return Err(key.error(format!("exception with attribute {other}")));
                        }
                    }
                }
                Ok(piece)
            });
            let pieces: Vec<Piece> = pieces.collect::<Result<_, LoadError>>()?;
            let text = text.text()?;
            if pieces.iter().map(|piece| &*piece.text).collect::<String>() != text {
                return Err(file.error("an exception whose tokens do not make up its text"));
            }
            exceptions.insert(text.to_owned(), pieces);
        }
        let mut tokenizer = Self {
            prefix: pattern("prefix_search")?,
            suffix: pattern("suffix_search")?,
            infix: pattern("infix_finditer")?,
            token_match: pattern("token_match")?,
            url_match: pattern("url_match")?,
            exceptions,
            spanning: Trie::default(),
        };
        let every =
            file.find("faster_heuristics").is_some_and(|flag| flag.value.as_bool() == Some(false));
        let mut spanning = Trie::default();
        for text in tokenizer.exceptions.keys() {
            let affixed = [&tokenizer.prefix, &tokenizer.suffix, &tokenizer.infix].into_iter().any(
                |pattern| found(pattern.as_ref(), text).is_some_and(|range| !range.is_empty()),
            ) || found(tokenizer.infix.as_ref(), text).is_some();
            if every || affixed || text.contains(' ') {
                let mut node = &mut spanning;
                for (start, end, _) in chunks(text) {
                    for piece in tokenizer.split_affixes(&text[start..end], false) {
                        node = node.next.entry(string_id(&piece.text)).or_default();
                    }
                }
                node.ends = true;
            }
        }
        tokenizer.spanning = spanning;
        Ok(tokenizer)
    }

    /// The tokens of a chunk (see [`chunks`]).
    pub(super) fn split(&self, chunk: &str) -> Vec<Piece> {
        match self.exceptions.get(chunk) {
            Some(pieces) => pieces.clone(),
            None => self.split_affixes(chunk, true),
        }
    }

    fn split_affixes(&self, chunk: &str, exceptions: bool) -> Vec<Piece> {
        let is_exception = |text: &str| exceptions && self.exceptions.contains_key(text);
        let (mut rest, mut last_length) = (chunk, None);
        let (mut prefixes, mut suffixes) = (Vec::new(), Vec::new());
        while !rest.is_empty() && last_length != Some(rest.len()) {
            if matches_at_start(self.token_match.as_ref(), rest) || is_exception(rest) {
                break;
            }
            last_length = Some(rest.len());
            let before = found(self.prefix.as_ref(), rest).map_or(0, |range| range.len());
            if before != 0 {
                let (prefix, without) = rest.split_at(before);
                if !without.is_empty() && is_exception(without) {
                    rest = without;
                    prefixes.push(prefix);
                    break;
                }
            }
            let behind = found(self.suffix.as_ref(), &rest[before..]).map_or(0, |r| r.len());
            if behind != 0 {
                let (without, suffix) = rest.split_at(rest.len() - behind);
                if !without.is_empty() && is_exception(without) {
                    rest = without;
                    suffixes.push(suffix);
                    break;
                }
            }
            if before != 0 && behind != 0 && before + behind <= rest.len() {
                prefixes.push(&rest[..before]);
                suffixes.push(&rest[rest.len() - behind..]);
                rest = &rest[before..rest.len() - behind];
            } else if before != 0 {
                prefixes.push(&rest[..before]);
                rest = &rest[before..];
            } else if behind != 0 {
                suffixes.push(&rest[rest.len() - behind..]);
                rest = &rest[..rest.len() - behind];
            }
        }
        let plain = |text: &str| Piece { text: text.to_owned(), norm: None };
        let mut pieces: Vec<Piece> = prefixes.into_iter().map(plain).collect();
        if !rest.is_empty() {
            match self.exceptions.get(rest).filter(|_| exceptions) {
                Some(special) => pieces.extend_from_slice(special),
                None => pieces.extend(self.split_infixes(rest).into_iter().map(plain)),
            }
        }
        pieces.extend(suffixes.into_iter().rev().map(plain));
        pieces
    }

    fn split_infixes<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let whole = matches_at_start(self.token_match.as_ref(), text)
            || matches_at_start(self.url_match.as_ref(), text);
        let mut parts = Vec::new();
        let mut start = 0;
        if let Some(infix) = self.infix.as_ref().filter(|_| !whole) {
            for range in infix.find_iter(text) {
                if range.start == 0 {
                    continue;
                }
                if range.start != start {
                    parts.push(&text[start..range.start]);
                }
                if !range.is_empty() {
                    parts.push(&text[range.clone()]);
                }
                start = range.end;
            }
        }
        if start < text.len() {
            parts.push(&text[start..]);
        }
        parts
    }

    /// Where exceptions cover several tokens of a text, given the tokens' ids: token ranges in
    /// order, not overlapping; of overlapping candidates the longest, then the first, wins.
    pub(super) fn spanning_exceptions(
        &self,
        ids: impl Fn(usize) -> u64,
        tokens: usize,
    ) -> Vec<(usize, usize)> {
        let mut candidates = Vec::new();
        for start in 0..tokens {
            let mut node = &self.spanning;
            for at in start..tokens {
                match node.next.get(&ids(at)) {
                    Some(next) => node = next,
                    None => break,
                }
                if node.ends {
                    candidates.push((start, at + 1));
                }
            }
        }
        if candidates.is_empty() {
            return candidates;
        }
        candidates.sort_by_key(|&(start, end)| (std::cmp::Reverse(end - start), start));
        let mut seen = vec![false; tokens];
        let mut chosen = Vec::new();
        for (start, end) in candidates {
            if !seen[start] && !seen[end - 1] {
                chosen.push((start, end));
            }
            seen[start..end].fill(true);
        }
        chosen.sort_unstable();
        chosen
    }

    /// The tokens of an exception.
    pub(super) fn exception(&self, text: &str) -> Option<&[Piece]> {
        self.exceptions.get(text).map(Vec::as_slice)
    }
}

/// Byte ranges of a text that are tokenized on their own: runs with and without white space,
/// where a single blank after a token is left out.
pub(super) fn chunks(text: &str) -> Vec<(usize, usize, bool)> {
    let mut chunks = Vec::new();
    let Some(first) = text.chars().next() else { return chunks };
    let (mut start, mut in_space) = (0, is_space(first));
    for (index, c) in text.char_indices() {
        if is_space(c) != in_space {
            if start < index {
                chunks.push((start, index, in_space));
            }
            start = if c == ' ' { index + 1 } else { index };
            in_space = !in_space;
        }
    }
    if start < text.len() {
        chunks.push((start, text.len(), in_space));
    }
    chunks
}

/// The first match.
fn found(pattern: Option<&Pattern>, text: &str) -> Option<Range<usize>> {
    pattern?.find_at(text, 0)
}

/// `re.match`: a match that starts where the text does.
fn matches_at_start(pattern: Option<&Pattern>, text: &str) -> bool {
    found(pattern, text).is_some_and(|range| range.start == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_leave_out_single_blanks_only() {
        let parts = |text: &'static str| -> Vec<&str> {
            chunks(text).into_iter().map(|(start, end, _)| &text[start..end]).collect()
        };
        assert_eq!(parts("a b"), ["a", "b"]);
        assert_eq!(parts("a  b"), ["a", " ", "b"]);
        assert_eq!(parts(" a "), [" ", "a"]);
        assert_eq!(parts("a\n\nb"), ["a", "\n\n", "b"]);
        assert_eq!(parts("a \n b"), ["a", "\n ", "b"]);
        assert!(parts("").is_empty());
    }
}
