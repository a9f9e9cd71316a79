//! The address of a service.

use pft_pii::LoadError;
use ureq::http::Uri;

/// An address that is safe to print.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Scheme, host, port and path, without a slash at the end.
    base: String,
    /// Whether requests travel encrypted.
    pub(super) https: bool,
}

impl Address {
    /// Reads the `url` of a config: `http` or `https`, without a user, a password, a query or a fragment. No
    /// error repeats it, because it may hold what should not be there.
    pub(super) fn parse(url: &str) -> Result<Self, LoadError> {
        let wrong = |what: &str| {
            LoadError::Config(format!(
                "url: {what}; give the root of the service, such as http://127.0.0.1:3000"
            ))
        };
        let uri: Uri = url.parse().map_err(|_| wrong("not an address"))?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(wrong("only http and https are spoken")),
            None => return Err(wrong("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
        if authority.host().is_empty() {
            return Err(wrong("no host"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("it holds a user name or password, which no config should"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(wrong("it has a query or a fragment"));
        }
        Ok(Self { base: url.trim_end_matches('/').to_string(), https })
    }

    /// The address of a route below the root.
    pub(super) fn join(&self, route: &str) -> String {
        format!("{}/{route}", self.base)
    }

    /// The root, without a slash at the end.
    pub(super) fn as_str(&self) -> &str {
        &self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_joined_and_the_rest_is_refused_without_repeating_it() {
        assert_eq!(Address::parse("http://a:1/").unwrap().join("analyze"), "http://a:1/analyze");
        assert_eq!(Address::parse("https://a/b").unwrap().join("c"), "https://a/b/c");
        for url in [
            "https://user:secret@a/",
            "https://secret@a",
            "https://a/?key=secret",
            "https://a/#secret",
            "ftp://a/secret",
            "secret",
            "http://",
            "http:///secret",
            "http://se cret",
        ] {
            let message = Address::parse(url).unwrap_err().to_string();
            assert!(message.starts_with("url: ") && !message.contains("secret"), "{message}");
        }
    }
}
