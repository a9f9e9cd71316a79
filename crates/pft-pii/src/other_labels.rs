//! The labels of a span besides the one that it goes by.

use std::collections::BTreeSet;
use std::sync::Arc;

/// A set of labels, in their order. Nearly every span has none, and then the set takes a pointer's
/// room and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherLabels(Option<Arc<BTreeSet<Arc<str>>>>);

impl OtherLabels {
    /// Adds a label.
    pub fn insert(&mut self, label: &Arc<str>) {
        if !self.iter().any(|known| known == label) {
            Arc::make_mut(self.0.get_or_insert_default()).insert(Arc::clone(label));
        }
    }

    /// The labels.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().flat_map(|labels| labels.iter())
    }

    /// The labels with `+` between them; nothing where there are none.
    pub fn joined(&self) -> Option<Arc<str>> {
        let labels: Vec<&str> = self.0.as_ref()?.iter().map(|label| &**label).collect();
        Some(labels.join("+").into())
    }
}
