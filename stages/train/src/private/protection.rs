//! What the settings ask for: a mechanism, or its clipping alone.

use pft_dp::accounting::{Accountant, AccountingError, Phase};
use pft_dp::{
    ClipOnly, Clipping, Mechanism, Noise, Plan, PoissonSampler, RELEASE_DRAWS, Record, RunSecret,
    SamplerError, Spent, default_delta, refuse_large_delta,
};
use pft_stage::StageError;

use crate::config::{Config, Privacy};

/// How the units of a run are protected.
#[derive(Debug)]
pub(crate) enum Protection {
    /// By clipping and noise.
    Noise {
        /// The mechanism.
        mechanism: Mechanism,
        /// What the weights had spent before.
        earlier: Vec<Phase>,
        /// What that and the planned steps spend together, as the statement will say it; none where
        /// the history of the weights lets no bound hold.
        spent: Option<Spent>,
    },
    /// Not at all: they are sampled and clipped, as a baseline.
    ClipOnly {
        /// How they are sampled and clipped.
        run: ClipOnly,
        /// The largest number of units.
        units: u64,
    },
}

impl Protection {
    /// The protection that `privacy` asks for over `planned` steps; none without it. `units` are
    /// those that are there, unless a number is declared; `record` is what the weights went through
    /// before, and `unit` what is protected now. Everything that the statement will say of
    /// these steps is asked now, so that nothing can fail when they are done.
    ///
    /// # Errors
    /// When the settings are no private mechanism, or its steps cannot be accounted for.
    pub(crate) fn of(
        config: &Config,
        units: u64,
        planned: u64,
        record: &Record,
        unit: &str,
    ) -> Result<Option<Self>, StageError> {
        let Some(privacy) = &config.privacy else { return Ok(None) };
        let refuse =
            |error: &dyn std::fmt::Display| StageError::config(format!("privacy: {error}"));
        let units = privacy.units.unwrap_or(units);
        let sample_rate = (config.batch_size as f64 / units as f64).min(1.0);
        let Some(noise) = privacy.noise() else {
            let most = privacy.max_examples_per_unit;
            let run = ClipOnly::new(units, sample_rate, privacy.clipping(), most)
                .map_err(|error| refuse(&error))?;
            return Ok(Some(Self::ClipOnly { run, units }));
        };
        let delta = delta(privacy, units, record)?;
        let bounded = record.without_bound(unit).is_empty();
        let earlier = if bounded { record.phases() } else { Vec::new() };
        let phase = noise.phase(&earlier, sample_rate, planned, delta).map_err(|error| {
            refuse(&error).with_help(match noise {
                Noise::ForEpsilon { .. } => "raise target_epsilon or units, or plan fewer steps",
                Noise::Multiplier(_) => "change noise_multiplier, or plan fewer steps",
            })
        })?;
        let mechanism = Mechanism::new(plan(privacy, units, phase, delta), privacy.force_delta)
            .map_err(|error| refuse(&error))?;
        let unaccountable = |error: AccountingError| {
            refuse(&error).with_help("raise noise_multiplier or target_delta, or plan fewer steps")
        };
        let spent = match bounded {
            true => {
                let all = [&earlier[..], &[phase]].concat();
                Some(Spent::of(&all, delta).map_err(unaccountable)?)
            }
            false => None,
        };
        // What a statement says of this training alone.
        mechanism.epsilon(Accountant::Pld, planned).map_err(unaccountable)?;
        Ok(Some(Self::Noise { mechanism, earlier, spent }))
    }

    /// The largest number of units, as declared or counted.
    pub(crate) fn units(&self) -> u64 {
        match self {
            Self::Noise { mechanism, .. } => mechanism.plan().declared_units,
            Self::ClipOnly { units, .. } => *units,
        }
    }

    /// Probability with which each unit takes part in a step.
    pub(crate) fn sample_rate(&self) -> f64 {
        match self {
            Self::Noise { mechanism, .. } => mechanism.plan().phase.sample_rate,
            Self::ClipOnly { run, .. } => run.sample_rate(),
        }
    }

    /// How each unit's gradient is bounded.
    pub(crate) fn clipping(&self) -> Clipping {
        match self {
            Self::Noise { mechanism, .. } => mechanism.into(),
            Self::ClipOnly { run, .. } => run.into(),
        }
    }

    /// The sampler over units by name.
    pub(crate) fn sampler(
        &self,
        secret: &RunSecret,
        units: &[&str],
    ) -> Result<PoissonSampler, SamplerError> {
        match self {
            Self::Noise { mechanism, .. } => mechanism.sampler(secret, units),
            Self::ClipOnly { run, .. } => run.sampler(secret, units),
        }
    }
}

/// δ as set or by default. It is for all that the weights went through, and so for the largest number
/// of units that any training declared.
fn delta(privacy: &Privacy, units: u64, record: &Record) -> Result<f64, StageError> {
    let most_units = units.max(record.most_declared_units());
    let delta = privacy.target_delta.unwrap_or_else(|| default_delta(most_units));
    if privacy.force_delta {
        return Ok(delta);
    }
    refuse_large_delta(delta, most_units).map_err(|error| {
        let refused = StageError::config(format!("privacy.target_{error}"));
        match most_units > units {
            true => refused.with_help(
                "the base model went through a private training on more units: leave target_delta out \
                 for a default that fits",
            ),
            false => refused,
        }
    })?;
    Ok(delta)
}

fn plan(privacy: &Privacy, units: u64, phase: Phase, delta: f64) -> Plan {
    Plan {
        declared_units: units,
        units_were_counted: privacy.units.is_none(),
        phase,
        delta,
        clipping: privacy.clipping(),
        max_examples_per_unit: privacy.max_examples_per_unit,
        noise_draws: RELEASE_DRAWS,
    }
}
