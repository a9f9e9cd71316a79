//! Circles of a directed graph.

use std::collections::{BTreeMap, BTreeSet};

/// Edges between numbered nodes, with the line that makes each.
pub(crate) type Edges = BTreeMap<(usize, usize), usize>;

/// The strongly connected components with more than one node: two nodes share one if each reaches
/// the other.
pub(crate) fn circles(nodes: usize, edges: &Edges) -> Vec<BTreeSet<usize>> {
    let mut next = vec![Vec::new(); nodes];
    for (from, to) in edges.keys() {
        next[*from].push(*to);
    }
    let reached: Vec<BTreeSet<usize>> = (0..nodes).map(|node| reachable(node, &next)).collect();
    let mut circles = BTreeSet::new();
    for node in 0..nodes {
        let circle: BTreeSet<usize> =
            reached[node].iter().copied().filter(|other| reached[*other].contains(&node)).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reachable(from: usize, next: &[Vec<usize>]) -> BTreeSet<usize> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(node) = open.pop() {
        for other in &next[node] {
            if found.insert(*other) {
                open.push(*other);
            }
        }
    }
    found
}

#[test]
fn circles_are_found() {
    let edges = |pairs: &[(usize, usize)]| pairs.iter().map(|pair| (*pair, 1)).collect::<Edges>();
    assert_eq!(circles(4, &edges(&[(0, 1), (1, 2), (0, 2), (2, 3)])), []);
    let found = circles(6, &edges(&[(0, 1), (1, 2), (2, 1), (2, 3), (4, 5), (5, 4)]));
    assert_eq!(found, [BTreeSet::from([1, 2]), BTreeSet::from([4, 5])]);
}
