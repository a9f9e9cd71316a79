//! Steps without privacy: shuffled examples, the mean of their gradients, clipped as a whole.

use pft_lm::optimizer::clip_factor;
use pft_stage::StageError;

use crate::config::Config;
use crate::data::{Sequence, batch_of, micro_batches};
use crate::order::{Order, dropout_seed};
use crate::processor::Processor;
use crate::state::Row;

/// Shuffled examples and the memory of their gradients.
pub(crate) struct PlainSteps<'a, P: Processor> {
    examples: Vec<&'a Sequence>,
    order: Order,
    sum: P::Sum,
}

impl<'a, P: Processor> PlainSteps<'a, P> {
    /// Steps over `examples`, of which there is at least one.
    pub(crate) fn new(examples: Vec<&'a Sequence>, config: &Config, processor: &P) -> Self {
        let order = Order::new(examples.len(), config.seed);
        Self { examples, order, sum: processor.sum() }
    }

    /// Step number `step`, from 0.
    pub(crate) fn step(
        &mut self,
        config: &Config,
        processor: &mut P,
        step: u64,
        learning_rate: f64,
    ) -> Result<Row, StageError> {
        let size = config.batch_size;
        let groups =
            (0..size).map(|i| vec![self.examples[self.order.at(step * size + i)]]).collect();
        let mut row = Row::step(step + 1);
        for groups in micro_batches(groups, config.micro_batch_tokens as usize) {
            let batch = batch_of(&groups)?;
            let seed = dropout_seed(config.seed, step, row.units);
            let losses = processor.add(&batch, seed, &mut self.sum)?;
            row.loss += losses.total();
            row.units += groups.len() as u64;
            row.tokens += batch.rows() as u64;
        }
        let mean = 1.0 / size as f64;
        row.loss *= mean;
        row.gradient_norm = processor.norm(&mut self.sum)? * mean;
        let clip = if config.max_grad_norm > 0.0 {
            f64::from(clip_factor(row.gradient_norm, config.max_grad_norm))
        } else {
            1.0
        };
        row.gradient_scale = clip * mean;
        row.learning_rate = learning_rate;
        processor.step(&mut self.sum, learning_rate, row.gradient_scale)?;
        Ok(row)
    }
}
