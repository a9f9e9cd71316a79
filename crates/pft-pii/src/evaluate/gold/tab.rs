//! TAB's JSON, with spans in code points.

use serde::Deserialize;

use super::{GoldDocument, GoldError, Identifier, Mention};

#[derive(Deserialize)]
struct TabDocument {
    #[serde(default)]
    doc_id: Option<String>,
    text: String,
    #[serde(default)]
    spans: Option<Vec<TabSpan>>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, TabAnnotator>>,
}

#[derive(Deserialize)]
struct TabAnnotator {
    #[serde(default)]
    entity_mentions: Vec<TabMention>,
}

#[derive(Deserialize)]
struct TabSpan {
    start: usize,
    end: usize,
    #[serde(rename = "type")]
    label: String,
    #[serde(default)]
    mask: Option<bool>,
    #[serde(default)]
    identifier_type: Option<String>,
    #[serde(default)]
    entity_id: Option<String>,
}

#[derive(Deserialize)]
struct TabMention {
    start_offset: usize,
    end_offset: usize,
    entity_type: String,
    #[serde(default)]
    identifier_type: Option<String>,
    #[serde(default)]
    entity_id: Option<String>,
}

/// Reads TAB documents: one JSON object a line, or one JSON array. Spans are in code points, under `spans`, or
/// under `annotations` as the benchmark's own releases have them (all annotators together).
///
/// # Errors
/// When a document is not of that form, or a span lies outside its text; the error shows none of it.
pub fn parse_tab(file: &str) -> Result<Vec<GoldDocument>, GoldError> {
    if file.trim_start().starts_with('[') {
        let documents: Vec<TabDocument> = serde_json::from_str(file)
            .map_err(|error| GoldError { line: error.line(), message: without_text(&error) })?;
        let numbered = documents.into_iter().enumerate();
        return numbered.map(|(n, document)| tab_document(document, n + 1)).collect();
    }
    file.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(n, line)| {
            let document = serde_json::from_str(line)
                .map_err(|error| GoldError { line: n + 1, message: without_text(&error) })?;
            tab_document(document, n + 1)
        })
        .collect()
}

/// What is wrong with JSON, without the values that serde's own message shows.
fn without_text(error: &serde_json::Error) -> String {
    let column = error.column();
    if error.is_data() {
        return format!(
            "column {column}: no document in TAB's form, which has a `text`, and `spans` or \
             `annotations` with numbers for the characters where they start and end"
        );
    }
    format!("column {column}: not valid JSON")
}

fn tab_document(document: TabDocument, line: usize) -> Result<GoldDocument, GoldError> {
    let error = |message: String| GoldError { line, message };
    if document.spans.is_none() && document.annotations.is_none() {
        return Err(error(
            "the document has neither `spans` nor `annotations`; one without any has `spans: []`"
                .to_string(),
        ));
    }
    let mut spans = document.spans.unwrap_or_default();
    for annotator in document.annotations.unwrap_or_default().into_values() {
        spans.extend(annotator.entity_mentions.into_iter().map(|mention| TabSpan {
            start: mention.start_offset,
            end: mention.end_offset,
            label: mention.entity_type,
            mask: None,
            identifier_type: mention.identifier_type,
            entity_id: mention.entity_id,
        }));
    }
    // Byte offset of every code point, and of the end.
    let bytes: Vec<usize> =
        document.text.char_indices().map(|(at, _)| at).chain([document.text.len()]).collect();
    let mut mentions = Vec::with_capacity(spans.len());
    for span in spans {
        let (Some(&start), Some(&end)) = (bytes.get(span.start), bytes.get(span.end)) else {
            return Err(error(format!(
                "span {}..{} lies outside the text of {} characters",
                span.start,
                span.end,
                bytes.len() - 1
            )));
        };
        if start >= end {
            return Err(error(format!("span {}..{} is empty", span.start, span.end)));
        }
        let identifier = match span.identifier_type.as_deref() {
            Some("DIRECT") => Some(Identifier::Direct),
            Some("QUASI") => Some(Identifier::Quasi),
            Some("NO_MASK") => Some(Identifier::NoMask),
            Some(_) => {
                return Err(error(format!(
                    "span {}..{} has an identifier_type that is none of DIRECT, QUASI, NO_MASK",
                    span.start, span.end
                )));
            }
            None => None,
        };
        let must_mask = span.mask.unwrap_or(identifier != Some(Identifier::NoMask));
        mentions.push(Mention {
            start,
            end,
            label: span.label,
            must_mask,
            identifier,
            entity: span.entity_id,
        });
    }
    mentions.sort_by_key(|mention| (mention.start, mention.end));
    Ok(GoldDocument {
        id: document.doc_id.unwrap_or_else(|| format!("line-{line}")),
        text: document.text,
        mentions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_become_bytes() {
        let line = r#"{"doc_id": "a", "text": "Żółć met Ås", "spans": [
            {"start": 9, "end": 11, "type": "LOC", "mask": false, "identifier_type": "NO_MASK", "entity_id": "e"},
            {"start": 0, "end": 4, "type": "PERSON", "mask": true}]}"#.replace('\n', " ");
        let gold = parse_tab(&line).unwrap().remove(0);
        let found: Vec<_> =
            gold.mentions.iter().map(|m| (&gold.text[m.start..m.end], m.must_mask)).collect();
        assert_eq!(found, vec![("Żółć", true), ("Ås", false)]);
        assert_eq!(gold.mentions[1].identifier, Some(Identifier::NoMask));
    }

    #[test]
    fn the_benchmarks_own_form_is_read() {
        let file = r#"[{"doc_id": "a", "text": "é Oslo", "annotations": {"annotator1": {"entity_mentions": [
            {"start_offset": 2, "end_offset": 6, "entity_type": "LOC", "identifier_type": "QUASI", "entity_id": "x"}]}}}]"#;
        let gold = parse_tab(file).unwrap().remove(0);
        assert_eq!(&gold.text[gold.mentions[0].start..gold.mentions[0].end], "Oslo");
        assert!(gold.mentions[0].must_mask);
    }

    #[test]
    fn spans_outside_the_text_are_refused_by_line() {
        let file = "{\"text\": \"ab\", \"spans\": []}\n{\"text\": \"ab\", \"spans\": [{\"start\": 1, \"end\": 3, \"type\": \"X\"}]}";
        let error = parse_tab(file).unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.message.contains("1..3"));
    }

    #[test]
    fn what_is_no_gold_is_refused_without_its_text() {
        for (line, expected) in [
            (r#"{"text": "Zqname", "spans": "Mr Zqname was born"}"#, "TAB's form"),
            (r#"{"text": "Zqname", "spans": [{"start": "Zqname"}]}"#, "TAB's form"),
            (r#"{"text": "Zqname", "spans": [}"#, "not valid JSON"),
            (r#"{"text": "Zqname", "entities": [[0, 6, "PERSON"]]}"#, "neither `spans` nor"),
            (
                r#"{"text": "Zqname", "spans": [{"start": 0, "end": 6, "type": "PERSON", "identifier_type": "direct"}]}"#,
                "none of DIRECT",
            ),
        ] {
            for file in [line.to_string(), format!("[{line}]")] {
                let message = parse_tab(&file).unwrap_err().to_string();
                assert!(message.contains(expected) && !message.contains("Zq"), "{message}");
            }
        }
        assert_eq!(parse_tab(r#"{"text": "a", "spans": []}"#).unwrap()[0].mentions, []);
    }
}
