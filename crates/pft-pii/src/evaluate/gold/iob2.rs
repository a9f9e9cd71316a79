//! Columns of tokens with IOB2 tags.

use super::{GoldDocument, GoldError, Mention};

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
