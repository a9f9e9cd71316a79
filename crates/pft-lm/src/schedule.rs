//! Learning-rate schedules, by the formulas of transformers' `get_scheduler`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate runs after its warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Down to 0 in a straight line.
    #[default]
    Linear,
    /// Down to 0 along half a cosine.
    Cosine,
    /// Constant.
    Constant,
}

/// A learning rate as a function of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The shape.
    pub kind: ScheduleKind,
    /// The highest rate, reached after the warm-up.
    pub learning_rate: f64,
    /// Steps over which the rate climbs from 0.
    pub warmup_steps: u64,
    /// Steps of the whole training.
    pub total_steps: u64,
}

impl Schedule {
    /// The rate of step `step`, counted from 0. With a warm-up, step 0 has the rate 0, as in
    /// transformers.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * step as f64 / self.warmup_steps as f64;
        }
        let rest = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let progress = ((step - self.warmup_steps) as f64 / rest).min(1.0);
        self.learning_rate
            * match self.kind {
                ScheduleKind::Linear => 1.0 - progress,
                ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
                ScheduleKind::Constant => 1.0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_transformers() {
        // get_linear_schedule_with_warmup and get_cosine_schedule_with_warmup (4.57) with
        // 10 warm-up steps of 110, at steps 0, 5, 10, 60, 110.
        let expected = [
            (ScheduleKind::Linear, [0.0, 0.5, 1.0, 0.5, 0.0]),
            (ScheduleKind::Cosine, [0.0, 0.5, 1.0, 0.5, 0.0]),
            (ScheduleKind::Constant, [0.0, 0.5, 1.0, 1.0, 1.0]),
        ];
        for (kind, rates) in expected {
            let schedule =
                Schedule { kind, learning_rate: 2.0, warmup_steps: 10, total_steps: 110 };
            for (step, rate) in [0, 5, 10, 60, 110].into_iter().zip(rates) {
                assert!((schedule.rate(step) - 2.0 * rate).abs() < 1e-12, "{kind:?} at {step}");
            }
        }
        let cosine = Schedule {
            kind: ScheduleKind::Cosine,
            learning_rate: 1.0,
            warmup_steps: 0,
            total_steps: 100,
        };
        assert!((cosine.rate(25) - 0.853_553_390_593).abs() < 1e-9);
        assert_eq!(cosine.rate(200), 0.0);
    }
}
