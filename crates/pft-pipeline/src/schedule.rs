//! Which stage is made when: as soon as its inputs are, as many at once as is allowed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};

use crate::execute::Run;
use crate::outcome::{Outcome, Status};

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

impl Run<'_> {
    /// Makes everything that is wanted.
    pub(crate) fn schedule(&self) -> Vec<Outcome> {
        let count = self.graph.nodes.len();
        let board = Board::new(count);
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); count];
        let mut awaited: Vec<usize> = Vec::with_capacity(count);
        for (index, node) in self.graph.nodes.iter().enumerate() {
            node.inputs.values().for_each(|(from, _)| users[*from].push(index));
            awaited.push(node.inputs.len());
        }
        let mut ready: std::collections::BTreeSet<usize> =
            (0..count).filter(|&index| awaited[index] == 0).collect();
        let (done, finished) = mpsc::channel();
        std::thread::scope(|scope| {
            let mut running = 0;
            let mut stop = false;
            loop {
                while running < self.options.jobs.max(1)
                    && let Some(index) = ready.pop_first()
                {
                    running += 1;
                    let (done, board) = (done.clone(), &board);
                    if stop || !self.options.wanted[index] || self.is_blocked(index, board) {
                        board.put(index, Outcome::skipped());
                        self.tell(&self.graph.nodes[index], &Outcome::skipped());
                        let _ = done.send(index);
                        continue;
                    }
                    // The thread lives as long as its stage: the kernel ends a stage together
                    // with the thread that started it.
                    scope.spawn(move || {
                        let outcome = self.make(index, board);
                        self.tell(&self.graph.nodes[index], &outcome);
                        board.put(index, outcome);
                        let _ = done.send(index);
                    });
                }
                if running == 0 {
                    return;
                }
                let Ok(index) = finished.recv() else { return };
                running -= 1;
                let failed = board.get(index).is_some_and(|o| o.status == Status::Failed);
                stop |= failed && !self.options.keep_going;
                stop |= self.interrupted.load(Ordering::Relaxed);
                for &user in &users[index] {
                    awaited[user] -= 1;
                    if awaited[user] == 0 {
                        ready.insert(user);
                    }
                }
            }
        });
        board.into_outcomes()
    }

    /// Whether something that a stage needs is not there and will not be.
    pub(crate) fn is_blocked(&self, index: usize, board: &Board) -> bool {
        let mut sources = self.graph.nodes[index].inputs.values();
        sources.any(|(from, _)| board.get(*from).is_none_or(|outcome| outcome.status.blocks()))
    }
}
