//! SentencePiece vocabularies, which have scores in the place of merges.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::Vocabulary;

/// SentencePiece BPE: the merge that makes the piece with the best score goes first.
pub(super) fn tokenizer_json(
    vocabulary: &Vocabulary,
    vocab: Map<String, Value>,
    added: Vec<Value>,
) -> Value {
    let merges = merges_from_scores(&vocabulary.tokens, &vocabulary.scores);
    let unknown = vocabulary.unknown.and_then(|id| vocabulary.tokens.get(id as usize));
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let normalizer = if vocabulary.add_space_prefix {
        json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" }, replace] })
    } else {
        replace
    };
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": usize::from(vocabulary.add_space_prefix), "stop": 0 },
        ]},
        "model": {
            "type": "BPE", "vocab": vocab, "merges": merges, "unk_token": unknown,
            "fuse_unk": true, "byte_fallback": true,
        },
    })
}

fn merges_from_scores(tokens: &[String], scores: &[f32]) -> Vec<[String; 2]> {
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut merges: Vec<(f32, usize, usize, &str, &str)> = Vec::new();
    for (token, &score) in tokens.iter().zip(scores) {
        let mut local: Vec<(usize, usize, &str, &str)> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let (left, right) = token.split_at(at);
                Some((*ids.get(left)?, *ids.get(right)?, left, right))
            })
            .collect();
        local.sort_unstable();
        let count = |text: &str| text.chars().count();
        merges.extend(local.into_iter().map(|(_, _, l, r)| (score, count(l), count(r), l, r)));
    }
    // Best score first, then the longer pieces; equals keep their order.
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2)));
    merges.into_iter().map(|(_, _, _, left, right)| [left.to_string(), right.to_string()]).collect()
}
