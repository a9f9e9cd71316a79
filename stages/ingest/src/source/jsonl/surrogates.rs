//! Halves of surrogate pairs in JSON's escapes (`"\ud800"`), which stand for no character. Programs
//! that cut UTF-16 in two write them.

use std::borrow::Cow;

/// How long `\uXXXX` is.
const ESCAPE: usize = 6;

/// JSON with `\ufffd` in place of halves that have lost the other one.
pub(super) fn repair(json: &str) -> Cow<'_, str> {
    let mut repaired = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = json.as_bytes()[at..].iter().position(|&byte| byte == b'\\') {
        at += found;
        let (skipped, is_lone) = match unit(json, at) {
            Some(0xD800..=0xDBFF) => match unit(json, at + ESCAPE) {
                Some(0xDC00..=0xDFFF) => (2 * ESCAPE, false),
                _ => (ESCAPE, true),
            },
            Some(0xDC00..=0xDFFF) => (ESCAPE, true),
            Some(_) => (ESCAPE, false),
            // Another escape: what follows is no backslash of its own.
            None => (2, false),
        };
        if is_lone {
            repaired.push_str(&json[copied..at]);
            repaired.push_str("\\ufffd");
            copied = at + ESCAPE;
        }
        at = (at + skipped).min(json.len());
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    repaired.push_str(&json[copied..]);
    Cow::Owned(repaired)
}

/// Whether there may be surrogates.
pub(super) fn may_be_in(json: &str) -> bool {
    json.contains("\\ud") || json.contains("\\uD")
}

/// The code unit that an escape at `at` stands for.
fn unit(json: &str, at: usize) -> Option<u32> {
    let digits = json.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_lone_halves_are_replaced() {
        for (json, expected) in [
            (r#""a\ud800b\uDC00""#, r#""a\ufffdb\ufffd""#),
            (r#""\ud83d\ude00 \ud83d\ud83d\ude00""#, r#""\ud83d\ude00 \ufffd\ud83d\ude00""#),
            (r#""\\ud800 \\\udfff""#, r#""\\ud800 \\\ufffd""#),
            (r#""\ud8"#, r#""\ud8"#),
            (r#""é\\"#, r#""é\\"#),
            (r#"\é\ud800"#, r#"\é\ufffd"#),
        ] {
            assert_eq!(repair(json), expected);
        }
    }

    proptest! {
        /// Whatever the text, there is no panic and nothing is left to repair.
        #[test]
        fn any_text_is_repaired_once(text in r"(\\|\\u|d8|dc|00|é|x){0,20}") {
            let once = repair(&text).into_owned();
            prop_assert_eq!(repair(&once), once.as_str());
        }
    }
}
