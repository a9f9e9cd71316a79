//! How long a run is.

use pft_dp::accounting::MAX_STEPS;
use pft_stage::StageError;

use super::Config;

impl Config {
    /// The number of steps, for `units` units and `examples` examples that are there. With privacy it
    /// is part of the mechanism, so that it follows from the units that were declared, where they
    /// were.
    ///
    /// # Errors
    /// When there would be more steps than anyone can take.
    pub(crate) fn planned_steps(&self, units: u64, examples: u64) -> Result<u64, StageError> {
        if self.dry_run {
            return Ok(2);
        }
        if let Some(steps) = self.max_steps {
            return Ok(steps);
        }
        let (passes_over, of) = match &self.privacy {
            Some(privacy) => (privacy.units.unwrap_or(units), "units"),
            None => (examples, "examples"),
        };
        let (epochs, size) = (self.epochs, self.batch_size);
        let steps = (epochs * passes_over as f64 / size as f64).ceil().max(1.0);
        if steps > MAX_STEPS as f64 {
            return Err(StageError::config(format!(
                "epochs: {epochs} passes over {passes_over} {of}, {size} a step, are {steps:e} steps; \
                 {MAX_STEPS} are the most"
            ))
            .with_help("lower epochs, raise batch_size, or set max_steps"));
        }
        Ok(steps as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Privacy;
    use super::*;

    #[test]
    fn steps_follow_from_epochs_and_from_declared_units_with_privacy() {
        let config = Config { epochs: 2.5, batch_size: 4, ..Config::default() };
        assert_eq!(config.planned_steps(30, 90).unwrap(), 57);
        let privacy = |units| Some(Privacy { units, ..Privacy::default() });
        let declared = Config { privacy: privacy(Some(40)), ..config.clone() };
        assert_eq!(declared.planned_steps(30, 90).unwrap(), 25);
        let counted = Config { privacy: privacy(None), ..config.clone() };
        assert_eq!(counted.planned_steps(30, 90).unwrap(), 19);
        assert_eq!(Config { max_steps: Some(7), ..config.clone() }.planned_steps(1, 1).unwrap(), 7);
        let endless = Config { epochs: 1e6, batch_size: 1, ..config };
        let error = endless.planned_steps(1, 10_000).unwrap_err();
        assert!(error.message().contains("1e10 steps"), "{error}");
    }
}
