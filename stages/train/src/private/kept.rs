//! What a private run keeps in its scratch folder: its secret and its ledger. Where one of them is damaged,
//! the noise of steps that were taken cannot be made again, or nobody knows how many they were: the run
//! cannot go on.

use pft_artifact::kinds::model::LEDGER;
use pft_dp::{LedgerError, Randomness, RunSecret};
use pft_stage::{Context, StageError};

use crate::state::{CHECKPOINTS, write_private};

const SECRET: &str = "secret";

/// The secret of this run: the one that a killed attempt left, so that a step done again draws
/// the same bits, or a new one where nothing was made with it yet.
pub(super) fn run_secret(
    context: &Context,
    randomness: Randomness,
) -> Result<RunSecret, StageError> {
    let path = context.scratch().join(SECRET);
    let kept = match std::fs::read(&path) {
        Ok(bytes) => Some(parse(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(StageError::bug(format!("{}: {error}", path.display()))
                .with_help(spends_anew(context)));
        }
    };
    let has = |name: &str| context.scratch().join(name).exists();
    match (randomness, kept) {
        // It follows from the seed, whatever became of the file.
        (Randomness::FixedSeed(_), _) | (_, None) => {}
        (_, Some(Some(secret))) if has(LEDGER.name) || has(CHECKPOINTS) => return Ok(secret),
        // Nothing says what it was drawn for: another run's noise would be this one's too.
        (_, Some(Some(_))) => {}
        (_, Some(None)) => {
            let damaged = format!(
                "{}: the secret of this run is damaged: what its steps drew cannot be drawn again",
                path.display()
            );
            if has(LEDGER.name) {
                return Err(StageError::config(damaged).with_help(spends_anew(context)));
            }
            if has(CHECKPOINTS) {
                // Without noise no privacy was spent.
                return Err(StageError::scratch(damaged).with_help(context.start_anew()));
            }
        }
    }
    let secret = RunSecret::new(randomness).map_err(|error| StageError::bug(error.to_string()))?;
    let text = format!("{}\n{}\n", secret.expose_hex(), secret.commitment());
    write_private(&path, text.as_bytes())
        .map_err(|error| StageError::failed_write(&path, &error))?;
    Ok(secret)
}

/// A secret that was kept with its commitment, by which damage is seen.
fn parse(bytes: &[u8]) -> Option<RunSecret> {
    let (hex, commitment) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let secret = RunSecret::from_hex(hex).ok()?;
    (secret.commitment() == commitment.trim_end()).then_some(secret)
}

/// A ledger that a run cannot go on with.
pub(super) fn refuse_ledger(error: LedgerError, context: &Context) -> StageError {
    match &error {
        LedgerError::OtherRun { .. } | LedgerError::Broken { .. } | LedgerError::Gap { .. } => {
            StageError::config(error.to_string()).with_help(spends_anew(context))
        }
        LedgerError::Io { source, .. } => StageError::bug(error.to_string()).because(source),
        _ => StageError::bug(error.to_string()),
    }
}

/// The way out, which costs privacy.
fn spends_anew(context: &Context) -> String {
    format!(
        "privacy was spent by the steps that this run took, and is not given back. A new run spends anew, \
         and its statement is about itself alone: if anybody saw what this run made, what both spent adds \
         up. {}",
        context.start_anew().replacen("to start anew", "To begin a new run", 1)
    )
}
