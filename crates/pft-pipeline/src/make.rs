//! Making one stage: under its key's lock, unless somebody else made it in the meantime.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pft_artifact::{KeyLock, Manifest};

use crate::RunError;
use crate::board::Board;
use crate::decide::Found;
use crate::execute::Run;
use crate::graph::Node;
use crate::outcome::{Outcome, Status};

/// The exit code of a stage whose input is not what it should be.
const WRONG_INPUT: u8 = 3;

impl Run<'_> {
    /// Makes a stage whose inputs are made.
    pub(crate) fn make(&self, index: usize, board: &Board) -> Outcome {
        let started = Instant::now();
        let mut outcome = Outcome::skipped();
        let mut result = self.try_make(index, board, &mut outcome);
        if let Err(error) = &result
            && error.exit_code == WRONG_INPUT
            && self.mend_inputs(index, board)
        {
            result = self.try_make(index, board, &mut outcome);
        }
        if let Err(error) = result {
            outcome.status = Status::Failed;
            outcome.reason = Some(error.message);
            outcome.exit_code = error.exit_code;
        }
        outcome.seconds = started.elapsed().as_secs_f64();
        outcome
    }

    fn try_make(&self, index: usize, board: &Board, outcome: &mut Outcome) -> Result<(), RunError> {
        let node = &self.graph.nodes[index];
        if let Some(error) = self.refused.get(&index) {
            return Err(error.clone());
        }
        let ready = self.ready(index, board)?;
        let key = &ready.key;
        outcome.key = Some(key.clone());
        // Nodes of several pipelines may share a key: forced or not, it is made once a run.
        let forced = || self.options.forced[index] && !self.was_made(&key.hash);
        if !forced()
            && let Found::Whole(action) = self.leased(|| self.look_up(&key.hash))
        {
            self.found(outcome, &action);
            return Ok(());
        }
        // Whoever holds the key's lock makes the artifact; whoever waited finds it.
        let _lock = self.lock(node, &key.hash)?;
        let forced = forced();
        let damage = match self.leased(|| self.look_up(&key.hash)) {
            Found::Whole(action) if !forced => {
                self.found(outcome, &action);
                return Ok(());
            }
            Found::Whole(_) => None,
            Found::Nothing(damage) => damage,
        };
        if damage.is_some() {
            self.set_aside(&key.hash)?;
        }
        let reason = self.why(node, key, forced, damage);
        let _share = self.machine.share(node.limits);
        self.reporter.started(node, &reason);
        outcome.reason = Some(reason);
        let (action, attempt) = self.run_stage(node, &ready, &mut outcome.attempt)?;
        if let Ok(mut made) = self.made.lock() {
            made.insert(key.hash.clone());
        }
        self.checked.made(self.store, &action);
        self.found(outcome, &action);
        outcome.status = Status::Ran;
        outcome.attempt = Some(attempt);
        Ok(())
    }

    /// With garbage collection held off.
    pub(crate) fn leased<T>(&self, act: impl FnOnce() -> T) -> T {
        let _lease = self.store.lease();
        act()
    }

    /// Moves what is damaged of a key out of the way.
    fn set_aside(&self, key: &str) -> Result<(), RunError> {
        let Some(action) = self.store.action(key) else {
            self.store.set_action_aside(key)?;
            return Ok(());
        };
        for hash in action.outputs.values() {
            let folder = self.store.artifact_path(hash);
            let whole = Manifest::open(&folder).and_then(|manifest| manifest.verify(&folder));
            if whole.is_err() && folder.exists() {
                self.store.set_artifact_aside(hash)?;
            }
        }
        Ok(())
    }

    /// Makes the inputs of a stage again that turn out to be damaged. Says whether there were any.
    fn mend_inputs(&self, index: usize, board: &Board) -> bool {
        let mut mended = false;
        for (from, _) in self.graph.nodes[index].inputs.values() {
            let Some(source) = board.get(*from) else { continue };
            let Some(key) = source.key.as_ref() else { continue };
            let Some(action) = self.store.action(&key.hash) else { continue };
            if self.checked.damage(self.store, &action, true).is_none() {
                continue;
            }
            let outcome = self.make_again(*from, &key.hash, board);
            self.tell(&self.graph.nodes[*from], &outcome);
            mended = !outcome.status.blocks();
            board.put(*from, outcome);
        }
        mended
    }

    fn make_again(&self, index: usize, key: &str, board: &Board) -> Outcome {
        let node = &self.graph.nodes[index];
        match self.lock(node, key).and_then(|_lock| self.set_aside(key)) {
            Ok(()) => self.make(index, board),
            Err(error) => Outcome::failed(error),
        }
    }

    /// Waits for a key's lock, as long as nobody interrupts.
    fn lock(&self, node: &Node, key: &str) -> Result<KeyLock, RunError> {
        let mut waits = false;
        loop {
            if let Some(lock) = self.store.try_lock(key)? {
                return Ok(lock);
            }
            if self.interrupted.load(Ordering::Relaxed) {
                let message = "interrupted while it waited for another run".to_string();
                return Err(RunError { message, exit_code: 130 });
            }
            if !std::mem::replace(&mut waits, true) {
                self.reporter.waiting(node);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn was_made(&self, key: &str) -> bool {
        self.made.lock().is_ok_and(|made| made.contains(key))
    }
}
