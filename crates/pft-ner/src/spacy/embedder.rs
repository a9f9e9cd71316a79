//! Words without their context: hash embeddings of a word's attributes, and static vectors.

use pft_pii::LoadError;

use super::hash::embedding_rows;
use super::lexeme::{Attribute, Norms};
use super::maxout::Maxout;
use super::thinc::ThincModel;
use super::vectors::StaticVectors;
use crate::kernels::{Linear, add, add_rows, maxout, transpose};

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
