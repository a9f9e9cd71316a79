//! The command line of `train audit-step`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use pft_dp::accounting::Phase;
use pft_dp::{Clipping, Mechanism, Plan, RELEASE_DRAWS, Randomness};
use pft_stage::{StageError, subcommand};
use serde_json::json;

use super::{AuditSettings, Findings, audit_step};

/// Takes private steps on a small model with planted canaries, guesses from the noised updates
/// which of them were in the data, and fails if that refutes the claimed ε
///
/// The lower bound is that of one run by Steinke, Nasr and Jagielski (2023, Theorem 5.2): half of the guesses
/// say "in", half "out", their number is fixed beforehand, and δ counts once for each canary. By default 600
/// guesses are made among 20,000 canaries; all of them right would show ε ≥ 4.68 at δ = 1e-5, so no larger
/// claim can be refuted so. The same guesses show less among more canaries (508 right of 600: 1.50 among
/// 20,000, 1.09 among 200,000), and a number without both counts says nothing
#[derive(Debug, Parser)]
#[command(name = "train audit-step")]
struct Arguments {
    /// Canaries, each in the data by a fair coin
    #[arg(long, value_name = "M", default_value_t = 20_000)]
    canaries: usize,
    /// Guesses, half "in" and half "out"; 3 % of the canaries without it
    #[arg(long, value_name = "R")]
    guesses: Option<usize>,
    /// Standard deviation of the noise divided by the clipping norm
    #[arg(long, value_name = "SIGMA", default_value_t = 1.5)]
    noise_multiplier: f64,
    /// Probability with which each unit takes part in a step
    #[arg(long, value_name = "Q", default_value_t = 1.0)]
    sample_rate: f64,
    /// Number of steps
    #[arg(long, value_name = "T", default_value_t = 1)]
    steps: u64,
    /// δ of the claim
    #[arg(long, value_name = "DELTA", default_value_t = 1e-5)]
    delta: f64,
    /// Confidence of the lower bound
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    confidence: f64,
    /// Draws everything from this seed instead of the operating system's entropy
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The command's `main`; the first argument is the command's name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    subcommand::run("train audit-step", arguments, |arguments: Arguments| {
        let findings = audit(&arguments)?;
        subcommand::print(&text(&arguments, &findings));
        let refutations = findings.refutations();
        if refutations.is_empty() { Ok(()) } else { Err(StageError::bug(refutations.join("\n"))) }
    })
}

fn audit(arguments: &Arguments) -> Result<Findings, StageError> {
    let plan = Plan {
        declared_units: (arguments.canaries / 2).max(1) as u64,
        units_were_counted: false,
        phase: Phase {
            sample_rate: arguments.sample_rate,
            noise_multiplier: arguments.noise_multiplier,
            steps: arguments.steps,
        },
        delta: arguments.delta,
        clipping: Clipping::default(),
        max_examples_per_unit: 1,
        noise_draws: RELEASE_DRAWS,
    };
    let mechanism =
        Mechanism::new(plan, false).map_err(|error| StageError::config(error.to_string()))?;
    let settings = AuditSettings {
        canaries: arguments.canaries,
        guesses: arguments.guesses.unwrap_or(arguments.canaries * 3 / 100),
        confidence: arguments.confidence,
        sampling_steps: 1000,
    };
    let randomness = match arguments.seed {
        Some(seed) => Randomness::FixedSeed(seed),
        None => Randomness::OperatingSystem,
    };
    audit_step(&settings, &mechanism, &mechanism, randomness)
}

/// What was found, for people or as JSON.
fn text(arguments: &Arguments, findings: &Findings) -> String {
    let found = &findings.canaries;
    if arguments.json {
        let sampling = findings.sampling.map(|audit| {
            json!({
                "batch_sizes": audit.batch_sizes,
                "inclusions": audit.inclusions,
                "repeats": audit.repeats,
            })
        });
        let result = json!({
            "claimed_epsilon": findings.claimed,
            "delta": arguments.delta,
            "epsilon_lower": found.epsilon_lower,
            "confidence": arguments.confidence,
            "canaries": arguments.canaries,
            "guesses": found.guesses,
            "correct": found.correct,
            "sampling_p_values": sampling,
            "refuted": !findings.refutations().is_empty(),
        });
        return result.to_string();
    }
    let mut lines = vec![
        format!("claimed   ε ≤ {:.4} at δ = {:e}", findings.claimed, arguments.delta),
        format!(
            "canaries  ε ≥ {:.4} with confidence {}: {} of {} guesses right, among {} canaries",
            found.epsilon_lower,
            arguments.confidence,
            found.correct,
            found.guesses,
            arguments.canaries
        ),
    ];
    if let Some(audit) = &findings.sampling {
        lines.push(format!(
            "batches   p = {:.3} by their sizes, {:.3} by inclusions, {:.3} by repeats",
            audit.batch_sizes, audit.inclusions, audit.repeats
        ));
    }
    if findings.refutations().is_empty() {
        lines.push("nothing refutes the claim".to_string());
    }
    lines.join("\n")
}
