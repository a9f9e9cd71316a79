//! What documents and units are called in the outputs.

use std::collections::HashMap;
use std::fmt::Write as _;

use ahash::RandomState;
use pft_artifact::DocumentRow;

use crate::config;

/// Numbers documents and units in the order in which they come, or lets their ids be.
///
/// The memory holds hashes, never ids: one entry for each unit.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The units' numbers, unless ids are kept. 96 bits of a hash and 32 of a number, for there may be
    /// millions; two of 10⁹ units have the same bits with a probability of 10⁻¹¹.
    units: Option<HashMap<[u8; 12], u32, RandomState>>,
    documents: u64,
    doc_id: String,
    unit_id: String,
}

impl Ids {
    pub(crate) fn new(ids: config::Ids) -> Self {
        Self {
            units: (ids == config::Ids::Number).then(HashMap::default),
            documents: 0,
            doc_id: String::new(),
            unit_id: String::new(),
        }
    }

    /// The next document under its new ids.
    pub(crate) fn name<'a>(&'a mut self, document: DocumentRow<'a>) -> DocumentRow<'a> {
        let Some(units) = &mut self.units else { return document };
        self.documents += 1;
        let mut hash = [0; 12];
        hash.copy_from_slice(&blake3::hash(document.unit_id.as_bytes()).as_bytes()[..12]);
        let next = u32::try_from(units.len() + 1).expect("a corpus has fewer than 2³² units");
        let unit = *units.entry(hash).or_insert(next);
        self.doc_id.clear();
        self.unit_id.clear();
        // Writing into a string does not fail.
        let _ = write!(self.doc_id, "document-{}", self.documents);
        let _ = write!(self.unit_id, "unit-{unit}");
        DocumentRow { doc_id: &self.doc_id, unit_id: &self.unit_id, ..document }
    }
}
