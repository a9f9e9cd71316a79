//! What a hub's answers may say where they become part of a path or of an address. Whoever runs the hub
//! is a stranger: nothing of theirs touches the file system before it has one of these types.

use std::fmt;
use std::path::{Component, Path};

/// A revision's commit: a hash of 40 hexadecimal digits, or of 64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit(String);

impl Commit {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_hash = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| Self(text.to_string()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What names a version of a file: the hash of its contents, or whatever a mirror has in its place that
/// is made of letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Etag(String);

impl Etag {
    /// From the value of a header: `"…"`, `W/"…"` or bare.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let text = header.strip_prefix("W/").unwrap_or(header);
        let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        ((1..=128).contains(&text.len()) && text.bytes().all(is_plain))
            .then(|| Self(text.to_string()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a name with `/` between its parts stays below the folder that it is joined to.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(char::is_control)
        && name.split('/').all(|part| {
            let mut parts = Path::new(part).components();
            matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        })
}

/// A name as part of an address, each of its parts percent-encoded.
pub(super) fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_hashes() {
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        assert_eq!(Commit::parse(hash).unwrap().as_str(), hash);
        assert!(Commit::parse(&"0".repeat(64)).is_some());
        for wrong in
            ["", "main", "../x", &hash[1..], &format!("{}/", &hash[1..]), "é".repeat(20).as_str()]
        {
            assert_eq!(Commit::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn etags_are_of_one_safe_part() {
        for (header, etag) in [("\"ab-1\"", "ab-1"), ("W/\"ab\"", "ab"), ("a_B", "a_B")] {
            assert_eq!(Etag::parse(header).unwrap().as_str(), etag);
        }
        let long = "a".repeat(129);
        for wrong in ["", "\"\"", "\"../x\"", "/x", "a.b", "..", "a\\b", "\"a", "W/", &long] {
            assert_eq!(Etag::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn names_stay_below_their_folder() {
        for plain in ["a", "data/train-0.parquet", "..a/b..", "a b/é"] {
            assert!(is_plain(plain), "{plain:?}");
        }
        for wrong in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\nb", "a\0b"] {
            assert!(!is_plain(wrong), "{wrong:?}");
        }
        assert_eq!(encoded("a b/é?#%"), "a%20b/%C3%A9%3F%23%25");
    }
}
