//! The network of a spaCy entity recognizer: hash embeddings of a word's attributes, a maxout
//! convolution over its neighbours, and the first layer of the transition model.

use std::collections::HashMap;
use std::ops::Range;

use pft_pii::LoadError;

use super::features::{Features, POSITIONS};
use super::hash::embedding_rows;
use super::lexeme::{Attribute, Norms};
use super::thinc::{Node, ThincModel};
use super::vectors::StaticVectors;
use crate::kernels::{LayerNorm, Linear, Matrix, add, add_rows, maxout, product, transpose};

/// thinc's layer norm adds this to the variance.
const EPSILON: f32 = 1e-8;

/// Rows of a convolution that are computed at a time, so that they stay in the cache.
const BLOCK: usize = 192;

/// Embeds words without their context.
pub(super) struct Embedder {
    attributes: Vec<Attribute>,
    tables: Vec<Table>,
    vectors: Option<(StaticVectors, Linear)>,
    mix: Maxout,
    /// The weight of `mix`, `[inputs, pieces · outputs]`.
    mix_by_input: Vec<f32>,
}

struct Table {
    attribute: usize,
    seed: u32,
    rows: usize,
    values: Vec<f32>,
}

/// A maxout layer with layer norm. The outputs of its linear part are ordered by piece, so that
/// the maximum is taken over whole blocks.
struct Maxout {
    linear: Linear,
    pieces: usize,
    norm: LayerNorm,
}

impl Maxout {
    fn load(layer: Node<'_>, norm: Node<'_>, inputs: usize) -> Result<Self, LoadError> {
        let (outputs, pieces) = (layer.dimension("nO")?, layer.dimension("nP")?);
        let weight = layer.parameter("W", &[outputs, pieces, inputs])?;
        let bias = layer.parameter("b", &[outputs, pieces])?;
        Ok(Self {
            linear: Linear {
                weight: by_piece(&weight, [outputs, pieces], inputs),
                bias: by_piece(&bias, [outputs, pieces], 1),
            },
            pieces,
            norm: LayerNorm {
                weight: norm.parameter("G", &[outputs])?,
                bias: norm.parameter("b", &[outputs])?,
                epsilon: EPSILON,
            },
        })
    }

    fn outputs(&self) -> usize {
        self.linear.bias.len() / self.pieces
    }
}

/// `[outputs, pieces, width]` to `[pieces, outputs, width]`.
fn by_piece(values: &[f32], [outputs, pieces]: [usize; 2], width: usize) -> Vec<f32> {
    let mut ordered = Vec::with_capacity(values.len());
    for piece in 0..pieces {
        for output in 0..outputs {
            ordered.extend_from_slice(&values[(output * pieces + piece) * width..][..width]);
        }
    }
    ordered
}

impl Embedder {
    /// Takes the embedding layers out of a model.
    pub(super) fn load(
        model: &ThincModel<'_>,
        vectors: impl FnOnce() -> Result<StaticVectors, LoadError>,
    ) -> Result<Self, LoadError> {
        let columns = model.only("extract_features")?.attribute("columns")?;
        let attributes = columns
            .as_array()
            .into_iter()
            .flatten()
            .map(|column| {
                Attribute::parse(column)
                    .ok_or_else(|| model.error(format!("attribute {column} is not known here")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut width = 0;
        let mut tables = Vec::new();
        for node in model.named("hashembed") {
            let (rows, columns) = (node.dimension("nV")?, node.dimension("nO")?);
            let number = |name: &str| {
                let value = node.attribute(name)?;
                value.as_u64().ok_or_else(|| model.error(format!("`{name}` of a hashembed")))
            };
            let attribute = number("column")? as usize;
            if attribute >= attributes.len() || rows == 0 {
                return Err(model.error("a hashembed of a column that is not extracted"));
            }
            let values = node.parameter("E", &[rows, columns])?;
            tables.push(Table { attribute, seed: number("seed")? as u32, rows, values });
            width += columns;
        }
        let vectors = match model.named("static_vectors")[..] {
            [] => None,
            [node, ..] => {
                let vectors = vectors()?;
                let outputs = node.dimension("nO")?;
                let weight = node.parameter("W", &[outputs, vectors.width()])?;
                width += outputs;
                Some((vectors, Linear { weight, bias: vec![0.0; outputs] }))
            }
        };
        let (maxouts, norms) = (model.named("maxout"), model.named("layernorm"));
        let ([first, ..], [norm, ..]) = (&maxouts[..], &norms[..]) else {
            return Err(model.error("no maxout layer behind the embeddings"));
        };
        let mix = Maxout::load(*first, *norm, width)?;
        let mix_by_input = transpose(&mix.linear.weight, width);
        Ok(Self { attributes, tables, vectors, mix, mix_by_input })
    }

    /// Width of an embedded word.
    pub(super) fn width(&self) -> usize {
        self.mix.outputs()
    }

    /// The rows of each hash embedding whose sum stands for a word.
    pub(super) fn rows(&self, norms: &Norms, text: &str, norm: Option<&str>) -> Vec<[usize; 4]> {
        let ids: Vec<u64> =
            self.attributes.iter().map(|&kind| norms.attribute(kind, text, norm)).collect();
        let rows = |table: &Table| embedding_rows(ids[table.attribute], table.seed, table.rows);
        self.tables.iter().map(rows).collect()
    }

    /// The static vectors, where the model has them.
    pub(super) fn vectors(&self) -> Option<&StaticVectors> {
        self.vectors.as_ref().map(|(vectors, _)| vectors)
    }

    /// Embeds a word; `norm` is what a tokenizer exception says.
    pub(super) fn embed(&self, norms: &Norms, text: &str, norm: Option<&str>) -> Vec<f32> {
        let mut features = Vec::with_capacity(self.mix.linear.inputs());
        for (table, rows) in self.tables.iter().zip(self.rows(norms, text, norm)) {
            let width = table.values.len() / table.rows;
            let start = features.len();
            features.resize(start + width, 0.0);
            for row in rows {
                add(&mut features[start..], &table.values[row * width..][..width]);
            }
        }
        if let Some((vectors, linear)) = &self.vectors {
            let mut projected = vec![0.0; linear.bias.len()];
            if let Some(vector) = vectors.get(text) {
                linear.forward(&mut projected, vector);
            }
            features.extend(projected);
        }
        let mut pieces = self.mix.linear.bias.clone();
        add_rows(&mut pieces, &features, &self.mix_by_input);
        let mut output = vec![0.0; self.mix.outputs()];
        maxout(&mut output, &pieces, self.mix.pieces, self.mix.outputs());
        self.mix.norm.apply(&mut output);
        output
    }
}

/// The first convolution's products with a word, which do not depend on its context.
pub(super) struct WordProducts {
    /// `[width, places · pieces · width]` for the places before, at and behind a word.
    by_input: Vec<f32>,
    outputs: usize,
}

impl WordProducts {
    /// What a word of this vector adds to the first convolution of the word behind it, its own, and
    /// that of the word before it, `[places, pieces · width]`.
    pub(super) fn of(&self, vector: &[f32]) -> Box<[f32]> {
        let mut products = vec![0.0; self.outputs];
        add_rows(&mut products, vector, &self.by_input);
        products.into_boxed_slice()
    }
}

/// Encodes words with their context and prepares the transition model's features.
pub(super) struct Encoder {
    layers: Vec<Maxout>,
    width: usize,
    project: Linear,
    /// `[features · pieces · hidden, projected]`, without bias.
    lower: Linear,
}

impl Encoder {
    /// Takes the convolutions out of `tok2vec` and the features out of `ner` (the same model,
    /// unless the recognizer listens to a shared one).
    pub(super) fn load(
        tok2vec: &ThincModel<'_>,
        ner: &ThincModel<'_>,
        width: usize,
    ) -> Result<Self, LoadError> {
        for window in tok2vec.named("expand_window") {
            if window.attribute("window_size")?.as_u64() != Some(1) {
                return Err(tok2vec.error("a window_size other than 1 is not read"));
            }
        }
        let (maxouts, norms) = (tok2vec.named("maxout"), tok2vec.named("layernorm"));
        if maxouts.len() < 2
            || maxouts.len() != norms.len()
            || maxouts.len() != tok2vec.named("expand_window").len() + 1
        {
            return Err(tok2vec.error("the encoder is no MaxoutWindowEncoder"));
        }
        let layers = maxouts[1..]
            .iter()
            .zip(&norms[1..])
            .map(|(&layer, &norm)| {
                let layer = Maxout::load(layer, norm, 3 * width)?;
                if layer.outputs() == width {
                    Ok(layer)
                } else {
                    Err(tok2vec.error("layer widths"))
                }
            })
            .collect::<Result<_, _>>()?;
        let affine = ner.only("precomputable_affine")?;
        let inputs = affine.dimension("nI")?;
        let linears = ner.named("linear");
        let [_, project] = linears[..] else {
            return Err(ner.error("the transition model has no upper layer (use_upper = false)"));
        };
        let (features, hidden, pieces) =
            (affine.dimension("nF")?, affine.dimension("nO")?, affine.dimension("nP")?);
        if features != POSITIONS {
            return Err(ner.error(format!("{features} state features; {POSITIONS} are read")));
        }
        let weight = affine.parameter("W", &[features, hidden, pieces, inputs])?;
        let size = hidden * pieces * inputs;
        let weight = weight
            .chunks_exact(size)
            .flat_map(|feature| by_piece(feature, [hidden, pieces], inputs))
            .collect();
        Ok(Self {
            layers,
            width,
            project: Linear {
                weight: project.parameter("W", &[inputs, width])?,
                bias: project.parameter("b", &[inputs])?,
            },
            lower: Linear { weight, bias: vec![0.0; features * hidden * pieces] },
        })
    }

    /// What the first convolution makes of single words.
    pub(super) fn word_products(&self) -> WordProducts {
        let weight = &self.layers[0].linear.weight;
        let places = (0..3).flat_map(|place| {
            let row = move |row: &'_ [f32]| row[place * self.width..][..self.width].to_vec();
            weight.chunks_exact(3 * self.width).flat_map(row)
        });
        let weight: Vec<f32> = places.collect();
        WordProducts {
            by_input: transpose(&weight, self.width),
            outputs: 3 * self.layers[0].linear.bias.len(),
        }
    }

    /// Rows of zeros that part the texts of a batch, as in spaCy: a convolution reaches no
    /// further.
    pub(super) fn padding(&self) -> usize {
        self.layers.len()
    }

    /// Features of every row of `words`, which holds the texts' words parted, preceded and
    /// followed by [`Self::padding`] rows of zeros; `products` has the [`WordProducts`] of every row,
    /// none for zeros.
    pub(super) fn features(&self, words: Vec<f32>, products: &[Option<&[f32]>]) -> Features<'_> {
        let width = self.width;
        let rows = words.len() / width;
        let (mut next, mut words) = (words.clone(), words);
        let mut pieces = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let wide = layer.linear.bias.len();
            let mut row = 1;
            while row + 1 < rows {
                let count = BLOCK.min(rows - 1 - row);
                pieces.clear();
                for _ in 0..count {
                    pieces.extend_from_slice(&layer.linear.bias);
                }
                if index == 0 {
                    for (row, pieces) in (row..).zip(pieces.chunks_exact_mut(wide)) {
                        for (place, word) in products[row - 1..=row + 1].iter().enumerate() {
                            if let Some(word) = word {
                                add(pieces, &word[place * wide..][..wide]);
                            }
                        }
                    }
                } else {
                    // A row and its neighbours lie next to each other: windows without a copy.
                    let windows = Matrix {
                        data: &words,
                        offset: (row - 1) * width,
                        row_stride: width,
                        column_stride: 1,
                    };
                    let weight = Matrix::rows(&layer.linear.weight, 3 * width).transposed();
                    let sizes = [count, 3 * width, wide];
                    product((&mut pieces, 0, wide), windows, weight, sizes, 1.0, true);
                }
                let target = &mut next[row * width..(row + count) * width];
                maxout(target, &pieces, layer.pieces, width);
                layer.norm.apply(target);
                add(target, &words[row * width..(row + count) * width]);
                row += count;
            }
            std::mem::swap(&mut words, &mut next);
        }
        let mut projected = Vec::new();
        self.project.forward(&mut projected, &words);
        Features::new(&self.lower, projected)
    }
}

/// The upper part of the transition model: from the features of a state to scores of moves.
pub(super) struct Scorer {
    /// Features of a state position without a word, `[features, pieces, hidden]`.
    padding: Vec<f32>,
    bias: Vec<f32>,
    pieces: usize,
    hidden: usize,
    /// The upper layer: `[moves, hidden]`, and its bias.
    upper: Linear,
}

impl Scorer {
    /// Takes the parameters out of the model.
    pub(super) fn load(ner: &ThincModel<'_>, moves: usize) -> Result<Self, LoadError> {
        let affine = ner.only("precomputable_affine")?;
        let (hidden, pieces) = (affine.dimension("nO")?, affine.dimension("nP")?);
        let linears = ner.named("linear");
        let [upper, _] = linears[..] else {
            return Err(ner.error("the transition model has no upper layer (use_upper = false)"));
        };
        let padding = affine.parameter("pad", &[1, POSITIONS, hidden, pieces])?;
        Ok(Self {
            padding: padding
                .chunks_exact(hidden * pieces)
                .flat_map(|feature| by_piece(feature, [hidden, pieces], 1))
                .collect(),
            bias: by_piece(&affine.parameter("b", &[hidden, pieces])?, [hidden, pieces], 1),
            pieces,
            hidden,
            upper: Linear {
                weight: upper.parameter("W", &[moves, hidden])?,
                bias: upper.parameter("b", &[moves])?,
            },
        })
    }

    /// What scores these moves.
    pub(super) fn choice(&self, moves: Vec<usize>) -> Choice {
        let rows = moves.iter().flat_map(|&m| &self.upper.weight[m * self.hidden..][..self.hidden]);
        let rows: Vec<f32> = rows.copied().collect();
        let bias = moves.iter().map(|&m| self.upper.bias[m]).collect();
        Choice { moves, weight: transpose(&rows, self.hidden), bias }
    }

    /// Scores of the moves of a choice in a state whose words have these features, by
    /// [`Position`](super::features::Position) (`None`: no word); `scratch` keeps its memory between
    /// calls.
    pub(super) fn score(
        &self,
        scores: &mut Vec<f32>,
        scratch: &mut Vec<f32>,
        features: [Option<&[f32]>; POSITIONS],
        choice: &Choice,
    ) {
        let size = self.pieces * self.hidden;
        scratch.clear();
        scratch.extend_from_slice(&self.bias);
        scratch.resize(size + self.hidden, 0.0);
        let (state, hidden) = scratch.split_at_mut(size);
        for (word, padding) in features.into_iter().zip(self.padding.chunks_exact(size)) {
            add(state, word.unwrap_or(padding));
        }
        maxout(hidden, state, self.pieces, self.hidden);
        scores.clear();
        scores.extend_from_slice(&choice.bias);
        add_rows(scores, hidden, &choice.weight);
    }
}

/// The part of the upper layer that scores some of the moves.
pub(super) struct Choice {
    /// The moves' numbers.
    pub(super) moves: Vec<usize>,
    /// `[hidden, moves]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Row ranges of texts of the given lengths in a padded batch, and its number of rows.
pub(super) fn layout(lengths: &[usize], padding: usize) -> (Vec<Range<usize>>, usize) {
    let mut row = padding;
    let ranges = lengths
        .iter()
        .map(|&length| {
            let range = row..row + length;
            row = range.end + padding;
            range
        })
        .collect();
    (ranges, row)
}

/// Counts of labels by move, as a model's `moves` file lists them.
pub(super) type LabelCounts = HashMap<String, HashMap<String, i64>>;
