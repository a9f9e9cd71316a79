//! Words in their context: a maxout convolution over a word's neighbours, and the first layer of the
//! transition model.

use std::ops::Range;

use pft_pii::LoadError;

use super::features::{Features, POSITIONS};
use super::maxout::{Maxout, by_piece};
use super::thinc::ThincModel;
use crate::kernels::{Linear, Matrix, add, add_rows, maxout, product, transpose};

/// Rows of a convolution that are computed at a time, so that they stay in the cache.
const BLOCK: usize = 192;

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
