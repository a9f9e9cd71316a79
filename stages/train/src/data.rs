//! The training data in memory: examples by privacy unit, and batches of them.

use std::collections::BTreeMap;
use std::path::Path;

use pft_artifact::{Example, Split, TokensReader};
use pft_lm::batch::Batch;
use pft_stage::StageError;

/// One example.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// Whether each token touches personal data.
    pub pii: Vec<bool>,
    /// Tokens at the beginning that are context alone, and counted in the example before.
    pub context: usize,
    /// Whether each token is learned; empty where all are.
    pub loss_mask: Vec<bool>,
}

impl Sequence {
    /// Whether a token counts in the loss. Nothing predicts the first.
    pub fn is_target(&self, index: usize) -> bool {
        index > 0 && self.loss_mask.get(index).copied().unwrap_or(true)
    }

    /// How many tokens count in the loss.
    pub fn targets(&self) -> usize {
        if self.loss_mask.is_empty() {
            return self.input_ids.len().saturating_sub(1);
        }
        self.loss_mask.iter().skip(1).filter(|&&learned| learned).count()
    }
}

/// A privacy unit and its examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// The unit's id.
    pub unit_id: String,
    /// Its examples, in the order of the artifact.
    pub examples: Vec<Sequence>,
}

/// The units of a `tokens` artifact, by split, each sorted by id.
#[derive(Debug, Clone, Default)]
pub struct Data {
    /// Units to train on.
    pub train: Vec<Unit>,
    /// Units to evaluate on during training.
    pub validation: Vec<Unit>,
}

impl Data {
    /// Reads a `tokens` artifact and checks that its ids are the model's.
    ///
    /// # Errors
    /// When it cannot be read, or holds ids outside the vocabulary, or examples longer than the
    /// model's context.
    pub fn read(path: &Path, vocabulary: usize, context: usize) -> Result<Self, StageError> {
        let mut splits: BTreeMap<Split, BTreeMap<String, Vec<Sequence>>> = BTreeMap::new();
        for example in TokensReader::open(path)?.iter() {
            let Example {
                example_id,
                unit_id,
                split,
                input_ids,
                pii,
                context: overlap,
                loss_mask,
                ..
            } = example?;
            if input_ids.iter().any(|&id| id as usize >= vocabulary) {
                return Err(StageError::input(format!(
                    "example {example_id:?} holds a token outside the model's vocabulary of \
                     {vocabulary}"
                ))
                .with_help("tokenize with the tokenizer of this model"));
            }
            if input_ids.len() > context {
                return Err(StageError::input(format!(
                    "example {example_id:?} has {} tokens; the model takes at most {context}",
                    input_ids.len()
                ))
                .with_help("set a smaller max_length or block_size in tokenize"));
            }
            let sequence = Sequence { input_ids, pii, context: overlap as usize, loss_mask };
            if sequence.targets() > 0 {
                splits.entry(split).or_default().entry(unit_id).or_default().push(sequence);
            }
        }
        let mut take = |split| {
            let units = splits.remove(&split).unwrap_or_default();
            units.into_iter().map(|(unit_id, examples)| Unit { unit_id, examples }).collect()
        };
        Ok(Self { train: take(Split::Train), validation: take(Split::Validation) })
    }
}

/// Up to `limit` examples, the first of each unit, then the second, and so on: many units rather
/// than many examples of few.
pub fn spread(units: &[Unit], limit: usize) -> Vec<&Sequence> {
    let deepest = units.iter().map(|unit| unit.examples.len()).max().unwrap_or(0);
    let rounds =
        (0..deepest).flat_map(|index| units.iter().filter_map(move |u| u.examples.get(index)));
    rounds.take(limit).collect()
}

/// Cuts a row of groups of sequences into micro-batches of about `tokens` tokens. A group (the
/// examples of one unit) is never divided.
pub fn micro_batches(groups: Vec<Vec<&Sequence>>, tokens: usize) -> Vec<Vec<Vec<&Sequence>>> {
    let mut batches: Vec<Vec<Vec<&Sequence>>> = Vec::new();
    let mut room = 0;
    for group in groups {
        let size: usize = group.iter().map(|sequence| sequence.input_ids.len()).sum();
        match batches.last_mut() {
            Some(batch) if size <= room => {
                room -= size;
                batch.push(group);
            }
            _ => {
                room = tokens.saturating_sub(size);
                batches.push(vec![group]);
            }
        }
    }
    batches
}

/// A batch whose loss is the sum over its groups of the mean loss of their own tokens, of those alone
/// that are learned. What else is in the batch changes none of it: the gradient of a group is bounded by
/// its own norm, and would not be if a longer neighbour weighed in it.
///
/// # Errors
/// When a sequence is empty, which [`Data::read`] rules out.
pub fn batch_of(groups: &[Vec<&Sequence>]) -> Result<Batch, StageError> {
    let sequences: Vec<&[u32]> = groups.iter().flatten().map(|s| &s.input_ids[..]).collect();
    let mut batch =
        Batch::new(&sequences).map_err(|error| StageError::bug(format!("batch: {error}")))?;
    let mut index = 0;
    for group in groups {
        let targets: usize = group.iter().map(|sequence| sequence.targets()).sum();
        for sequence in group {
            if sequence.loss_mask.is_empty() {
                // From the mean over the sequence to its share of the mean over the unit.
                batch.scale_sequence(index, sequence.targets() as f32 / targets as f32);
            } else {
                let first = batch.offsets()[index];
                let weights = &mut batch.loss_weights_mut()[first..][..sequence.input_ids.len()];
                for (at, weight) in weights.iter_mut().enumerate() {
                    *weight = if sequence.is_target(at) { 1.0 / targets as f32 } else { 0.0 };
                }
            }
            index += 1;
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(length: usize) -> Sequence {
        Sequence {
            input_ids: vec![1; length],
            pii: vec![false; length],
            context: 0,
            loss_mask: Vec::new(),
        }
    }

    #[test]
    fn micro_batches_keep_groups_whole_and_in_order() {
        let sequences: Vec<Sequence> = [5, 3, 9, 2, 2].map(sequence).to_vec();
        let groups: Vec<Vec<&Sequence>> = vec![
            vec![&sequences[0], &sequences[1]],
            vec![&sequences[2]],
            vec![&sequences[3]],
            vec![&sequences[4]],
        ];
        let batches = micro_batches(groups.clone(), 10);
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, 2]);
        assert_eq!(batches.concat(), groups);
    }

    #[test]
    fn weights_are_the_mean_over_a_unit_s_own_tokens() {
        let (a, b, c) = (sequence(3), sequence(5), sequence(2));
        let batch = batch_of(&[vec![&a, &b], vec![&c]]).unwrap();
        let weights = batch.loss_weights();
        let unit: f32 = weights[..8].iter().sum();
        assert!((unit - 1.0).abs() < 1e-6);
        assert!((weights[1] - 1.0 / 6.0).abs() < 1e-7);
        assert!((weights[9] - 1.0).abs() < 1e-7);
    }

    /// Of a unit's answers each token weighs as much, in whichever of its conversations, and the first
    /// token of a sequence, which nothing predicts, and those that are not learned nothing.
    #[test]
    fn weights_of_answers_are_the_mean_over_a_unit_s_own_answers() {
        let masked = |mask: &[bool]| Sequence { loss_mask: mask.to_vec(), ..sequence(mask.len()) };
        let (a, b) = (masked(&[true, false, true]), masked(&[false, true, true, false, true]));
        let (c, d) = (masked(&[false, true]), masked(&[false, false, false, true]));
        let batch = batch_of(&[vec![&a, &b], vec![&c], vec![&d]]).unwrap();
        let of_first = [0.0, 0.0, 0.25, 0.0, 0.25, 0.25, 0.0, 0.25];
        let of_others = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(batch.loss_weights(), [&of_first[..], &of_others].concat());
    }
}
