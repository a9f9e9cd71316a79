//! Requests over HTTP: limits in time and number, and further tries.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use pft_pii::{LoadError, TagError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::StatusCode;

use super::address::Address;

/// Longest wait between two tries.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Longest answer that is read: far beyond the entities of the largest request.
const MAX_ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// How a service is talked to. Nothing here changes what it finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Connection {
    /// Seconds that one request may take from the first byte to the last.
    pub timeout_seconds: f64,
    /// Further tries after a try that failed for a passing reason: no connection, no answer in time, or the
    /// statuses 408, 425, 429, 500, 502, 503 and 504.
    pub retries: u32,
    /// Seconds before the first further try; each one after it waits twice as long, at most a minute. A
    /// `Retry-After` of the service counts instead.
    pub retry_delay_seconds: f64,
    /// Requests under way at once.
    pub max_concurrency: usize,
    /// Texts in a request.
    pub batch: usize,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            timeout_seconds: 120.0,
            retries: 4,
            retry_delay_seconds: 1.0,
            max_concurrency: 4,
            batch: 32,
        }
    }
}

impl Connection {
    fn check(&self) -> Result<(), LoadError> {
        let wrong = |message: &str| Err(LoadError::Config(format!("connection.{message}")));
        if !(self.timeout_seconds > 0.0 && self.timeout_seconds <= 86_400.0) {
            return wrong("timeout_seconds: give a number above 0 and of at most a day");
        }
        if !(self.retry_delay_seconds >= 0.0 && self.retry_delay_seconds <= 3600.0) {
            return wrong("retry_delay_seconds: give a number from 0 to 3600");
        }
        if self.max_concurrency == 0 || self.max_concurrency > 256 {
            return wrong("max_concurrency: give a number from 1 to 256");
        }
        if self.batch == 0 {
            return wrong("batch: a request holds at least one text");
        }
        Ok(())
    }
}

/// Why a request has no usable answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The service is away or lets nobody in: other requests would fare no better.
    Service(String),
    /// The service refused these texts or answered nonsense about them.
    Texts(String),
}

impl From<Failure> for TagError {
    fn from(failure: Failure) -> Self {
        let (Failure::Service(message) | Failure::Texts(message)) = failure;
        TagError::Service(message)
    }
}

/// A connection to one route of one service.
pub(super) struct Transport {
    /// The backend's name, for messages.
    name: &'static str,
    agent: Agent,
    url: String,
    /// Name and value of the header that lets us in.
    credential: Option<(&'static str, String)>,
    connection: Connection,
    permits: Permits,
}

impl Transport {
    pub(super) fn new(
        name: &'static str,
        address: &Address,
        route: &str,
        credential: Option<(&'static str, String)>,
        connection: Connection,
    ) -> Result<Self, LoadError> {
        connection.check()?;
        let visible = |value: &str| value.bytes().all(|byte| (32..127).contains(&byte));
        if credential.as_ref().is_some_and(|(_, value)| value.is_empty() || !visible(value)) {
            return Err(LoadError::Config(
                "the key in the environment is empty or has a character that no key has".into(),
            ));
        }
        let timeout = Duration::from_secs_f64(connection.timeout_seconds);
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(connection.max_concurrency)
            .timeout_global(Some(timeout))
            .user_agent(concat!("pft/", env!("CARGO_PKG_VERSION")));
        if !address.https {
            config = config.proxy(None);
        }
        Ok(Self {
            name,
            agent: config.build().new_agent(),
            url: address.join(route),
            credential,
            permits: Permits::new(connection.max_concurrency),
            connection,
        })
    }

    /// Posts JSON and returns the body of the answer; if `patient`, trying again where that may help.
    pub(super) fn post(&self, body: &[u8], patient: bool) -> Result<Vec<u8>, Failure> {
        let retries = if patient { self.connection.retries } else { 0 };
        let _permit = self.permits.take();
        let mut delay = Duration::from_secs_f64(self.connection.retry_delay_seconds);
        let mut tries = 1;
        loop {
            let error = match self.try_once(body) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.passing || tries > retries {
                return Err(self.failure(&error, tries));
            }
            std::thread::sleep(error.wait.unwrap_or(delay).min(MAX_DELAY));
            delay = (delay * 2).min(MAX_DELAY);
            tries += 1;
        }
    }

    /// A failure that says which service answered nonsense, and what is wrong with it.
    pub(super) fn nonsense(&self, what: &str) -> Failure {
        Failure::Texts(format!("{} at {} answered nonsense: {what}", self.name, self.url))
    }

    /// How many requests may be under way at once.
    pub(super) fn concurrency(&self) -> usize {
        self.connection.max_concurrency
    }

    /// How many texts a request holds.
    pub(super) fn batch(&self) -> usize {
        self.connection.batch
    }

    fn try_once(&self, body: &[u8]) -> Result<Vec<u8>, TryError> {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        if let Some((header, value)) = &self.credential {
            request = request.header(*header, value);
        }
        let mut response = request.send(body).map_err(|error| TryError::lost(&error))?;
        let status = response.status();
        if status != StatusCode::OK {
            let wait = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs);
            return Err(TryError::status(status, wait));
        }
        response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .map_err(|error| TryError::lost(&error))
    }

    fn failure(&self, error: &TryError, tries: u32) -> Failure {
        let times = if tries == 1 { String::new() } else { format!(" ({tries} tries)") };
        let seconds = self.connection.timeout_seconds;
        let what = match &error.kind {
            TryKind::Timeout => format!("did not answer within {seconds} s"),
            TryKind::Lost(reason) => format!("cannot be talked to: {reason}"),
            TryKind::Status(status) => format!("answered HTTP {status}"),
        };
        let message = format!("{} at {} {what}{times}", self.name, self.url);
        match &error.kind {
            TryKind::Status(status) => match status.as_u16() {
                401 | 403 => Failure::Service(message + "; is the key missing or wrong?"),
                300..=399 | 404 | 405 => {
                    Failure::Service(message + "; is the url the root of the service?")
                }
                408 | 425 | 429 | 502 | 503 | 504 => Failure::Service(message),
                413 => Failure::Texts(message + "; the service takes no texts of this length"),
                _ => Failure::Texts(message),
            },
            TryKind::Timeout | TryKind::Lost(_) => Failure::Service(message),
        }
    }
}

/// What one try came to.
struct TryError {
    kind: TryKind,
    /// Whether another try may do better.
    passing: bool,
    /// The wait that the service asks for.
    wait: Option<Duration>,
}

enum TryKind {
    Timeout,
    Lost(String),
    Status(StatusCode),
}

impl TryError {
    fn lost(error: &ureq::Error) -> Self {
        let (kind, passing) = match error {
            ureq::Error::Timeout(_) => (TryKind::Timeout, true),
            // A body beyond its limit, a wrong certificate: the next try would find the same.
            ureq::Error::BodyExceedsLimit(_)
            | ureq::Error::Tls(_)
            | ureq::Error::Rustls(_)
            | ureq::Error::RequireHttpsOnly(_) => (TryKind::Lost(error.to_string()), false),
            _ => (TryKind::Lost(error.to_string()), true),
        };
        Self { kind, passing, wait: None }
    }

    fn status(status: StatusCode, wait: Option<Duration>) -> Self {
        let passing = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504);
        Self { kind: TryKind::Status(status), passing, wait }
    }
}

/// Counts requests under way.
struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

struct Permit<'a>(&'a Permits);

impl Permits {
    fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), returned: Condvar::new() }
    }

    fn take(&self) -> Permit<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.returned.notify_one();
    }
}
