//! Steps without privacy: shuffled examples, the mean of their gradients, clipped as a whole.

use pft_lm::gradient::GradientSum;
use pft_lm::model::LanguageModel;
use pft_lm::optimizer::{Optimizer, clip_factor, global_norm};
use pft_stage::StageError;

use crate::config::Config;
use crate::data::{Sequence, batch_of, micro_batches};
use crate::order::Order;
use crate::state::Row;
use crate::training::dropout_seed;

/// Shuffled examples and the memory of their gradients.
pub(crate) struct PlainSteps<'a> {
    examples: Vec<&'a Sequence>,
    order: Order,
    sum: GradientSum,
}

impl<'a> PlainSteps<'a> {
    /// Steps over `examples`, of which there is at least one.
    pub(crate) fn new(examples: Vec<&'a Sequence>, config: &Config, model: &LanguageModel) -> Self {
        let order = Order::new(examples.len(), config.seed);
        Self { examples, order, sum: GradientSum::new(model.parameters()) }
    }

    /// Step number `step`, from 0.
    pub(crate) fn step(
        &mut self,
        config: &Config,
        model: &mut LanguageModel,
        optimizer: &mut Optimizer,
        step: u64,
        learning_rate: f64,
    ) -> Result<Row, StageError> {
        let size = config.batch_size;
        let groups =
            (0..size).map(|i| vec![self.examples[self.order.at(step * size + i)]]).collect();
        let mut row = Row::step(step + 1);
        self.sum.clear();
        for groups in micro_batches(groups, config.micro_batch_tokens as usize) {
            let batch = batch_of(&groups)?;
            let losses = model
                .forward_backward(&batch, dropout_seed(config, step, row.units), &mut self.sum)
                .map_err(|error| StageError::input(error.to_string()))?;
            row.loss += losses.total();
            row.units += groups.len() as u64;
            row.tokens += batch.rows() as u64;
        }
        let mean = 1.0 / size as f64;
        row.loss *= mean;
        row.gradient_norm = global_norm(&mut self.sum) * mean;
        let clip = if config.max_grad_norm > 0.0 {
            f64::from(clip_factor(row.gradient_norm, config.max_grad_norm))
        } else {
            1.0
        };
        row.gradient_scale = clip * mean;
        row.learning_rate = learning_rate;
        let scale = row.gradient_scale as f32;
        optimizer.step(model.parameters_mut(), self.sum.in_order(), learning_rate, scale);
        Ok(row)
    }
}
