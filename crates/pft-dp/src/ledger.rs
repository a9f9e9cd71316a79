//! The privacy ledger: what a run has spent, on disk before anyone can see it.
//!
//! A text file of JSON lines. The first describes the run: the plan, a commitment to its secret,
//! the hashes of its inputs. Each further line is one step. Every line carries the hash of the one
//! before and its own, so that damage, an edited line and one left out in between are seen. (The
//! hashes have no key: they are no signature of who wrote the file.) A step's
//! line is synced before [`Ledger::record`] returns the [`StepReceipt`] that noise asks for:
//! however a run dies, the steps recorded are at least the updates that were seen.
//!
//! A half-written last line belongs to a step that nobody has seen, and is cut off on reopening.
//! A step that is recorded already, taken again after a resume, has the same secret and hence the
//! same sample and noise: it is the same release and is not recorded twice.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::accounting::{Accountant, AccountingError, Epsilon, Phase};
use crate::header::{FORMAT, LedgerHeader};
use crate::history::PrivateTraining;
use crate::mechanism::{Mechanism, Plan};

/// One step's line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// Index of the step, from 0.
    pub step: u64,
    /// q.
    pub sample_rate: f64,
    /// σ.
    pub noise_multiplier: f64,
    /// C.
    pub max_grad_norm: f64,
    /// q·N₀, by which the sum is divided.
    pub expected_batch_size: f64,
}

impl StepRecord {
    /// A step as `plan` has it.
    fn of(plan: &Plan, step: u64) -> Self {
        Self {
            step,
            sample_rate: plan.phase.sample_rate,
            noise_multiplier: plan.phase.noise_multiplier,
            max_grad_norm: plan.clipping.max_grad_norm,
            expected_batch_size: plan.expected_batch_size(),
        }
    }

    fn follows(&self, plan: &Plan) -> bool {
        *self == Self::of(plan, self.step) && self.step < plan.phase.steps
    }
}

/// Shows that a step is in the ledger. Only [`Ledger::record`] makes one.
#[derive(Debug)]
pub struct StepReceipt {
    step: u64,
}

impl StepReceipt {
    /// The step.
    pub fn step(&self) -> u64 {
        self.step
    }
}

/// A ledger that cannot be trusted or written.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{path}, line {line}: {reason}; the ledger was changed or damaged")]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The ledger belongs to another run.
    #[error("{path}: the ledger was begun with another {what}; a run cannot change it half-way")]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// Steps must be recorded in order.
    #[error("step {step} cannot be recorded after {recorded} steps")]
    Gap {
        /// The step to be recorded.
        step: u64,
        /// The steps recorded.
        recorded: u64,
    },
    /// The reported ε is not what the ledger gives.
    #[error("{accountant} ε is reported as {reported} but the ledger's {steps} steps give {found}")]
    Mismatch {
        /// The accountant.
        accountant: Accountant,
        /// The ε reported.
        reported: f64,
        /// The ε recomputed.
        found: f64,
        /// The steps recorded.
        steps: u64,
    },
    /// Something else that is reported is not what the ledger says.
    #[error("{what} is reported as {reported} but the ledger says {recorded}")]
    Differs {
        /// What it is.
        what: String,
        /// The report's.
        reported: String,
        /// The ledger's.
        recorded: String,
    },
    /// The steps cannot be accounted for.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<T> {
    record: T,
    previous: String,
    hash: String,
}

/// A ledger open for appending.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    path: PathBuf,
    contents: LedgerContents,
    last_hash: String,
}

/// What a ledger says.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerContents {
    /// The run.
    pub header: LedgerHeader,
    /// Its steps, in order.
    pub steps: Vec<StepRecord>,
}

impl Ledger {
    /// Opens the ledger of a run, or begins it if there is no file.
    ///
    /// # Errors
    /// When the file cannot be written, is damaged, or belongs to a run with another plan, secret
    /// or input.
    pub fn open(path: &Path, header: &LedgerHeader) -> Result<Self, LedgerError> {
        let io = |source| LedgerError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let text = as_text(path, bytes)?;
        // What follows the last line break was never acknowledged.
        let complete = text.rfind('\n').map_or(0, |at| at + 1);
        file.set_len(complete as u64).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        if complete == 0 {
            let last_hash = append(&mut file, header, "").map_err(io)?;
            sync_folder(path).map_err(io)?;
            let contents = LedgerContents { header: header.clone(), steps: Vec::new() };
            return Ok(Self { file, path: path.to_owned(), contents, last_hash });
        }
        let (contents, last_hash) = parse(path, &text[..complete])?;
        let other = |what| Err(LedgerError::OtherRun { path: path.to_owned(), what });
        let begun = &contents.header;
        if begun.commitment != header.commitment || begun.randomness != header.randomness {
            return other("secret");
        }
        if begun.plan != header.plan {
            return other("privacy plan");
        }
        if begun.inputs != header.inputs {
            return other("input");
        }
        if (&begun.unit, &begun.couplings) != (&header.unit, &header.couplings) {
            return other("kind of unit");
        }
        if (&begun.base, &begun.earlier) != (&header.base, &header.earlier) {
            return other("base model, or another record of what that was trained on,");
        }
        // Another version may compute another gradient, which the same noise must not meet.
        if begun.software != header.software {
            return other("version of the software");
        }
        Ok(Self { file, path: path.to_owned(), contents, last_hash })
    }

    /// Records one step and waits until it is on disk. A step that is recorded already gets its
    /// receipt without a second line.
    ///
    /// # Errors
    /// When it cannot be written, or steps before it are missing.
    pub fn record(&mut self, mechanism: &Mechanism, step: u64) -> Result<StepReceipt, LedgerError> {
        if *mechanism.plan() != self.contents.header.plan {
            return Err(LedgerError::OtherRun { path: self.path.clone(), what: "privacy plan" });
        }
        let recorded = self.contents.steps.len() as u64;
        if step > recorded {
            return Err(LedgerError::Gap { step, recorded });
        }
        if step == recorded {
            let record = StepRecord::of(mechanism.plan(), step);
            self.last_hash = append(&mut self.file, &record, &self.last_hash)
                .map_err(|source| LedgerError::Io { path: self.path.clone(), source })?;
            self.contents.steps.push(record);
        }
        Ok(StepReceipt { step })
    }

    /// What the ledger says.
    pub fn contents(&self) -> &LedgerContents {
        &self.contents
    }
}

impl LedgerContents {
    /// Reads a ledger and checks its chain.
    ///
    /// # Errors
    /// When it cannot be read or a line is not what it should be.
    pub fn read(path: &Path) -> Result<Self, LedgerError> {
        let bytes = std::fs::read(path)
            .map_err(|source| LedgerError::Io { path: path.to_owned(), source })?;
        Ok(parse(path, &as_text(path, bytes)?)?.0)
    }

    /// The steps as an accountant takes them.
    pub fn phases(&self) -> Vec<Phase> {
        let mut phases: Vec<Phase> = Vec::new();
        for record in &self.steps {
            match phases.last_mut() {
                Some(last)
                    if last.sample_rate == record.sample_rate
                        && last.noise_multiplier == record.noise_multiplier =>
                {
                    last.steps += 1;
                }
                _ => phases.push(Phase {
                    sample_rate: record.sample_rate,
                    noise_multiplier: record.noise_multiplier,
                    steps: 1,
                }),
            }
        }
        phases
    }

    /// The run as later trainings of its weights are told of it: with the steps that were taken.
    pub fn training(&self) -> PrivateTraining {
        let header = &self.header;
        PrivateTraining {
            commitment: header.commitment.clone(),
            unit: header.unit.clone(),
            declared_units: header.plan.declared_units,
            phases: self.phases(),
            delta: header.plan.delta,
            randomness: header.randomness,
            base_has_seen: header.base.has_seen(),
            couplings: header.couplings.clone(),
            not_for_release: header.own_reasons(),
        }
    }

    /// ε spent by the recorded steps of this run alone.
    ///
    /// # Errors
    /// When the steps cannot be accounted for.
    pub fn epsilon(&self, accountant: Accountant) -> Result<Epsilon, AccountingError> {
        accountant.epsilon(&self.phases(), self.header.plan.delta)
    }
}

/// Appends one line and syncs it; returns its hash.
fn append<T: Serialize>(file: &mut File, record: &T, previous: &str) -> std::io::Result<String> {
    let body = serde_json::to_string(record)?;
    let hash = chain(previous, &body);
    let line = written(&body, previous, &hash) + "\n";
    file.write_all(line.as_bytes())?;
    file.sync_data()?;
    Ok(hash)
}

/// A line as it stands in the file.
fn written(body: &str, previous: &str, hash: &str) -> String {
    format!("{{\"record\":{body},\"previous\":\"{previous}\",\"hash\":\"{hash}\"}}")
}

fn as_text(path: &Path, bytes: Vec<u8>) -> Result<String, LedgerError> {
    String::from_utf8(bytes).map_err(|error| {
        let whole = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = whole.iter().filter(|&&byte| byte == b'\n').count() + 1;
        LedgerError::Broken { path: path.to_owned(), line, reason: "it is no text".into() }
    })
}

fn chain(previous: &str, body: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("pft-dp 1 ledger");
    hasher.update(&(previous.len() as u64).to_le_bytes());
    hasher.update(previous.as_bytes());
    hasher.update(body.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Makes a new file's name survive a crash too.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn parse(path: &Path, text: &str) -> Result<(LedgerContents, String), LedgerError> {
    let broken = |line: usize, reason: String| LedgerError::Broken {
        path: path.to_owned(),
        line: line + 1,
        reason,
    };
    let mut previous = String::new();
    let mut header: Option<LedgerHeader> = None;
    let mut steps: Vec<StepRecord> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let bad = |error: serde_json::Error| broken(number, error.to_string());
        let body = if number == 0 {
            let line: Line<LedgerHeader> = serde_json::from_str(line).map_err(bad)?;
            let body = serde_json::to_string(&line.record).map_err(bad)?;
            if line.record.format != FORMAT {
                let reason = format!("the format is `{}`, not `{FORMAT}`", line.record.format);
                return Err(broken(number, reason));
            }
            header = Some(line.record);
            (body, line.previous, line.hash)
        } else {
            let line: Line<StepRecord> = serde_json::from_str(line).map_err(bad)?;
            let body = serde_json::to_string(&line.record).map_err(bad)?;
            if line.record.step != steps.len() as u64 {
                return Err(broken(number, format!("step {} is out of order", line.record.step)));
            }
            let planned = header.as_ref().is_some_and(|header| line.record.follows(&header.plan));
            if !planned {
                let reason = format!("step {} is not one of the plan's", line.record.step);
                return Err(broken(number, reason));
            }
            steps.push(line.record);
            (body, line.previous, line.hash)
        };
        let (body, named_previous, hash) = body;
        if named_previous != previous || chain(&previous, &body) != hash {
            return Err(broken(number, "the hash does not fit".into()));
        }
        // Two spellings of one number mean the same, but only one of them was written.
        if line != written(&body, &previous, &hash) {
            return Err(broken(number, "it is not spelt as it was written".into()));
        }
        previous = hash;
    }
    let header = header.ok_or_else(|| broken(0, "the file is empty".into()))?;
    Ok((LedgerContents { header, steps }, previous))
}
