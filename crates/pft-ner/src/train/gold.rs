//! From gold mentions to the entities that a model is taught.

use std::ops::Range;

use pft_pii::evaluate::GoldDocument;

/// An entity over tokens `tokens` of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entity {
    pub(crate) tokens: Range<usize>,
    pub(crate) label: String,
}

/// The entities of a document over its tokens, given by their byte ranges in order.
///
/// Annotators' mentions overlap; of those that do the longest is taught, then the first. With
/// `must_mask_only`, mentions that need no masking are left out. A mention covers every
/// token that it shares a byte with, save white space at its ends; two mentions that meet
/// inside a token leave it to the first.
pub(crate) fn entities(
    document: &GoldDocument,
    tokens: &[Range<usize>],
    must_mask_only: bool,
) -> Vec<Entity> {
    let mut mentions: Vec<_> =
        document.mentions.iter().filter(|mention| mention.must_mask || !must_mask_only).collect();
    mentions.sort_by_key(|mention| (std::cmp::Reverse(mention.end - mention.start), mention.start));
    let mut taken = vec![false; tokens.len()];
    let mut entities = Vec::new();
    for mention in mentions {
        let content = &document.text[mention.start..mention.end];
        let start = mention.start + content.len() - content.trim_start().len();
        let end = mention.end - (content.len() - content.trim_end().len());
        let first = tokens.partition_point(|token| token.end <= start);
        let after = tokens.partition_point(|token| token.start < end);
        if first < after && !taken[first..after].contains(&true) {
            taken[first..after].fill(true);
            entities.push(Entity { tokens: first..after, label: mention.label.clone() });
        }
    }
    entities.sort_by_key(|entity| entity.tokens.start);
    entities
}

/// The labels of the mentions that are taught, sorted.
pub(crate) fn labels(documents: &[GoldDocument], must_mask_only: bool) -> Vec<String> {
    let mut labels: Vec<String> = documents
        .iter()
        .flat_map(|document| &document.mentions)
        .filter(|mention| mention.must_mask || !must_mask_only)
        .map(|mention| mention.label.clone())
        .collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use pft_pii::evaluate::Mention;

    fn mention(start: usize, end: usize, label: &str, must_mask: bool) -> Mention {
        Mention { start, end, label: label.into(), must_mask, identifier: None, entity: None }
    }

    #[test]
    fn the_longest_of_overlapping_mentions_is_taught() {
        let document = GoldDocument {
            id: "d".into(),
            //     0123456789012345678901
            text: "Ms Jane Roe, of Oslo. ".into(),
            mentions: vec![
                mention(0, 11, "PERSON", true),
                mention(3, 7, "MISC", true),
                mention(9, 22, "ORG", true),
                mention(16, 21, "LOC", false),
            ],
        };
        let tokens = [0..2, 3..7, 8..11, 11..12, 13..15, 16..20, 20..21];
        let entity = |tokens, label: &str| Entity { tokens, label: label.into() };
        // What only a mention that gave way shares is taught.
        let taught = [entity(1..2, "MISC"), entity(2..7, "ORG")];
        assert_eq!(entities(&document, &tokens, true), taught);
        assert_eq!(labels(std::slice::from_ref(&document), true), ["MISC", "ORG", "PERSON"]);

        let mut shorter = document;
        shorter.mentions.remove(2);
        assert_eq!(
            entities(&shorter, &tokens, false),
            [entity(0..3, "PERSON"), entity(5..7, "LOC")]
        );
        assert_eq!(entities(&shorter, &tokens, true), [entity(0..3, "PERSON")]);
    }
}
