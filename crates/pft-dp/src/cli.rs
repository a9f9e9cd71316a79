//! `epsilon`, `noise` and `steps`: the accountant on the command line.
//!
//! A pure library: [`PrivacyCommand::run`] returns what is to be printed. The `train` binary
//! makes these its subcommands.

use std::fmt::Write;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::accounting::{Accountant, AccountingError, MAX_STEPS, Phase, pld, steps_within};
use crate::mechanism::Noise;
use pft_rounding::{delta_rounded_up, rounded_down, rounded_up};

/// Questions about a privacy budget.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum PrivacyCommand {
    /// ε that a run spends
    Epsilon(EpsilonArgs),
    /// The least noise with which a run stays within a budget
    Noise(NoiseArgs),
    /// How many steps fit in a budget
    Steps(StepsArgs),
}

/// Arguments of `epsilon`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct EpsilonArgs {
    /// The steps
    #[command(flatten)]
    pub phase: Phase,
    /// δ
    #[arg(long, value_name = "DELTA")]
    pub delta: f64,
    /// Which accountant answers
    #[arg(long, value_enum, default_value_t = AccountantChoice::Pld)]
    pub accountant: AccountantChoice,
    /// Units that one person may own: ε for all of them together (pld only)
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub group_size: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `noise`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct NoiseArgs {
    /// ε that must not be exceeded
    #[arg(long, value_name = "EPSILON")]
    pub target_epsilon: f64,
    /// δ
    #[arg(long, value_name = "DELTA")]
    pub delta: f64,
    /// Probability with which each unit takes part in a step
    #[arg(long, value_name = "Q")]
    pub sample_rate: f64,
    /// Number of steps
    #[arg(long, value_name = "T")]
    pub steps: u64,
    /// Which accountant answers
    #[arg(long, value_enum, default_value_t = Accountant::Pld)]
    pub accountant: Accountant,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `steps`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct StepsArgs {
    /// ε that must not be exceeded
    #[arg(long, value_name = "EPSILON")]
    pub target_epsilon: f64,
    /// δ
    #[arg(long, value_name = "DELTA")]
    pub delta: f64,
    /// Probability with which each unit takes part in a step
    #[arg(long, value_name = "Q")]
    pub sample_rate: f64,
    /// Standard deviation of the noise divided by the clipping norm
    #[arg(long, value_name = "SIGMA")]
    pub noise_multiplier: f64,
    /// Which accountant answers
    #[arg(long, value_enum, default_value_t = Accountant::Pld)]
    pub accountant: Accountant,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// One accountant or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccountantChoice {
    /// Privacy loss distribution: tight, with bounds
    Pld,
    /// Rényi differential privacy: an upper bound
    Rdp,
    /// Gaussian differential privacy: approximate, not a bound
    Gdp,
    /// All of them
    All,
}

impl AccountantChoice {
    fn accountants(self) -> Vec<Accountant> {
        match self {
            Self::Pld => vec![Accountant::Pld],
            Self::Rdp => vec![Accountant::Rdp],
            Self::Gdp => vec![Accountant::Gdp],
            Self::All => Accountant::ALL.to_vec(),
        }
    }
}

/// One accountant's answer, with the keys of the JSON output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// Which accountant answered.
    pub accountant: Accountant,
    /// ε: the upper bound where there is one, else the estimate.
    pub epsilon: f64,
    /// Upper bound; null for an approximation.
    pub epsilon_upper: Option<f64>,
    /// Lower bound; null where the accountant has none.
    pub epsilon_lower: Option<f64>,
    /// δ.
    pub delta: f64,
    /// The steps.
    #[serde(flatten)]
    pub phase: Phase,
    /// Whether ε bounds the privacy loss.
    pub is_bound: bool,
    /// Units of the group.
    pub group_size: u32,
    /// Upper bound where one unit is replaced by another, by the accountant `pld` for single units;
    /// null otherwise.
    pub epsilon_replace_one: Option<f64>,
}

impl PrivacyCommand {
    /// Answers, as text to be printed (one JSON value with `--json`: an object, or for
    /// `--accountant all` a list).
    ///
    /// # Errors
    /// When a parameter is outside its range or the question has no answer.
    pub fn run(&self) -> Result<String, AccountingError> {
        let answers = self.answers()?;
        let json = match self {
            Self::Epsilon(args) => args.json,
            Self::Noise(args) => args.json,
            Self::Steps(args) => args.json,
        };
        if json {
            let value = match &answers[..] {
                [answer] => serde_json::to_string(answer),
                answers => serde_json::to_string(answers),
            };
            return value
                .map(|text| text + "\n")
                .map_err(|error| AccountingError::Numerical(error.to_string()));
        }
        Ok(answers.iter().map(|answer| self.describe(answer)).collect())
    }

    /// Answers, one for each accountant asked.
    ///
    /// # Errors
    /// As [`PrivacyCommand::run`].
    pub fn answers(&self) -> Result<Vec<Answer>, AccountingError> {
        match self {
            Self::Epsilon(args) => {
                let accountants = args.accountant.accountants();
                if args.group_size != 1 && accountants != [Accountant::Pld] {
                    return Err(AccountingError::Range {
                        name: "group size",
                        value: f64::from(args.group_size),
                        range: "1, except with the accountant `pld`",
                    });
                }
                accountants
                    .into_iter()
                    .map(|accountant| answer(accountant, args.phase, args.delta, args.group_size))
                    .collect()
            }
            Self::Noise(args) => {
                let noise =
                    Noise::ForEpsilon { target: args.target_epsilon, accountant: args.accountant };
                let phase = noise.phase(&[], args.sample_rate, args.steps, args.delta)?;
                Ok(vec![answer(args.accountant, phase, args.delta, 1)?])
            }
            Self::Steps(args) => {
                let phase = Phase {
                    sample_rate: args.sample_rate,
                    noise_multiplier: args.noise_multiplier,
                    steps: 1,
                };
                let (target, delta) = (args.target_epsilon, args.delta);
                let steps = steps_within(args.accountant, &[], phase, target, delta, MAX_STEPS)?;
                Ok(vec![answer(args.accountant, Phase { steps, ..phase }, delta, 1)?])
            }
        }
    }

    fn describe(&self, answer: &Answer) -> String {
        let mut text = match self {
            Self::Epsilon(_) => String::new(),
            Self::Noise(_) => format!("noise_multiplier {}: ", answer.phase.noise_multiplier),
            Self::Steps(_) => format!("{} steps: ", answer.phase.steps),
        };
        let (epsilon, delta) = (rounded_up(answer.epsilon), delta_rounded_up(answer.delta));
        // Writing to a string cannot fail.
        let _ = write!(text, "ε = {epsilon} at δ = {delta}");
        if let (Some(lower), Some(upper)) = (answer.epsilon_lower, answer.epsilon_upper) {
            let _ = write!(text, ", between {} and {}", rounded_down(lower), rounded_up(upper));
        }
        let kind = if answer.is_bound { "" } else { ", approximate" };
        let _ = write!(text, " ({}{kind})", answer.accountant);
        if answer.group_size > 1 {
            let _ = write!(text, " for a group of {} units", answer.group_size);
        }
        if let Some(epsilon) = answer.epsilon_replace_one {
            let epsilon = rounded_up(epsilon);
            let _ = write!(text, "\nε = {epsilon} if one unit is replaced by another");
        }
        text.push('\n');
        text
    }
}

fn answer(
    accountant: Accountant,
    phase: Phase,
    delta: f64,
    group_size: u32,
) -> Result<Answer, AccountingError> {
    let found = match group_size {
        1 => accountant.epsilon(&[phase], delta)?,
        members => pld::group_epsilon(&[phase], delta, members)?,
    };
    let epsilon_replace_one = match (accountant, group_size) {
        (Accountant::Pld, 1) => Some(pld::replace_one_epsilon(&[phase], delta)?.epsilon),
        _ => None,
    };
    Ok(Answer {
        accountant,
        epsilon: found.epsilon,
        epsilon_upper: found.upper,
        epsilon_lower: found.lower,
        delta,
        phase,
        is_bound: accountant != Accountant::Gdp,
        group_size,
        epsilon_replace_one,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Train {
        #[command(subcommand)]
        command: PrivacyCommand,
    }

    fn run(line: &str) -> Result<String, AccountingError> {
        let words = std::iter::once("train").chain(line.split(' '));
        Train::try_parse_from(words).expect("a command line").command.run()
    }

    #[test]
    fn epsilon_as_json() {
        let line = "epsilon --sample-rate 0.001 --noise-multiplier 0.6 --steps 1000 --delta 1e-5";
        let text = run(&format!("{line} --json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!((json["epsilon"].as_f64().unwrap() - 1.4253).abs() < 1e-3);
        assert!(json["epsilon_lower"].as_f64() <= json["epsilon_upper"].as_f64());
        assert_eq!(json["accountant"], "pld");
        assert_eq!(json["delta"], 1e-5);
        assert_eq!(json["noise_multiplier"], 0.6);
        assert!((json["epsilon_replace_one"].as_f64().unwrap() - 1.45879).abs() < 1e-3);
        let all = run(&format!("{line} --accountant all --json")).unwrap();
        let all: Vec<serde_json::Value> = serde_json::from_str(&all).unwrap();
        assert_eq!(all.len(), 3);
        assert!(all[2]["epsilon_upper"].is_null() && all[1]["epsilon_replace_one"].is_null());
    }

    /// What is printed is never less than what was found, nor a lower bound more.
    #[test]
    fn epsilon_for_people() {
        let line = "epsilon --sample-rate 0.01 --noise-multiplier 1 --steps 1000 --delta 1e-6";
        let lines = "ε = 2.1246 at δ = 1.000e-6, between 2.1244 and 2.1246 (pld)\n\
                     ε = 3.2143 if one unit is replaced by another\n";
        assert_eq!(run(line).unwrap(), lines);
    }

    #[test]
    fn noise_and_steps_answer_each_other() {
        let noise =
            run("noise --target-epsilon 8 --delta 1e-5 --sample-rate 0.01 --steps 1000 --json");
        let noise: serde_json::Value = serde_json::from_str(&noise.unwrap()).unwrap();
        let sigma = noise["noise_multiplier"].as_f64().unwrap();
        assert!((sigma - 0.58626).abs() < 1e-3, "{sigma}");
        let steps = run(&format!(
            "steps --target-epsilon 8 --delta 1e-5 --sample-rate 0.01 --noise-multiplier {sigma}"
        ))
        .unwrap();
        let count: u64 = steps.split(' ').next().unwrap().parse().unwrap();
        assert!((1000..1010).contains(&count), "{steps}");
    }

    #[test]
    fn errors_are_for_people() {
        let line = "epsilon --sample-rate 2 --noise-multiplier 0.6 --steps 1000 --delta 1e-5";
        let error = run(line).unwrap_err();
        assert_eq!(error.to_string(), "sample_rate is 2; it must be between 0 and 1");
        for (line, wrong) in [
            ("--noise-multiplier 0 --steps 1000 --delta 1e-5", "noise_multiplier is 0;"),
            (
                "--noise-multiplier 1e30 --steps 1000 --delta 1e-5",
                "noise_multiplier is 1000000000000000000000000000000;",
            ),
            ("--noise-multiplier 1 --steps 1000000000000000000 --delta 1e-5", "steps is"),
            ("--noise-multiplier 1 --steps 1 --delta NaN", "delta is NaN;"),
            ("--noise-multiplier 1 --steps 1 --delta 1e-5 --group-size 4000000000", "group size"),
        ] {
            let error = run(&format!("epsilon --sample-rate 0.1 {line}")).unwrap_err().to_string();
            assert!(error.starts_with(wrong) && error.contains("must be"), "{error}");
        }
    }
}
