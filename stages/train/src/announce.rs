//! What the user is told before and during training.

use pft_dp::{Ledger, MAX_RELEASE_EPSILON, NoPrivacy, Reason, delta_rounded_up, rounded_up};
use pft_lm::model::LanguageModel;
use pft_stage::Context;

use crate::config::Config;
use crate::evaluate::Scores;
use crate::prepare::Corpus;
use crate::private::Protection;

/// How much trains, and for how long.
pub(crate) fn announce(model: &LanguageModel, planned: u64, context: &Context) {
    let (all, trainable) = model.parameters().count();
    context.progress().note(format!("{trainable} of {all} parameters train for {planned} steps"));
}

/// What the statement will say, before the first step.
pub(crate) fn announce_privacy(
    config: &Config,
    corpus: &Corpus,
    protection: &Protection,
    ledger: Option<&Ledger>,
    context: &Context,
) {
    let say = |text: String| context.progress().note(text);
    for warning in warnings(config, corpus.train.len(), protection) {
        say(format!("warning: {warning}"));
    }
    let (Protection::Noise { mechanism, earlier, spent }, Some(ledger)) = (protection, ledger)
    else {
        return;
    };
    let plan = mechanism.plan();
    let mechanism = format!(
        "DP-SGD: noise multiplier {:.4}, sample rate {:.5}, {} units {}",
        plan.phase.noise_multiplier,
        plan.phase.sample_rate,
        plan.declared_units,
        if plan.units_were_counted { "counted" } else { "declared" },
    );
    if let Some(none) = NoPrivacy::from_ledger(ledger.contents()) {
        say(mechanism);
        return say(format!("warning: the model will not be private. {}", none.statement));
    }
    let Some(spent) = spent else { return };
    let with = if earlier.is_empty() { "" } else { " together with what its base model had spent" };
    say(format!(
        "{mechanism}; ε will be {}{with} at δ = {}",
        rounded_up(spent.quoted()),
        delta_rounded_up(plan.delta)
    ));
    let header = &ledger.contents().header;
    let mut reasons = header.not_for_release();
    if spent.quoted() > MAX_RELEASE_EPSILON {
        reasons.push(Reason::LargeEpsilon);
    }
    for reason in reasons {
        let help = match reason {
            Reason::BaseUnknown => {
                " If you know that it did not, say so with `base_has_seen: nothing`."
            }
            Reason::UnitsCounted => " Declare an upper bound as `privacy.units`.",
            _ => "",
        };
        say(format!(
            "warning: the model will not be for release. {}{help}",
            reason.sentence(&header.unit)
        ));
    }
}

/// What of the settings is not as one may think.
fn warnings(config: &Config, units: usize, protection: &Protection) -> Vec<String> {
    let (declared, sample_rate) = (protection.units(), protection.sample_rate());
    let mut warnings = Vec::new();
    if sample_rate >= 1.0 {
        warnings.push(format!(
            "batch_size is {}, and there are {declared} units at most: every unit takes part in every \
             step, a step has no more than that, and sampling adds no privacy",
            config.batch_size,
        ));
    } else if 2 * (units as u64) < declared {
        warnings.push(format!(
            "privacy.units declares {declared} units and {units} are there: a step has {:.1} of them on \
             average, and as much noise as for {}",
            sample_rate * units as f64,
            config.batch_size
        ));
    }
    if let Protection::ClipOnly { .. } = protection {
        warnings.push(
            "units are sampled and clipped, and no noise is added: ε is infinite, and the model is \
             neither private nor for release"
                .to_string(),
        );
    }
    warnings
}

/// Perplexities after a step.
pub(crate) fn note_scores(context: &Context, step: u64, held_out: &Scores, seen: &Scores) {
    let show = |value: Option<f64>| match value {
        None => "–".to_string(),
        Some(value) if value >= 1e6 => format!("{value:.3e}"),
        Some(value) => format!("{value:.3}"),
    };
    context.progress().note(format!(
        "step {step}: perplexity held out {} (personal data {}, other {}), in training {} \
         (personal data {}, other {})",
        show(held_out.perplexity()),
        show(held_out.pii_perplexity()),
        show(held_out.other_perplexity()),
        show(seen.perplexity()),
        show(seen.pii_perplexity()),
        show(seen.other_perplexity()),
    ));
}
