//! A whole tagger: embeddings, layers over them, and scores of tags.

use pft_pii::{LoadError, TagError};

use super::checkpoint::Checkpoint;
use super::decode::{Crf, most_likely};
use super::embeddings::Embeddings;
use super::job::{Given, Job};
use super::lstm::Stack;
use crate::kernels::Linear;
use crate::pickle::Value;
use crate::weights::Weights;

/// A Flair SequenceTagger.
pub(super) struct Model {
    embeddings: Embeddings,
    reprojection: Option<Linear>,
    recurrent: Option<Stack>,
    linear: Linear,
    crf: Option<Crf>,
    /// Names of the tags, such as `B-PERSON`.
    pub(super) tags: Vec<String>,
}

impl Model {
    pub(super) fn load(
        checkpoint: &Checkpoint<'_, '_>,
        given: &Given<'_>,
    ) -> Result<Self, LoadError> {
        let dictionary = checkpoint.get("tag_dictionary").and_then(|dictionary| {
            dictionary.get("idx2item")?.elements().map(Iterator::collect::<Vec<_>>)
        });
        let tags: Vec<String> = dictionary
            .into_iter()
            .flatten()
            .map(|item| item.as_text().unwrap_or_default().to_string())
            .collect();
        let of_spans = |tag: &String| ["B-", "S-", "I-"].iter().any(|p| tag.starts_with(p));
        if !tags.iter().any(of_spans) {
            return Err(checkpoint.error("it tags no spans (no B-, S- or I- among its tags)"));
        }
        if checkpoint.flag("train_initial_hidden_state", false) {
            return Err(checkpoint.error("`train_initial_hidden_state` is not read"));
        }
        let embeddings = Embeddings::load(checkpoint, given)?;
        let mut width = embeddings.width();
        let reprojection = checkpoint
            .flag("reproject_embeddings", checkpoint.has("embedding2nn.weight"))
            .then(|| checkpoint.linear("embedding2nn", [width, width]))
            .transpose()?;
        let recurrent = checkpoint
            .flag("use_rnn", true)
            .then(|| {
                let kind = checkpoint.get("rnn_type").and_then(Value::as_str).unwrap_or("LSTM");
                if kind != "LSTM" {
                    return Err(checkpoint.error(&format!("a network of {kind} is not read")));
                }
                let size = |name: &str| {
                    let size = checkpoint.get(name).and_then(Value::as_usize);
                    size.filter(|&n| n > 0 && n <= 1 << 20)
                        .ok_or_else(|| checkpoint.error(&format!("no `{name}`")))
                };
                Stack::load(checkpoint, "rnn", [width, size("hidden_size")?, size("rnn_layers")?])
            })
            .transpose()?;
        if let Some(recurrent) = &recurrent {
            width = recurrent.width();
        }
        let linear = checkpoint.linear("linear", [tags.len(), width])?;
        let crf = checkpoint
            .flag("use_crf", true)
            .then(|| {
                let place = |name: &str| {
                    tags.iter()
                        .position(|tag| tag == name)
                        .ok_or_else(|| checkpoint.error(&format!("its tags lack {name}")))
                };
                let (start, stop) = (place("<START>")?, place("<STOP>")?);
                // The latter name is that of Flair before 0.11.
                let names = ["crf.transitions", "transitions"];
                let name = names.into_iter().find(|name| checkpoint.has(name)).unwrap_or(names[0]);
                let transitions = checkpoint.tensor(name, &[tags.len(), tags.len()])?;
                Ok(Crf { transitions, start, stop })
            })
            .transpose()?;
        Ok(Self { embeddings, reprojection, recurrent, linear, crf, tags })
    }

    /// Tag and confidence of every token of these sentences; the longest comes first.
    pub(super) fn tag(&self, jobs: &[Job<'_>]) -> Result<Vec<Vec<(usize, f32)>>, TagError> {
        let lengths: Vec<usize> = jobs.iter().map(|job| job.tokens().len()).collect();
        let mut rows = self.embeddings.embed(jobs)?;
        if let Some(linear) = &self.reprojection {
            let mut projected = Vec::new();
            linear.forward(&mut projected, &rows);
            rows = projected;
        }
        if let Some(recurrent) = &self.recurrent {
            rows = recurrent.forward(rows, &lengths);
        }
        let mut scores = Vec::new();
        self.linear.forward(&mut scores, &rows);
        let tags = self.tags.len();
        let mut rest = &scores[..];
        Ok(lengths
            .iter()
            .map(|length| {
                let (own, others) = rest.split_at(length * tags);
                rest = others;
                match &self.crf {
                    Some(crf) => crf.decode(own, tags),
                    None => most_likely(own, tags),
                }
            })
            .collect())
    }
}
