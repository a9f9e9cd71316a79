//! The sentences of a privacy statement, for people who are no experts.

use crate::base::{Base, BaseHasSeen};
use crate::history::{Origin, Record};
use crate::reason::Reason;
use pft_rounding::{delta_rounded_up, rounded_up};

const NOT_FOR_RELEASE: &str = "It is NOT FOR RELEASE as a private model.";

/// What a statement says where a bound holds.
pub(crate) struct Claim<'a> {
    /// What a unit is.
    pub(crate) unit: &'a str,
    /// ε of all trainings, and of this one alone where there were others.
    pub(crate) epsilon: f64,
    pub(crate) own_epsilon: Option<f64>,
    /// δ.
    pub(crate) delta: f64,
    /// Steps of this training.
    pub(crate) steps: u64,
    /// What was declared that the base model had seen, by all trainings together.
    pub(crate) has_seen: BaseHasSeen,
    /// All trainings.
    pub(crate) history: &'a Record,
    /// Why the model is not for release.
    pub(crate) not_for_release: &'a [Reason],
}

/// The statement where a bound holds.
pub(crate) fn private(claim: &Claim<'_>) -> String {
    let unit = claim.unit;
    let earlier = claim.history.trainings.len().saturating_sub(1);
    let of_whom = match earlier {
        0 => "its training set".to_string(),
        _ => "all its training sets".to_string(),
    };
    let steps =
        format!("{} of Poisson-sampled, clipped and noised gradients", count(claim.steps, "step"));
    let how = match earlier {
        0 => format!("by {steps}"),
        _ => {
            let all: u64 = claim.history.phases().iter().map(|phase| phase.steps).sum();
            format!(
                "by {steps} in this training and {} in {} of the same weights before, counted together \
                 as if all of them had used the same data and a {unit} were the same in each",
                all - claim.steps,
                count(earlier as u64, "private training"),
            )
        }
    };
    let condition = match claim.not_for_release.contains(&Reason::UnitsCounted) {
        true => {
            ", as if the number of units, which was counted in the data, had been public before"
        }
        false => "",
    };
    let bound = format!(
        "({}, {})-differentially private for adding or removing one {unit} of {of_whom}, \
         {how}{condition}",
        rounded_up(claim.epsilon),
        delta_rounded_up(claim.delta),
    );
    let mut text = match (&claim.history.origin, claim.has_seen) {
        (Origin::Random, _) => format!("The model is {bound}."),
        (Origin::Checkpoint(base), BaseHasSeen::Nothing) => format!(
            "The model is {bound}. Its weights come from the base model {base}, and all this holds on \
             the declaration, which cannot be checked from the files, that {base} never saw any {unit} \
             of {of_whom}."
        ),
        (Origin::Checkpoint(base), BaseHasSeen::Unknown) => format!(
            "ONLY IF its base model {base} never saw any {unit} of {of_whom}, the model is {bound}. \
             Nobody has declared that {base} did not see them; if it did, no bound holds on what the \
             model reveals of them."
        ),
    };
    text += &format!(
        " The first number, ε, limits how much anyone can learn from the model about whether one \
         {unit} was there: the smaller, the less. {}",
        of_tests(unit, claim.epsilon, claim.delta)
    );
    if let Some(own) = claim.own_epsilon {
        text += &format!(" This training alone would have ε = {}.", rounded_up(own));
    }
    // Of what the base has seen all is said.
    let said = [Reason::BaseUnknown, Reason::BaseUnknown.of_an_earlier_training()];
    for reason in claim.not_for_release.iter().filter(|reason| !said.contains(reason)) {
        text += " ";
        text += &reason.sentence(unit);
    }
    if !claim.not_for_release.is_empty() {
        text += " ";
        text += NOT_FOR_RELEASE;
    }
    text
}

/// What ε and δ mean for a test of a unit's presence, which is the definition: for every set S of models
/// P(S | there) ≤ e^ε · P(S | not there) + δ. (That odds change by e^ε but with a probability of δ does not
/// follow from it: Meiser 2018, Approximate and Probabilistic Differential Privacy Definitions.)
fn of_tests(unit: &str, epsilon: f64, delta: f64) -> String {
    let factor = rounded_up(epsilon).parse().map_or(f64::INFINITY, f64::exp);
    let factor = match factor {
        small if small < 10.0 => format!("{}", (small * 100.0).ceil() / 100.0),
        // Beyond this a test may be wrong as rarely as anybody likes.
        large if large < 1e15 => format!("{}", large.ceil()),
        _ => return "At this size it limits nothing.".to_string(),
    };
    format!(
        "Whatever test anyone makes of the model: if it says with a probability p that a {unit} was \
         there which was not, it says so of one that was with a probability of at most {factor} × p + {}, \
         where the last number is δ.",
        delta_rounded_up(delta)
    )
}

/// The statement of a model that no bound holds for.
pub(crate) fn not_private(reasons: &[Reason], base: &Base, unit: &str) -> String {
    let plain = reasons.contains(&Reason::NotPrivate);
    let mut text = match plain {
        true => "The model was trained without differential privacy: no bound holds on what it \
                 reveals of its training data."
            .to_string(),
        false => format!(
            "No bound holds on what the model reveals of any one {unit}, although its last training \
             was differentially private."
        ),
    };
    let others: Vec<&Reason> =
        reasons.iter().filter(|reason| **reason != Reason::NotPrivate).collect();
    let of_before = others.iter().any(|reason| **reason != Reason::WithoutNoise);
    if let (Base::Checkpoint(base), true) = (base, of_before) {
        text += &format!(" It began from {}.", base.name);
    }
    for reason in others {
        text += " ";
        text += &reason.sentence(unit);
    }
    text += " ";
    text += NOT_FOR_RELEASE;
    text
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::{Accountant, Phase};

    /// The numbers of the sentence, held against every threshold test of the Gaussian mechanism, which are
    /// the best tests of it.
    #[test]
    fn no_test_of_the_gaussian_mechanism_does_better_than_is_said() {
        for (noise_multiplier, delta) in [(0.7, 1e-3), (1.0, 1e-5), (4.0, 1e-3), (30.0, 1e-6)] {
            let phase = Phase { sample_rate: 1.0, noise_multiplier, steps: 1 };
            let epsilon = Accountant::Pld.epsilon(&[phase], delta).unwrap().epsilon;
            let said = of_tests("case", epsilon, delta);
            let (_, numbers) = said.split_once("at most ").unwrap();
            let (factor, rest) = numbers.split_once(" × p + ").unwrap();
            let factor: f64 = factor.parse().unwrap();
            let added: f64 = rest.split(',').next().unwrap().parse().unwrap();
            let above =
                |x: f64| 0.5 * libm::erfc(x / noise_multiplier * std::f64::consts::FRAC_1_SQRT_2);
            let mut is_nearly_reached = false;
            for step in -400..=400 {
                let threshold = f64::from(step) * noise_multiplier / 40.0;
                // That it was there, and that it was not.
                for (right, wrong) in [
                    (above(threshold - 1.0), above(threshold)),
                    (above(-threshold), above(1.0 - threshold)),
                ] {
                    assert!(right <= factor * wrong + added, "σ {noise_multiplier}: {threshold}");
                    is_nearly_reached |= right > 0.9 * factor * wrong + added;
                }
            }
            assert!(is_nearly_reached, "σ {noise_multiplier}");
        }
    }
}
