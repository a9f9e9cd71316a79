//! Which stage is made when: as soon as its inputs are, as many at once as is allowed.

use std::sync::atomic::Ordering;
use std::sync::mpsc;

use crate::board::Board;
use crate::execute::Run;
use crate::outcome::{Outcome, Status};

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
