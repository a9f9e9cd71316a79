//! The sentences of a privacy statement, for people who are no experts.

use crate::base::{Base, BaseHasSeen};
use crate::history::Origin;
use crate::reason::Reason;
use crate::report::PrivacyReport;
use crate::rounding::{delta_rounded_up, rounded_up};

const NOT_FOR_RELEASE: &str = "It is NOT FOR RELEASE as a private model.";

/// The statement of a report whose other fields are filled in.
pub(crate) fn private(report: &PrivacyReport) -> String {
    let unit = &report.unit;
    let earlier = report.history.trainings.len().saturating_sub(1);
    let of_whom = match earlier {
        0 => "its training set".to_string(),
        _ => "all its training sets".to_string(),
    };
    let steps =
        format!("{} of Poisson-sampled, clipped and noised gradients", count(report.steps, "step"));
    let how = match earlier {
        0 => format!("by {steps}"),
        _ => {
            let all: u64 = report.history.phases().iter().map(|phase| phase.steps).sum();
            format!(
                "by {steps} in this training and {} in {} of the same weights before, counted together \
                 as if all of them had used the same data",
                all - report.steps,
                count(earlier as u64, "private training"),
            )
        }
    };
    let condition = match report.not_for_release.contains(&Reason::UnitsCounted) {
        true => ", as if the number of units, which was counted in the data, had been public before",
        false => "",
    };
    let claim = format!(
        "({}, {})-differentially private for adding or removing one {unit} of {of_whom}, \
         {how}{condition}",
        rounded_up(report.quoted()),
        delta_rounded_up(report.delta),
    );
    let mut text = match (&report.history.origin, report.base.has_seen()) {
        (Origin::Random, _) => format!("The model is {claim}."),
        (Origin::Checkpoint(base), BaseHasSeen::Nothing) => format!(
            "The model is {claim}. Its weights come from the base model {base}, and all this holds on \
             the declaration, which cannot be checked from the files, that {base} never saw any {unit} \
             of {of_whom}."
        ),
        (Origin::Checkpoint(base), BaseHasSeen::Unknown) => format!(
            "ONLY IF its base model {base} never saw any {unit} of {of_whom}, the model is {claim}. \
             Nobody has declared that {base} did not see them; if it did, no bound holds on what the \
             model reveals of them."
        ),
    };
    text += &format!(
        " The first number, ε, limits how much anyone can learn from the model about whether one \
         {unit} was there: the smaller, the less."
    );
    if let Some(own) = &report.own_epsilon {
        text +=
            &format!(" This training alone would have ε = {}.", rounded_up(own.epsilon.epsilon));
    }
    let reasons = report.not_for_release.iter().filter(|reason| **reason != Reason::BaseUnknown);
    for reason in reasons {
        text += " ";
        text += &reason.sentence(unit);
    }
    if !report.not_for_release.is_empty() {
        text += " ";
        text += NOT_FOR_RELEASE;
    }
    text
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
    if let (Base::Checkpoint(base), false) = (base, others.is_empty()) {
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
