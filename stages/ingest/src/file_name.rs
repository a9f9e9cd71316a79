//! What the name of a file or an address says of what is in it.

/// What the name of a packed file has behind the name of what is in it.
const PACKED_EXTENSIONS: [&str; 4] = [".gz", ".gzip", ".zst", ".zstd"];

/// A file's name without what says that it is packed.
pub(crate) fn unpacked(name: &str) -> &str {
    let lower = name.to_ascii_lowercase();
    let packed = PACKED_EXTENSIONS.into_iter().find(|extension| lower.ends_with(extension));
    packed.map_or(name, |extension| &name[..name.len() - extension.len()])
}

/// An `http://` or `https://` address without its query, which may hold a key; other paths as they are.
pub(crate) fn without_query(path: &str) -> &str {
    if is_address(path) { path.split(['?', '#']).next().unwrap_or(path) } else { path }
}

/// Whether a path is an `http://` or `https://` address.
pub(crate) fn is_address(path: &str) -> bool {
    let starts_with = |scheme: &str| {
        path.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    starts_with("http://") || starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_what_is_packed() {
        assert_eq!(unpacked("a.tsv.GZ"), "a.tsv");
        assert_eq!(unpacked("a.jsonl.zst"), "a.jsonl");
        assert_eq!(unpacked("a.csv"), "a.csv");
    }

    #[test]
    fn queries_belong_to_addresses_alone() {
        assert_eq!(without_query("https://x.org/a.csv?key=b#c"), "https://x.org/a.csv");
        assert_eq!(without_query("/what?/a.csv"), "/what?/a.csv");
    }
}
