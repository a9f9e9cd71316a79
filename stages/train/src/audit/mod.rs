//! `train audit-step`: canaries put the claim of a private step to the test.
//!
//! A small language model takes real private steps over canary units, each of which is in the data
//! by a fair coin. A canary is a sequence of two tokens, the second of which no other unit has, so
//! that nearly all of its gradient lies in its own row of the head, in a direction that an auditor
//! knows. From the noised updates alone the auditor guesses which canaries were there (Steinke,
//! Nasr and Jagielski 2023). Forward, backward, clipping, sampling, ledger and noise are those of
//! training.

use pft_dp::accounting::Accountant;
use pft_dp::audit::{AuditResult, SamplingAudit, audit_one_run, audit_sampling};
use pft_dp::{Ledger, LedgerHeader, Mechanism, Randomness, RunSecret};
use pft_lm::config::ModelConfig;
use pft_lm::gradient::GradientSum;
use pft_lm::model::{LanguageModel, init};
use pft_lm::optimizer::{Optimizer, OptimizerConfig};
use pft_lm::parameters::TensorData;
use pft_stage::StageError;

use crate::data::{Sequence, batch_of};
use crate::private::add_units;
use crate::processor::{Cpu, Processor};
use crate::state::Row;

pub mod command;

/// Tokens that are no canary's: the first of every sequence, and one to learn the direction from.
const FIRST: u32 = 0;
const PROBE: u32 = 1;
const RESERVED: usize = 2;
/// Width of the model.
const HIDDEN_SIZE: usize = 16;
/// Two sequences' worth of head gradients must fit in a cache.
const MICRO_BATCH_TOKENS: usize = 128;
/// Chance of a false alarm by the sampling audit.
const SAMPLING_ALARM: f64 = 1e-6;

/// How hard to look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuditSettings {
    /// Canaries, each in the data by a fair coin.
    pub canaries: usize,
    /// Guesses, half of them "in" and half "out".
    pub guesses: usize,
    /// Confidence of the lower bound.
    pub confidence: f64,
    /// Steps whose batches the sampling audit looks at.
    pub sampling_steps: u64,
}

/// What was claimed and what was found.
#[derive(Debug, Clone, Copy)]
pub struct Findings {
    /// ε as claimed, an upper bound.
    pub claimed: f64,
    /// What the canaries show.
    pub canaries: AuditResult,
    /// What the batches show; none where every unit is in every batch.
    pub sampling: Option<SamplingAudit>,
}

impl Findings {
    /// What refutes the claim, in words.
    pub fn refutations(&self) -> Vec<String> {
        let mut refutations = Vec::new();
        if self.canaries.epsilon_lower > self.claimed {
            refutations.push(format!(
                "the canaries show ε ≥ {:.3}, more than the {:.3} claimed",
                self.canaries.epsilon_lower, self.claimed
            ));
        }
        if let Some(p) = self.sampling.map(|audit| audit.least()).filter(|&p| p < SAMPLING_ALARM) {
            refutations.push(format!("the batches are not Poisson samples (probability {p:.1e})"));
        }
        refutations
    }
}

/// Audits the steps of `run` against what `claimed` promises. The two are the same mechanism
/// unless one wants to see the audit fail. Coins, sampling and noise come from `randomness`.
///
/// # Errors
/// When the settings make no sense, or the disk refuses the ledger.
pub fn audit_step(
    settings: &AuditSettings,
    claimed: &Mechanism,
    run: &Mechanism,
    randomness: Randomness,
) -> Result<Findings, StageError> {
    let bug = |error: &dyn std::fmt::Display| StageError::bug(error.to_string());
    let refuse = |error: &dyn std::fmt::Display| StageError::config(error.to_string());
    let secret = RunSecret::new(randomness).map_err(|error| bug(&error))?;
    let included = coins(settings.canaries, &secret)?;
    let scores = scores(&included, run, &secret, randomness)?;
    let steps = claimed.plan().phase.steps;
    let epsilon = claimed.epsilon(Accountant::Pld, steps).map_err(|error| refuse(&error))?;
    let delta = claimed.plan().delta;
    let canaries = audit_one_run(&scores, &included, settings.guesses, delta, settings.confidence)
        .map_err(|error| refuse(&error))?;
    let sample_rate = claimed.plan().phase.sample_rate;
    let sampling = if sample_rate < 1.0 {
        let mut sampler = run.sampler(&secret, &names(1000)).map_err(|error| bug(&error))?;
        let batches = |step| sampler.sample(step);
        Some(audit_sampling(1000, settings.sampling_steps, sample_rate, batches))
    } else {
        None
    };
    Ok(Findings { claimed: epsilon.epsilon, canaries, sampling })
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("canary-{index}")).collect()
}

/// A fair coin for each canary, apart from those of sampling.
fn coins(canaries: usize, secret: &RunSecret) -> Result<Vec<bool>, StageError> {
    let key = blake3::derive_key("pft audit 1 coins", secret.expose_hex().as_bytes());
    let mut bytes = vec![0; canaries];
    blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut bytes);
    if canaries < 2 {
        return Err(StageError::config("--canaries must be at least 2"));
    }
    Ok(bytes.into_iter().map(|byte| byte & 1 == 1).collect())
}

/// Takes the steps over the canaries that are included; scores every canary by how far the noised
/// updates move its row of the head along the direction that its gradient would have.
fn scores(
    included: &[bool],
    mechanism: &Mechanism,
    secret: &RunSecret,
    randomness: Randomness,
) -> Result<Vec<f64>, StageError> {
    let bug = |error: &dyn std::fmt::Display| StageError::bug(error.to_string());
    let mut model = small_model(included.len() + RESERVED)?;
    let (head, direction) = head_and_direction(&mut model)?;
    let canary = |index: usize| sequence((index + RESERVED) as u32);
    let present: Vec<usize> = (0..included.len()).filter(|&index| included[index]).collect();
    let sequences: Vec<Sequence> = present.iter().map(|&index| canary(index)).collect();
    let all = names(included.len());
    let units: Vec<&str> = present.iter().map(|&index| all[index].as_str()).collect();
    let mut sampler = mechanism.sampler(secret, &units).map_err(|error| bug(&error))?;
    let noise = mechanism.noise(secret);
    let rule = OptimizerConfig::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let optimizer = Optimizer::new(rule, model.parameters());
    let mut processor = Cpu::new(model, optimizer);
    let mut gradients = processor.units(mechanism.into());
    let folder = tempfile::tempdir().map_err(|error| bug(&error))?;
    let header = LedgerHeader::new(mechanism, randomness, secret.commitment(), Default::default());
    let mut ledger =
        Ledger::open(&folder.path().join("ledger.jsonl"), &header).map_err(|error| bug(&error))?;

    let mut scores = vec![0.0; included.len()];
    for step in 0..mechanism.plan().phase.steps {
        let drawn = sampler.sample(step).into_iter().map(|index| vec![&sequences[index]]).collect();
        add_units(
            &mut processor,
            &mut gradients,
            drawn,
            MICRO_BATCH_TOKENS,
            |_| 0,
            &mut Row::step(step),
        )?;
        let receipt = ledger.record(mechanism, step).map_err(|error| bug(&error))?;
        let mean = processor.take(&mut gradients)?.privatize(mechanism, &noise, &receipt);
        let rows = mean.tensor(head);
        let rows = rows.as_chunks::<HIDDEN_SIZE>().0;
        for (score, row) in scores.iter_mut().zip(&rows[RESERVED..]) {
            *score += dot(row, &direction);
        }
        gradients.recycle(mean);
    }
    Ok(scores)
}

fn sequence(token: u32) -> Sequence {
    Sequence {
        input_ids: vec![FIRST, token],
        pii: vec![false; 2],
        context: 0,
        loss_mask: Vec::new(),
    }
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(&left, &right)| f64::from(left) * f64::from(right)).sum()
}

/// A LLaMA of one layer whose head is so small that it hands next to no gradient down.
fn small_model(vocab_size: usize) -> Result<LanguageModel, StageError> {
    let bug = |error: &dyn std::fmt::Display| StageError::bug(error.to_string());
    let config = serde_json::json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocab_size,
        "hidden_size": HIDDEN_SIZE, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 4,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
    });
    let config = ModelConfig::from_json(&config.to_string()).map_err(|error| bug(&error))?;
    let mut parameters = init::random(&config, 1).map_err(|error| bug(&error))?;
    for (_, parameter) in parameters.iter_mut() {
        if let (true, TensorData::F32(values)) =
            (parameter.spec.name == "lm_head.weight", &mut parameter.tensor.data)
        {
            values.iter_mut().for_each(|value| *value *= 1e-3);
        }
    }
    LanguageModel::new(config, parameters, None, 1).map_err(|error| bug(&error))
}

/// The head's place among the trainable parameters, and the unit vector along which a canary
/// moves its row, learnt from a sequence that is nobody's.
fn head_and_direction(model: &mut LanguageModel) -> Result<(usize, Vec<f32>), StageError> {
    let bug = |error: &dyn std::fmt::Display| StageError::bug(error.to_string());
    let mut sum = GradientSum::new(model.parameters());
    let probe = sequence(PROBE);
    model
        .forward_backward(&batch_of(&[vec![&probe]])?, 0, &mut sum)
        .map_err(|error| bug(&error))?;
    let head = model.parameters().trainable().position(|(_, p)| p.spec.name == "lm_head.weight");
    let head = head.ok_or_else(|| StageError::bug("the small model has no head"))?;
    let gradient: Vec<f32> = sum.in_order().nth(head).map(<[f32]>::to_vec).unwrap_or_default();
    let row = &gradient[PROBE as usize * HIDDEN_SIZE..][..HIDDEN_SIZE];
    let norm = dot(row, row).sqrt() as f32;
    Ok((head, row.iter().map(|value| value / norm).collect()))
}
