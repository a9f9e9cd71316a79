//! Why a stage has to run, in words: the difference of two keys.

use std::collections::BTreeMap;

use pft_artifact::{CorpusReader, Kind, Manifest, Store, text_hash};
use serde_json::Value;

/// Corpora up to this size are compared document by document, larger ones by their numbers of rows.
const COMPARED_BYTES: u64 = 256 << 20;

/// What differs between the parts of an earlier key and those of a new one, most telling first. The
/// store lets it say how much of an input changed.
pub(crate) fn reasons(old: &Value, new: &Value, store: Option<&Store>) -> Vec<String> {
    let mut reasons = Vec::new();
    if old["stage"] != new["stage"] {
        reasons.push(format!(
            "stage changed from {} to {}",
            show(&old["stage"]),
            show(&new["stage"])
        ));
    }
    if old["revision"] != new["revision"] {
        reasons.push(format!("stage revision {} → {}", old["revision"], new["revision"]));
    }
    let outside = (&old["outside"], &new["outside"]);
    for (key, old, new) in leaves(&old["config"], &new["config"]) {
        let files = |label: Option<&Value>, all: &Value| {
            label
                .and_then(Value::as_str)
                .map(|label| all[label]["files"].clone())
                .unwrap_or_default()
        };
        let (before, after) = (files(old.as_ref(), outside.0), files(new.as_ref(), outside.1));
        reasons.push(match (old, new) {
            _ if before.is_array() && after.is_array() => changed_files(&key, &before, &after),
            (Some(old), Some(new)) => {
                format!("config `{key}` changed from {} to {}", show(&old), show(&new))
            }
            (None, Some(new)) => format!("config `{key}` is new: {}", show(&new)),
            (Some(old), None) => format!("config `{key}` is gone, it was {}", show(&old)),
            (None, None) => continue,
        });
    }
    for (port, old, new) in leaves(&old["inputs"], &new["inputs"]) {
        reasons.push(match (old, new) {
            (Some(old), Some(new)) => {
                let much = store.and_then(|store| how_much(store, &old, &new));
                let much = much.map(|much| format!(": {much}")).unwrap_or_default();
                format!("input `{port}` changed{much}")
            }
            (None, _) => format!("input `{port}` is newly connected"),
            (_, None) => format!("input `{port}` is no longer connected"),
        });
    }
    reasons
}

/// At most `limit` of them, in one line.
pub(crate) fn in_one_line(mut reasons: Vec<String>, limit: usize) -> String {
    let more = reasons.len().saturating_sub(limit);
    reasons.truncate(limit);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    reasons.join(", ")
}

/// The leaves of two values that differ: dotted key, old value, new value.
pub(crate) fn leaves(old: &Value, new: &Value) -> Vec<(String, Option<Value>, Option<Value>)> {
    let mut all: BTreeMap<String, (Option<Value>, Option<Value>)> = BTreeMap::new();
    flatten(old, "", &mut |key, value| all.entry(key).or_default().0 = Some(value.clone()));
    flatten(new, "", &mut |key, value| all.entry(key).or_default().1 = Some(value.clone()));
    let differ = all.into_iter().filter(|(_, (old, new))| old != new);
    differ.map(|(key, (old, new))| (key, old, new)).collect()
}

/// Calls `visit` with every leaf and its dotted key. Lists of plain values are leaves.
pub(crate) fn flatten(value: &Value, key: &str, visit: &mut dyn FnMut(String, &Value)) {
    let join = |name: &str| if key.is_empty() { name.to_string() } else { format!("{key}.{name}") };
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(name, inner)| flatten(inner, &join(name), visit));
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(index, inner)| flatten(inner, &join(&index.to_string()), visit));
        }
        Value::Null if key.is_empty() => {}
        leaf => visit(key.to_string(), leaf),
    }
}

/// A value, cut to a width that fits into a sentence.
pub(crate) fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= 40 {
        return text;
    }
    text.chars().take(36).chain(std::iter::once('…')).collect()
}

fn changed_files(key: &str, old: &Value, new: &Value) -> String {
    let list = |value: &Value| -> BTreeMap<String, Value> {
        let files = value.as_array().into_iter().flatten();
        files.filter_map(|file| Some((file[0].as_str()?.to_string(), file[1].clone()))).collect()
    };
    let (old, new) = (list(old), list(new));
    let all: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed: Vec<&str> = all
        .iter()
        .filter(|name| old.get(**name) != new.get(**name))
        .map(|name| &name[..])
        .collect();
    match (&changed[..], all.len()) {
        ([one], 1) => format!("file of `{key}` changed: {}", show(&Value::from(*one))),
        (changed, all) => {
            let first = changed.first().map(|one| show(&Value::from(*one))).unwrap_or_default();
            let more = if changed.len() > 1 { ", …" } else { "" };
            format!("files of `{key}` changed: {} of {all} ({first}{more})", changed.len())
        }
    }
}

fn how_much(store: &Store, old: &Value, new: &Value) -> Option<String> {
    let folder = |hash: &Value| hash.as_str().map(|hash| store.artifact_path(hash));
    let (old, new) = (folder(old)?, folder(new)?);
    let (before, after) = (Manifest::open(&old).ok()?, Manifest::open(&new).ok()?);
    if before.kind != after.kind {
        return Some(format!("{} instead of {}", after.kind, before.kind));
    }
    let noun = match after.kind {
        Kind::Corpus | Kind::Tags => "documents",
        Kind::Tokens => "examples",
        Kind::Model | Kind::Bundle => return None,
    };
    let size = |manifest: &Manifest| manifest.files.iter().map(|file| file.size).sum::<u64>();
    if after.kind == Kind::Corpus && size(&before).max(size(&after)) <= COMPARED_BYTES {
        let texts = |folder: &std::path::Path| -> Option<BTreeMap<String, String>> {
            let reader = CorpusReader::open(folder).ok()?;
            reader
                .stored()
                .map(|document| {
                    let document = document.ok()?;
                    let row = document.row();
                    let told = format!("{}\0{:?}\0{}", row.unit_id, row.split, row.text);
                    Some((row.doc_id.to_string(), text_hash(&told)))
                })
                .collect()
        };
        let (old, new) = (texts(&old)?, texts(&new)?);
        let changed = new.iter().filter(|(id, hash)| old.get(*id).is_some_and(|o| o != *hash));
        let (changed, total) = (changed.count(), new.len());
        let added = new.keys().filter(|id| !old.contains_key(*id)).count();
        let gone = old.keys().filter(|id| !new.contains_key(*id)).count();
        let parts = [
            (changed, format!("{changed} of {total} {noun}")),
            (added, format!("{added} new")),
            (gone, format!("{gone} gone")),
        ];
        let parts: Vec<String> =
            parts.into_iter().filter(|(n, _)| *n > 0).map(|(_, t)| t).collect();
        return (!parts.is_empty()).then(|| parts.join(", "));
    }
    let differ = before.rows != after.rows;
    differ.then(|| format!("{} {noun} instead of {}", after.rows, before.rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_is_told_in_words() {
        let old = json!({ "stage": "scrub", "revision": 4, "config": { "mode": "mask", "a": { "b": 1 } },
            "inputs": { "corpus": "ab" }, "outside": {} });
        let new = json!({ "stage": "scrub", "revision": 5, "config": { "mode": "label", "c": [1] },
            "inputs": { "corpus": "cd" }, "outside": {} });
        let expected = [
            "stage revision 4 → 5",
            "config `a.b` is gone, it was 1",
            "config `c` is new: [1]",
            "config `mode` changed from mask to label",
            "input `corpus` changed",
        ];
        assert_eq!(reasons(&old, &new, None), expected);
        assert!(reasons(&old, &old, None).is_empty());
        assert_eq!(in_one_line(reasons(&old, &new, None), 1), "stage revision 4 → 5, and 4 more");
    }

    #[test]
    fn files_outside_are_counted() {
        let parts = |label: &str, hash: &str| {
            let files = json!([["a.jsonl", "1"], ["b.jsonl", hash]]);
            json!({ "config": { "path": label }, "outside": { label: { "files": files } } })
        };
        let said = reasons(&parts("outside:1", "2"), &parts("outside:2", "3"), None);
        assert_eq!(said, ["files of `path` changed: 1 of 2 (b.jsonl)"]);
    }
}
