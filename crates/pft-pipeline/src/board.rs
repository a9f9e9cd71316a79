//! What became of the stages of a run, for all its threads.

use std::sync::{Arc, Mutex};

use crate::outcome::Outcome;

/// What became of each stage so far.
#[derive(Debug)]
pub(crate) struct Board(Vec<Mutex<Option<Arc<Outcome>>>>);

impl Board {
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count).map(|_| Mutex::new(None)).collect())
    }

    pub(crate) fn get(&self, index: usize) -> Option<Arc<Outcome>> {
        self.0[index].lock().ok().and_then(|outcome| outcome.clone())
    }

    pub(crate) fn put(&self, index: usize, outcome: Outcome) {
        if let Ok(mut slot) = self.0[index].lock() {
            *slot = Some(Arc::new(outcome));
        }
    }

    pub(crate) fn snapshot(&self) -> Vec<Outcome> {
        let all = (0..self.0.len()).map(|index| self.get(index));
        all.map(|outcome| outcome.map_or_else(Outcome::skipped, |o| (*o).clone())).collect()
    }

    pub(crate) fn into_outcomes(self) -> Vec<Outcome> {
        let taken = self.0.into_iter().map(|slot| slot.into_inner().ok().flatten());
        taken.map(|outcome| outcome.map_or_else(Outcome::skipped, Arc::unwrap_or_clone)).collect()
    }
}
