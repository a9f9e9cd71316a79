//! Words seen so far with their embeddings, shared by all threads and bounded in size.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::embedder::Embedder;
use super::encoder::WordProducts;
use super::hash::string_id;
use super::lexeme::{Norms, is_space};
use super::tokenizer::{Piece, Tokenizer, chunks};

/// Words that are kept at most, about 25 MB of embeddings.
const WORDS: usize = 1 << 16;

/// Words whose products with the first convolution are kept at most, about 28 MB.
const PRODUCTS: usize = 8 << 10;

/// Chunks whose tokens are kept at most.
const CHUNKS: usize = 1 << 17;

/// Longest chunk that is kept, in bytes.
const CHUNK_BYTES: usize = 64;

/// A word as the network sees it.
pub(super) struct Lexeme {
    /// spaCy's id of the text.
    pub(super) id: u64,
    pub(super) is_space: bool,
    pub(super) piece: Piece,
    pub(super) vector: Vec<f32>,
    /// What [`WordProducts::of`] gives, of the words that came first.
    pub(super) products: Option<Box<[f32]>>,
}

/// A token of a text.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) lexeme: Arc<Lexeme>,
}

/// Tokens of a chunk: their lengths and words.
type Chunk = Arc<[(usize, Arc<Lexeme>)]>;

/// Tokenizes texts and embeds their words.
pub(super) struct Lexicon {
    tokenizer: Tokenizer,
    norms: Norms,
    embedder: Embedder,
    products: WordProducts,
    words: RwLock<HashMap<Piece, Arc<Lexeme>>>,
    chunks: RwLock<HashMap<Box<str>, Chunk>>,
}

impl Lexicon {
    /// An empty cache in front of the parts of a model.
    pub(super) fn new(
        tokenizer: Tokenizer,
        norms: Norms,
        embedder: Embedder,
        products: WordProducts,
    ) -> Self {
        let (words, chunks) = (RwLock::default(), RwLock::default());
        Self { tokenizer, norms, embedder, products, words, chunks }
    }

    /// Width of a word's vector.
    pub(super) fn width(&self) -> usize {
        self.embedder.width()
    }

    /// What the first convolution makes of words alone.
    pub(super) fn products(&self) -> &WordProducts {
        &self.products
    }

    /// The rows of each hash embedding whose sum stands for a word.
    pub(super) fn rows(&self, word: &Piece) -> Vec<[usize; 4]> {
        self.embedder.rows(&self.norms, &word.text, word.norm.as_deref())
    }

    /// A word's static vector: zeros where it has none, nothing where the model has no vectors.
    pub(super) fn static_vector(&self, word: &Piece) -> Option<Vec<f32>> {
        let vectors = self.embedder.vectors()?;
        let known = vectors.get(&word.text).map(<[f32]>::to_vec);
        Some(known.unwrap_or_else(|| vec![0.0; vectors.width()]))
    }

    /// The tokens of a text.
    pub(super) fn tokenize(&self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::with_capacity(text.len() / 5);
        for (start, end, _) in chunks(text) {
            let chunk = self.chunk(&text[start..end]);
            let mut at = start;
            for (length, lexeme) in &*chunk {
                tokens.push(Token { start: at, end: at + length, lexeme: Arc::clone(lexeme) });
                at += length;
            }
        }
        self.apply_exceptions(text, tokens)
    }

    fn apply_exceptions(&self, text: &str, tokens: Vec<Token>) -> Vec<Token> {
        let spans = self.tokenizer.spanning_exceptions(|at| tokens[at].lexeme.id, tokens.len());
        if spans.is_empty() {
            return tokens;
        }
        let mut changed = Vec::with_capacity(tokens.len());
        let mut at = 0;
        for (first, last) in spans {
            changed.extend_from_slice(&tokens[at..first]);
            let (start, end) = (tokens[first].start, tokens[last - 1].end);
            match self.tokenizer.exception(&text[start..end]) {
                Some(pieces) => {
                    let mut start = start;
                    for piece in pieces {
                        let end = start + piece.text.len();
                        changed.push(Token { start, end, lexeme: self.word(piece) });
                        start = end;
                    }
                }
                None => changed.extend_from_slice(&tokens[first..last]),
            }
            at = last;
        }
        changed.extend_from_slice(&tokens[at..]);
        changed
    }

    fn chunk(&self, text: &str) -> Chunk {
        // A thread that panicked cannot have left an entry half written.
        let known = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = known.get(text) {
            return Arc::clone(chunk);
        }
        let room = known.len() < CHUNKS && text.len() <= CHUNK_BYTES;
        drop(known);
        let pieces = self.tokenizer.split(text);
        let chunk: Chunk =
            pieces.iter().map(|piece| (piece.text.len(), self.word(piece))).collect();
        if room {
            let mut known = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
            known.insert(text.into(), Arc::clone(&chunk));
        }
        chunk
    }

    fn word(&self, piece: &Piece) -> Arc<Lexeme> {
        let known = self.words.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lexeme) = known.get(piece) {
            return Arc::clone(lexeme);
        }
        let room = known.len() < WORDS && piece.text.len() <= CHUNK_BYTES;
        let with_products = room && known.len() < PRODUCTS;
        drop(known);
        let vector = self.embedder.embed(&self.norms, &piece.text, piece.norm.as_deref());
        let lexeme = Arc::new(Lexeme {
            id: string_id(&piece.text),
            is_space: piece.text.chars().all(is_space),
            piece: piece.clone(),
            products: with_products.then(|| self.products.of(&vector)),
            vector,
        });
        if room {
            let mut known = self.words.write().unwrap_or_else(PoisonError::into_inner);
            known.insert(piece.clone(), Arc::clone(&lexeme));
        }
        lexeme
    }
}
