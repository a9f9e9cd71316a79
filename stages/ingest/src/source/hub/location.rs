//! `hf://datasets/OWNER/NAME[@REVISION][/FILE OR GLOB]`.

use pft_stage::StageError;

use super::names::is_plain;

/// A parsed `hf://` path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) data_set: String,
    pub(super) revision: String,
    pub(super) pattern: Option<String>,
}

impl Location {
    pub(super) fn parse(path: &str) -> Result<Self, StageError> {
        let wrong = || {
            StageError::config(format!("path: {path} is not a data set of the hub"))
                .with_help("write hf://datasets/OWNER/NAME, hf://datasets/OWNER/NAME@REVISION or hf://datasets/OWNER/NAME/FILE")
        };
        let rest = path.strip_prefix("hf://datasets/").ok_or_else(wrong)?;
        let (name, revision, pattern) = match rest.split_once('@') {
            Some((name, tail)) => {
                let parts: Vec<&str> = tail.split('/').collect();
                // `refs/convert/parquet` and `refs/pr/1` are one revision each.
                let length = if parts[0] == "refs" { 3 } else { 1 };
                let length = length.min(parts.len());
                (name.to_string(), parts[..length].join("/"), parts[length..].join("/"))
            }
            None => {
                // Old data sets such as `imdb` have no owner.
                let parts: Vec<&str> = rest.splitn(3, '/').collect();
                let name = parts[..parts.len().min(2)].join("/");
                let pattern = parts.get(2).copied().unwrap_or_default();
                (name, "main".to_string(), pattern.to_string())
            }
        };
        let data_set = name.trim_end_matches('/').to_string();
        let pattern = pattern.trim_end_matches('/').to_string();
        let revision = revision.replace("%2F", "/");
        // Both become parts of paths below the cache.
        let letters = |b: u8| b.is_ascii_alphanumeric() || b"-._/".contains(&b);
        let is_name = is_plain(&data_set) && data_set.bytes().all(letters);
        if !is_name || data_set.split('/').count() > 2 || !is_plain(&revision) {
            return Err(wrong());
        }
        let pattern = Some(pattern).filter(|pattern| !pattern.is_empty());
        Ok(Self { data_set, revision, pattern })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_data_set_revision_and_files() {
        let location = |path| {
            let location = Location::parse(path).unwrap();
            (location.data_set, location.revision, location.pattern)
        };
        let text = |text: &str| text.to_string();
        assert_eq!(location("hf://datasets/a/b"), (text("a/b"), text("main"), None));
        assert_eq!(
            location("hf://datasets/a/b@v1/data/*.parquet"),
            (text("a/b"), text("v1"), Some(text("data/*.parquet")))
        );
        assert_eq!(
            location("hf://datasets/a/b@refs/convert/parquet/x/train"),
            (text("a/b"), text("refs/convert/parquet"), Some(text("x/train")))
        );
        assert_eq!(location("hf://datasets/c"), (text("c"), text("main"), None));
        for wrong in [
            "hf://models/a/b",
            "hf://datasets/",
            "hf://datasets//b",
            "hf://datasets/a/..",
            "hf://datasets/a/b?c",
            "hf://datasets/a/b@",
            "hf://datasets/a/b@..",
            "hf://datasets/a/b@refs/../x",
            "hf://datasets/a/b@..%2F..%2Fx",
        ] {
            assert_eq!(Location::parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
