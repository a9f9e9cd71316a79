//! The audit of a private step: it lets the true mechanism pass, and fails when it should.

#![allow(clippy::unwrap_used)]

use pft_dp::accounting::Phase;
use pft_dp::{Clipping, Mechanism, Plan, Randomness};
use train::audit::{AuditSettings, audit_step};

const SETTINGS: AuditSettings =
    AuditSettings { canaries: 20_000, guesses: 600, confidence: 0.95, sampling_steps: 1000 };

fn plan() -> Plan {
    Plan {
        declared_units: 10_000,
        units_were_counted: false,
        phase: Phase { sample_rate: 1.0, noise_multiplier: 1.5, steps: 1 },
        delta: 1e-5,
        clipping: Clipping::default(),
        max_examples_per_unit: 1,
        noise_draws: 1,
    }
}

fn mechanism(plan: Plan) -> Mechanism {
    Mechanism::new(plan, false).unwrap()
}

#[test]
fn the_true_step_keeps_its_claim_and_is_seen() {
    let claimed = mechanism(plan());
    let findings = audit_step(&SETTINGS, &claimed, &claimed, Randomness::FixedSeed(1)).unwrap();
    assert!(findings.refutations().is_empty(), "{findings:?}");
    assert!(findings.canaries.epsilon_lower > 1.0, "the audit is blind: {findings:?}");
}

#[test]
fn several_poisson_steps_keep_their_claim() {
    let claimed = mechanism(Plan {
        phase: Phase { sample_rate: 0.5, noise_multiplier: 1.0, steps: 4 },
        ..plan()
    });
    let settings = AuditSettings { canaries: 4_000, guesses: 120, ..SETTINGS };
    let findings = audit_step(&settings, &claimed, &claimed, Randomness::FixedSeed(2)).unwrap();
    assert!(findings.refutations().is_empty(), "{findings:?}");
    assert!(findings.canaries.epsilon_lower > 0.3, "the audit is blind: {findings:?}");
}

#[test]
fn half_the_noise_is_caught() {
    let claimed = mechanism(plan());
    let run = mechanism(Plan { phase: Phase { noise_multiplier: 0.75, ..plan().phase }, ..plan() });
    let findings = audit_step(&SETTINGS, &claimed, &run, Randomness::FixedSeed(3)).unwrap();
    assert!(findings.refutations()[0].contains("canaries"), "{findings:?}");
}

/// The same noise on gradients that a norm of 100 leaves as they are.
#[test]
fn clipping_left_out_is_caught() {
    let claimed = mechanism(plan());
    let clipping = Clipping { max_grad_norm: 100.0, ..Clipping::default() };
    let run = mechanism(Plan {
        clipping,
        phase: Phase { noise_multiplier: 0.015, ..plan().phase },
        ..plan()
    });
    let findings = audit_step(&SETTINGS, &claimed, &run, Randomness::FixedSeed(4)).unwrap();
    assert!(findings.refutations()[0].contains("canaries"), "{findings:?}");
}

/// Batches drawn at another rate than the accountant was told. Shuffled epochs and batches of a
/// fixed size are refuted in `pft-dp`, where batches are drawn.
#[test]
fn another_sample_rate_is_caught() {
    let settings = AuditSettings { canaries: 1_000, guesses: 60, ..SETTINGS };
    let claimed = mechanism(Plan {
        phase: Phase { sample_rate: 0.05, noise_multiplier: 2.0, ..plan().phase },
        ..plan()
    });
    let run = mechanism(Plan {
        phase: Phase { sample_rate: 0.06, noise_multiplier: 2.0, ..plan().phase },
        ..plan()
    });
    let findings = audit_step(&settings, &claimed, &run, Randomness::FixedSeed(5)).unwrap();
    assert!(findings.refutations()[0].contains("Poisson"), "{findings:?}");
}
