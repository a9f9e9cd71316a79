//! The embeddings of a model, alone or stacked.

use pft_pii::{LoadError, TagError};

use super::characters::CharacterModel;
use super::checkpoint::{Checkpoint, class, setting};
use super::job::{Columns, Given, Job};
use super::static_words::StaticWords;
use super::transformer::TransformerWords;
use crate::pickle::Value;

enum Kind {
    Words(StaticWords),
    Characters(CharacterModel),
    Transformer(Box<TransformerWords>),
}

struct Embedding {
    /// Flair orders the parts of a stack by their names.
    name: String,
    kind: Kind,
}

/// All of them.
pub(super) struct Embeddings {
    parts: Vec<Embedding>,
    width: usize,
}

impl Embeddings {
    /// Takes them out of a model.
    pub(super) fn load(model: &Checkpoint<'_, '_>, given: &Given<'_>) -> Result<Self, LoadError> {
        let root = model.get("embeddings").ok_or_else(|| model.error("it has no embeddings"))?;
        let mut parts = if class(root) == "StackedEmbeddings" {
            let list = setting(root, "embeddings").and_then(Value::elements);
            let list = list.ok_or_else(|| model.error("its stack of embeddings is empty"))?;
            list.enumerate()
                .map(|(index, part)| {
                    let prefix = format!("embeddings.list_embedding_{index}");
                    Embedding::load(model, part, &prefix, given)
                })
                .collect::<Result<Vec<_>, _>>()?
        } else {
            vec![Embedding::load(model, root, "embeddings", given)?]
        };
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        let width = parts.iter().map(Embedding::width).sum();
        Ok(Self { parts, width })
    }

    /// Columns of a token.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// A row for every token of these sentences, `[tokens, width]`; the longest sentence comes first.
    pub(super) fn embed(&self, jobs: &[Job<'_>]) -> Result<Vec<f32>, TagError> {
        let tokens: usize = jobs.iter().map(|job| job.tokens().len()).sum();
        let mut matrix = vec![0.0; tokens * self.width];
        let mut offset = 0;
        for part in &self.parts {
            let mut columns = Columns { matrix: &mut matrix, stride: self.width, offset };
            match &part.kind {
                Kind::Words(words) => words.embed(jobs, &mut columns),
                Kind::Characters(model) => model.embed(jobs, &mut columns),
                Kind::Transformer(transformer) => transformer.embed(jobs, &mut columns)?,
            }
            offset += part.width();
        }
        Ok(matrix)
    }
}

impl Embedding {
    fn load(
        model: &Checkpoint<'_, '_>,
        value: Value<'_, '_>,
        prefix: &str,
        given: &Given<'_>,
    ) -> Result<Self, LoadError> {
        let kind = match class(value) {
            "WordEmbeddings" => Kind::Words(StaticWords::load(model, value, prefix)?),
            "FlairEmbeddings" => Kind::Characters(CharacterModel::load(model, value, prefix)?),
            "TransformerWordEmbeddings" => {
                Kind::Transformer(Box::new(TransformerWords::load(model, value, prefix, given)?))
            }
            other => {
                return Err(model.error(&format!(
                    "embeddings of the kind {other} are not read; known are WordEmbeddings, \
                     FlairEmbeddings, TransformerWordEmbeddings and StackedEmbeddings of them"
                )));
            }
        };
        let name = setting(value, "name").and_then(Value::as_str).unwrap_or_default().to_string();
        Ok(Self { name, kind })
    }

    fn width(&self) -> usize {
        match &self.kind {
            Kind::Words(words) => words.width(),
            Kind::Characters(model) => model.width(),
            Kind::Transformer(transformer) => transformer.width(),
        }
    }
}
