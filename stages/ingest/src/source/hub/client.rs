//! Requests to a hub. Redirects are followed by hand: the token is for the hub's own address, and goes to
//! no other.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

const MAX_REDIRECTS: usize = 10;
/// Longest list of a data set's files that is read.
const MAX_LIST_BYTES: u64 = 256 << 20;
/// Further tries after a failure that may pass, and the wait before the first of them.
const RETRIES: u32 = 2;
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Why a hub did not deliver.
#[derive(Debug)]
pub(super) enum HubError {
    /// The hub refused.
    Status(StatusCode),
    /// The hub could not be reached, or the connection broke.
    Connection(String),
    /// The hub said what no hub may say.
    Answer(String),
    /// The cache cannot be written.
    Disk(std::path::PathBuf, std::io::Error),
}

impl HubError {
    /// Whether the same request may succeed a little later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(status) => {
                status.is_server_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
            }
            Self::Connection(_) => true,
            Self::Answer(_) | Self::Disk(..) => false,
        }
    }
}

impl From<ureq::Error> for HubError {
    fn from(error: ureq::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

/// Does something again where it failed for a reason that may pass.
pub(super) fn patiently<T>(
    mut attempt: impl FnMut() -> Result<T, HubError>,
) -> Result<T, HubError> {
    let mut delay = RETRY_DELAY;
    for _ in 0..RETRIES {
        match attempt() {
            Err(error) if error.may_pass() => std::thread::sleep(delay),
            result => return result,
        }
        delay *= 2;
    }
    attempt()
}

/// A connection to one hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: Uri,
    token: Option<String>,
}

/// An answer with a body, and from which byte of the file the body was asked for.
pub(super) struct Download {
    pub(super) response: Response<Body>,
    pub(super) from: u64,
}

impl Client {
    /// A client of the hub at `endpoint`; `None` if that is no address.
    pub(super) fn new(endpoint: &str, token: Option<String>) -> Option<Self> {
        let endpoint = checked(endpoint.trim_end_matches('/').parse().ok()?)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Sizes and ranges are those of the file.
            .accept_encoding("identity")
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("pft/", env!("CARGO_PKG_VERSION")));
        Some(Self { agent: config.build().new_agent(), endpoint, token })
    }

    /// The JSON at a path of the hub.
    pub(super) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, HubError> {
        let mut answer = self.get(path, |_| Ok(0))?.response;
        let body = answer.body_mut().with_config().limit(MAX_LIST_BYTES).read_to_vec()?;
        serde_json::from_slice(&body)
            .map_err(|_| HubError::Answer("its list of files is not what a hub sends".to_string()))
    }

    /// What is at a path of the hub, or where the hub sends us for it. `described` sees the headers of each
    /// answer that is the hub's own, and says from which byte on the next address is to be asked.
    pub(super) fn get(
        &self,
        path: &str,
        mut described: impl FnMut(&HeaderMap) -> Result<u64, HubError>,
    ) -> Result<Download, HubError> {
        let mut address: Uri =
            format!("{}/{path}", self.endpoint.to_string().trim_end_matches('/')).parse().map_err(
                |_| HubError::Answer("the data set's name makes no address".to_string()),
            )?;
        let mut is_hub = true;
        let mut from = 0;
        for _ in 0..=MAX_REDIRECTS {
            // Once left, the hub is not come back to: whoever sends us there is a stranger.
            is_hub &= same_origin(&address, &self.endpoint);
            let mut request = self.agent.get(&address);
            if is_hub && let Some(token) = &self.token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = request.call()?;
            let status = response.status();
            let location = response.headers().get(header::LOCATION);
            let redirect = location.filter(|_| status.is_redirection());
            let next = match redirect {
                Some(location) => Some(
                    location.to_str().ok().and_then(|text| follow(&address, text)).ok_or_else(
                        || HubError::Answer("it redirects to what is no address".to_string()),
                    )?,
                ),
                None if status.is_success() => None,
                None => return Err(HubError::Status(status)),
            };
            let asked = from;
            if is_hub {
                from = described(response.headers())?;
            }
            match next {
                Some(next) => address = next,
                None => return Ok(Download { response, from: asked }),
            }
        }
        Err(HubError::Answer(format!("it redirects more than {MAX_REDIRECTS} times")))
    }
}

/// An address of the web without a user's name in it.
fn checked(address: Uri) -> Option<Uri> {
    let is_web = matches!(address.scheme_str(), Some("http" | "https"));
    let authority = address.authority()?;
    (is_web && !authority.host().is_empty() && !authority.as_str().contains('@')).then_some(address)
}

/// The address that a `Location` means, seen from the one that it was sent from. An encrypted connection
/// leads to none that is not.
fn follow(from: &Uri, location: &str) -> Option<Uri> {
    let scheme = from.scheme_str()?;
    let authority = from.authority()?;
    let has_scheme = location.split('/').next().is_some_and(|first| first.contains(':'));
    let address = if has_scheme {
        location.to_string()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let address = checked(address.parse().ok()?)?;
    (scheme == "http" || address.scheme_str() == Some("https")).then_some(address)
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |address: &Uri| {
        let usual = if address.scheme_str() == Some("https") { 443 } else { 80 };
        address.port_u16().unwrap_or(usual)
    };
    let host = |address: &Uri| address.host().map(str::to_ascii_lowercase);
    a.scheme_str() == b.scheme_str() && host(a) == host(b) && port(a) == port(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_where_they_were_sent() {
        let from: Uri = "https://hub.example/a/b/c?x=1".parse().unwrap();
        let leads_to = |location: &str| follow(&from, location).map(|uri| uri.to_string());
        for (location, address) in [
            ("/x?y=/z", "https://hub.example/x?y=/z"),
            ("x/y", "https://hub.example/a/b/x/y"),
            ("//other.example/x", "https://other.example/x"),
            ("https://other.example:1/x", "https://other.example:1/x"),
        ] {
            assert_eq!(leads_to(location).as_deref(), Some(address));
        }
        for wrong in
            ["http://hub.example/x", "file:///x", "https://a@b.example/", "https://", "a b"]
        {
            assert_eq!(leads_to(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_origin(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://Hub.example/a", "https://hub.example:443/b"));
        for other in ["http://hub.example", "https://hub.example:8443", "https://hub.example.org"] {
            assert!(!same("https://hub.example", other), "{other}");
        }
    }
}
