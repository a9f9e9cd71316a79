//! The heads of an attention layer, and where they lie within a row.

/// The heads of one attention layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) queries: usize,
    /// Divides `queries`; query head `h` reads key and value head `h / (queries / keys)`.
    pub(crate) keys: usize,
    pub(crate) dim: usize,
    /// Multiplies q·kᵀ.
    pub(crate) scale: f32,
    /// Keys that a query sees at most, its own among them.
    pub(crate) window: Option<usize>,
    /// Bounds the scores by ± this, smoothly.
    pub(crate) soft_cap: Option<f32>,
}

impl Heads {
    /// Heads that see all that came before them, with the scale 1/√dim.
    pub(crate) fn new(queries: usize, keys: usize, dim: usize) -> Self {
        let scale = (1.0 / (dim as f64).sqrt()) as f32;
        Self { queries, keys, dim, scale, window: None, soft_cap: None }
    }

    pub(crate) fn group(self) -> usize {
        self.queries / self.keys
    }

    /// The first of `seen` keys that their last query sees.
    pub(crate) fn first_seen(self, seen: usize) -> usize {
        self.window.map_or(0, |window| seen.saturating_sub(window))
    }

    /// Width of all query heads.
    pub(crate) fn query_width(self) -> usize {
        self.queries * self.dim
    }

    /// Width of all key heads.
    pub(crate) fn key_width(self) -> usize {
        self.keys * self.dim
    }
}

/// How the columns of one matrix of queries, keys and values are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// All queries, all keys, all values (GPT-2, Phi-3).
    ByKind,
    /// Query, key and value of the first head, then of the next (GPT-NeoX).
    ByHead,
}

/// Where the heads of queries, of keys, or of values lie within a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Where the first head begins.
    pub(crate) first: usize,
    /// How far heads are apart.
    pub(crate) step: usize,
    /// Width of the row.
    pub(crate) stride: usize,
}

impl Columns {
    /// Where head `head` begins.
    pub(crate) fn of(self, head: usize) -> usize {
        self.first + head * self.step
    }
}

/// The columns of queries, keys and values; `order` is that of one matrix, none that of three.
pub(crate) fn columns(heads: Heads, order: Option<Order>) -> [Columns; 3] {
    let (dim, queries, keys) = (heads.dim, heads.query_width(), heads.key_width());
    let stride = queries + 2 * keys;
    match order {
        None => [queries, keys, keys].map(|stride| Columns { first: 0, step: dim, stride }),
        Some(Order::ByKind) => {
            [0, queries, queries + keys].map(|first| Columns { first, step: dim, stride })
        }
        Some(Order::ByHead) => {
            [0, dim, 2 * dim].map(|first| Columns { first, step: 3 * dim, stride })
        }
    }
}
