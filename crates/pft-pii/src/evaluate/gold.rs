//! Reads gold annotations: TAB's JSON, and columns of tokens with IOB2 tags.

use serde::Deserialize;

/// A document with gold annotations.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldDocument {
    /// The document's id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Its annotated mentions, sorted by start.
    pub mentions: Vec<Mention>,
}

/// What a mention gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// Who it is.
    Direct,
    /// Something that tells who it is in combination with others.
    Quasi,
    /// Nothing that needs masking.
    NoMask,
}

/// An annotated mention.
#[derive(Clone, Debug, PartialEq)]
pub struct Mention {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// The gold label.
    pub label: String,
    /// Whether it has to be masked.
    pub must_mask: bool,
    /// What it gives away, where the annotation says so.
    pub identifier: Option<Identifier>,
    /// The entity that it mentions, where the annotation says so.
    pub entity: Option<String>,
}

/// What is wrong with a gold file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct GoldError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

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

/// Reads sentences of one token a line with an IOB2 (or BIO, IOBES, BILOU) tag, sentences separated by blank
/// lines. Where every sentence's lines are numbered from 1, the columns are number, token, tag (UNER's form);
/// otherwise the token is first and the tag last (CoNLL's form). `# text = …` gives a sentence's text; else
/// tokens are joined by spaces. Every mention must be masked.
///
/// # Errors
/// When a line has no tag, or a token is not where it should be in the text.
pub fn parse_iob2(file: &str) -> Result<Vec<GoldDocument>, GoldError> {
    let are_numbered = are_numbered(file);
    let mut documents = Vec::new();
    let mut sentence = Sentence::default();
    for (n, line) in file.lines().chain([""]).enumerate() {
        let error = |message: &str| GoldError { line: n + 1, message: message.to_string() };
        let line = line.trim_end();
        if line.is_empty() {
            if !sentence.tokens.is_empty() {
                documents.push(std::mem::take(&mut sentence).finish(documents.len(), n)?);
            }
            sentence = Sentence::default();
        } else if let Some(text) = line.strip_prefix("# text = ") {
            sentence.text = Some(text.to_string());
        } else if let Some(id) = line.strip_prefix("# sent_id = ") {
            sentence.id = Some(id.to_string());
        } else if !line.starts_with("# ") && !line.starts_with("-DOCSTART-") {
            let columns = columns(line);
            if are_numbered && is_range(columns[0]) {
                continue;
            }
            let (token, tag) = match columns[..] {
                [_, token, tag, ..] if are_numbered => (token, tag),
                [token, .., tag] => (token, tag),
                _ => return Err(error("a line holds a token and its tag")),
            };
            let tag_is_known = tag == "O"
                || tag == "-"
                || tag.split_once('-').is_some_and(|(prefix, label)| {
                    matches!(prefix, "B" | "I" | "E" | "S" | "L" | "U") && !label.is_empty()
                });
            if !tag_is_known {
                return Err(error("the tag is not of the form O, B-LABEL or I-LABEL"));
            }
            sentence.tokens.push((token.to_string(), tag.to_string()));
        }
    }
    Ok(documents)
}

fn columns(line: &str) -> Vec<&str> {
    if line.contains('\t') { line.split('\t').collect() } else { line.split_whitespace().collect() }
}

/// Whether a line's number is that of several words (`1-2`) or of an empty one (`1.1`) in CoNLL-U.
fn is_range(number: &str) -> bool {
    let parts = number.split_once(['-', '.']);
    parts.is_some_and(|(a, b)| a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())
}

/// Whether the lines of every sentence are numbered from 1; a token may be a number as well.
fn are_numbered(file: &str) -> bool {
    let (mut expected, mut any) = (1, false);
    for line in file.lines().map(str::trim_end) {
        if line.is_empty() {
            expected = 1;
        } else if !line.starts_with("# ") && !line.starts_with("-DOCSTART-") {
            let columns = columns(line);
            if is_range(columns[0]) {
                continue;
            }
            if columns.len() < 3 || columns[0].parse() != Ok(expected) {
                return false;
            }
            (expected, any) = (expected + 1, true);
        }
    }
    any
}

#[derive(Default)]
struct Sentence {
    id: Option<String>,
    text: Option<String>,
    tokens: Vec<(String, String)>,
}

impl Sentence {
    fn finish(self, number: usize, line: usize) -> Result<GoldDocument, GoldError> {
        let text = self.text.unwrap_or_else(|| {
            self.tokens.iter().map(|(token, _)| token.as_str()).collect::<Vec<_>>().join(" ")
        });
        let mut mentions: Vec<Mention> = Vec::new();
        let mut open: Option<String> = None;
        let mut at = 0;
        for (token, tag) in &self.tokens {
            let found = text[at..].find(token.as_str()).ok_or_else(|| GoldError {
                line,
                message: "a token of the sentence that ends here is not in its text".to_string(),
            })?;
            let (start, end) = (at + found, at + found + token.len());
            at = end;
            let Some((prefix, label)) = tag.split_once('-').filter(|(_, label)| !label.is_empty())
            else {
                open = None;
                continue;
            };
            let goes_on = matches!(prefix, "I" | "E" | "L") && open.as_deref() == Some(label);
            match mentions.last_mut() {
                Some(last) if goes_on => last.end = end,
                _ => mentions.push(Mention {
                    start,
                    end,
                    label: label.to_string(),
                    must_mask: true,
                    identifier: None,
                    entity: None,
                }),
            }
            open = Some(label.to_string());
        }
        Ok(GoldDocument {
            id: self.id.unwrap_or_else(|| format!("sentence-{number}")),
            text,
            mentions,
        })
    }
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

    #[test]
    fn a_token_that_is_a_number_is_no_line_number() {
        let gold =
            parse_iob2("In IN I-PP O\n1996 CD I-NP B-DATE\n\n1 CD I-NP B-CARDINAL\n").unwrap();
        let found: Vec<&str> = gold
            .iter()
            .flat_map(|gold| gold.mentions.iter().map(|m| &gold.text[m.start..m.end]))
            .collect();
        assert_eq!(found, ["1996", "1"]);
        let gold = parse_iob2("1-2\tdon't\tO\n1\tAnn\tB-PER\n2\tn't\tO\n").unwrap();
        assert_eq!(gold[0].text, "Ann n't");
    }

    #[test]
    fn tags_become_mentions() {
        let file = "# sent_id = s1\n# text = Ann Lee's in Łódź.\n1\tAnn\tB-PER\t-\n2\tLee\tI-PER\t-\n3\t's\tO\t-\n4\tin\tO\t-\n5\tŁódź\tB-LOC\t-\n6\t.\tO\t-\n";
        let mut gold = parse_iob2(file).unwrap();
        gold.extend(parse_iob2("Bob B-PER\nAl I-PER\nEd B-PER\n").unwrap());
        let found = |n: usize| -> Vec<(&str, &str)> {
            gold[n]
                .mentions
                .iter()
                .map(|m| (&gold[n].text[m.start..m.end], m.label.as_str()))
                .collect()
        };
        assert_eq!(gold[0].id, "s1");
        assert_eq!(found(0), vec![("Ann Lee", "PER"), ("Łódź", "LOC")]);
        assert_eq!(found(1), vec![("Bob Al", "PER"), ("Ed", "PER")]);
        assert_eq!(parse_iob2("Bob B-PER\nAl nonsense\n").unwrap_err().line, 2);
    }
}
