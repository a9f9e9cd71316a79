//! What each kind of artifact holds.

pub mod bundle;
pub(crate) mod corpus;
pub mod model;
pub mod tagged;
pub(crate) mod tags;
pub(crate) mod tokens;

use crate::Kind;
use crate::table::record::Columns;

/// Names and types of the columns that artifacts of a kind have, where they are tables.
pub fn columns_of(kind: Kind) -> Vec<(String, String)> {
    let schema = match kind {
        Kind::Corpus => corpus::CorpusColumns::default().schema(),
        Kind::Tags => tags::TagsColumns::default().schema(),
        Kind::Tokens => tokens::TokensColumns::default().schema(),
        Kind::Model | Kind::Bundle => return Vec::new(),
    };
    let fields = schema.fields().iter();
    fields.map(|field| (field.name().clone(), field.data_type().to_string())).collect()
}
