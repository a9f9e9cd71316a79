//! Embeddings of words by a language model of characters that reads their sentence from one side.

use std::collections::HashMap;

use pft_pii::LoadError;

use super::checkpoint::{Checkpoint, setting};
use super::job::{Columns, Job};
use super::lstm::Lstm;
use crate::kernels::Linear;
use crate::pickle::Value;
use crate::weights::Weights;

/// A character language model.
pub(super) struct CharacterModel {
    ids: HashMap<char, usize>,
    /// What a character gives to the gates of the first layer, `[characters, 4 · hidden]`.
    gates: Vec<f32>,
    layers: Vec<Lstm>,
    projection: Option<Linear>,
    forward: bool,
    lower_case: bool,
    /// The state behind the white space after a word counts, not that behind its last character.
    with_whitespace: bool,
    delimiter: Vec<char>,
    width: usize,
}

impl CharacterModel {
    pub(super) fn load(
        model: &Checkpoint<'_, '_>,
        value: Value<'_, '_>,
        prefix: &str,
    ) -> Result<Self, LoadError> {
        let flag = |name: &str, default: bool| {
            setting(value, name).and_then(Value::as_bool).unwrap_or(default)
        };
        if !flag("tokenized_lm", true) {
            return Err(model.error("FlairEmbeddings without `tokenized_lm` are not read"));
        }
        let missing = |what: &str| model.error(&format!("its FlairEmbeddings lack `{what}`"));
        let settings = setting(value, "model_params").or_else(|| setting(value, "lm"));
        let settings = settings.ok_or_else(|| missing("lm"))?;
        let get = |name: &str| setting(settings, name);
        let size = |name: &str| {
            let size = get(name).and_then(Value::as_usize).filter(|&n| n > 0 && n <= 1 << 20);
            size.ok_or_else(|| missing(name))
        };
        let recurrent = get("recurrent_type").and_then(Value::as_str).unwrap_or("LSTM");
        if !recurrent.eq_ignore_ascii_case("lstm") {
            return Err(model.error(&format!("a language model of {recurrent} is not read")));
        }
        let items = get("dictionary").and_then(|dictionary| dictionary.get("item2idx"));
        let items = items.and_then(Value::entries).ok_or_else(|| missing("dictionary"))?;
        let count = items.len();
        let mut ids = HashMap::new();
        for (item, id) in items {
            let mut characters = item.as_text().unwrap_or_default().chars();
            if let (Some(c), None) = (characters.next(), characters.next()) {
                let id = id.as_usize().filter(|&id| id < count);
                ids.insert(c, id.ok_or_else(|| missing("dictionary"))?);
            }
        }
        let (hidden, embedding) = (size("hidden_size")?, size("embedding_size")?);
        let characters =
            model.tensor(&format!("{prefix}.lm.encoder.weight"), &[count, embedding])?;
        let layers = (0..size("nlayers")?)
            .map(|layer| {
                let inputs = if layer == 0 { embedding } else { hidden };
                Lstm::load(
                    model,
                    &format!("{prefix}.lm.rnn"),
                    &format!("l{layer}"),
                    [inputs, hidden],
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        let projection = get("nout")
            .and_then(Value::as_usize)
            .map(|outputs| model.linear(&format!("{prefix}.lm.proj"), [outputs, hidden]))
            .transpose()?;
        let mut gates = Vec::new();
        layers[0].input.forward(&mut gates, &characters);
        let delimiter = get("document_delimiter").and_then(Value::as_str).unwrap_or("\n");
        Ok(Self {
            ids,
            gates,
            width: projection.as_ref().map_or(hidden, |linear| linear.bias.len()),
            layers,
            projection,
            forward: get("is_forward_lm").and_then(Value::as_bool).unwrap_or(true),
            lower_case: flag("is_lower", false),
            with_whitespace: flag("with_whitespace", true),
            delimiter: delimiter.chars().collect(),
        })
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn embed(&self, jobs: &[Job<'_>], columns: &mut Columns<'_>) {
        let mut sentences = Vec::with_capacity(jobs.len());
        let mut first = 0;
        for job in jobs {
            sentences.push(self.read(*job, first));
            first += job.tokens().len();
        }
        sentences.sort_by_key(|sentence| std::cmp::Reverse(sentence.characters.len()));
        let lengths: Vec<usize> = sentences.iter().map(|s| s.characters.len()).collect();
        let hidden = self.layers[0].hidden;

        let firsts: Vec<usize> = lengths
            .iter()
            .scan(0, |total, length| {
                *total += length;
                Some(*total - length)
            })
            .collect();
        let total: usize = lengths.iter().sum();
        let mut states = vec![0.0; total * hidden];
        for (index, layer) in self.layers.iter().enumerate() {
            let mut projected = Vec::new();
            if index > 0 {
                layer.input.forward(&mut projected, &states);
            }
            let width = 4 * hidden;
            layer.run(
                &lengths,
                |sequence, step, row| {
                    let (table, at) = if index == 0 {
                        (&self.gates, sentences[sequence].characters[step])
                    } else {
                        (&projected, firsts[sequence] + step)
                    };
                    row.copy_from_slice(&table[at * width..][..width]);
                },
                |sequence, step, state| {
                    states[(firsts[sequence] + step) * hidden..][..hidden].copy_from_slice(state);
                },
            );
        }
        let mut projected = Vec::new();
        for (sentence, first) in sentences.iter().zip(firsts) {
            for (index, &place) in sentence.places.iter().enumerate() {
                let state = &states[(first + place) * hidden..][..hidden];
                let row = columns.row(sentence.first_token + index, self.width);
                match &self.projection {
                    Some(linear) => {
                        linear.forward(&mut projected, state);
                        row.copy_from_slice(&projected);
                    }
                    None => row.copy_from_slice(state),
                }
            }
        }
    }

    /// A sentence as the model reads it: from its side, tokens with blanks between them.
    fn read(&self, job: Job<'_>, first_token: usize) -> Reading {
        let tokens: Vec<&str> = job.tokens().iter().map(|token| token.text.as_str()).collect();
        let text = tokens.join(" ");
        let count = text.chars().count();
        let text = if self.lower_case { text.to_lowercase() } else { text };
        let mut characters = self.delimiter.clone();
        if self.forward {
            characters.extend(text.chars());
        } else {
            characters.extend(text.chars().rev());
        }
        characters.push(' ');
        let last = characters.len() - 1;
        let mut at = self.delimiter.len() + if self.forward { 0 } else { count };
        let places = tokens
            .iter()
            .map(|token| {
                let length = token.chars().count();
                let end = if self.forward { at + length } else { at };
                at = if self.forward { end + 1 } else { end.saturating_sub(length + 1) };
                let end = if self.with_whitespace { end } else { end - 1 };
                end.min(last)
            })
            .collect();
        let id = |c: &char| self.ids.get(c).copied().unwrap_or(0);
        Reading { characters: characters.iter().map(id).collect(), places, first_token }
    }
}

struct Reading {
    characters: Vec<usize>,
    /// Behind which character each token's state is taken.
    places: Vec<usize>,
    first_token: usize,
}
