//! The sentences of a privacy statement, for people who are no experts.

use crate::base::{Base, BaseHasSeen};
use crate::history::{Origin, Record};
use crate::reason::Reason;
use crate::rounding::{delta_rounded_up, rounded_up};

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
        odds(claim.epsilon, claim.delta)
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

/// What ε and δ mean for whoever bets on a unit: P(model | there) ≤ e^ε · P(model | not there), both ways,
/// but for events of a probability of about δ.
fn odds(epsilon: f64, delta: f64) -> String {
    let factor = rounded_up(epsilon).parse().map_or(f64::INFINITY, f64::exp);
    let factor = match factor {
        small if small < 10.0 => format!("{}", (small * 100.0).ceil() / 100.0),
        large if large < 1e6 => format!("{}", large.ceil()),
        _ => return "At this size it limits next to nothing.".to_string(),
    };
    format!(
        "The odds that it was there change by a factor of at most {factor}, except with a probability \
         of about {}, which is the second number, δ.",
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
