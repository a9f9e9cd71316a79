//! Files at `http://` and `https://` addresses, kept in a cache and asked for again only if the server
//! says that they have changed.
//!
//! No password is ever sent: one in an address is refused, since the config is written into the
//! artifact. Redirects are followed, from `https` to `https` alone. The cache lies in `PFT_CACHE_DIR`,
//! which the runner sets, or else in the user's cache folder:
//!
//! ```text
//! http/HASH OF THE ADDRESS/answer.json          what the server said of the newest version
//! http/HASH OF THE ADDRESS/HASH OF THE BYTES/NAME
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pft_stage::StageError;
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::Response;

use crate::file_name::without_query;

/// How often a request is tried that fails for a passing reason.
const TRIES: u32 = 4;

/// The longest that nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest wait between two tries.
const LONGEST_WAIT: u64 = 60;

/// The longest name that a file in the cache has.
const LONGEST_NAME: usize = 100;

/// What the server said of the version in the cache.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    etag: Option<String>,
    last_modified: Option<String>,
    bytes: u64,
    /// BLAKE3 of the bytes.
    hash: String,
}

/// What a try came to.
enum Tried {
    /// The version in the cache is the newest.
    Unchanged,
    /// Another version is in the cache now.
    Fetched(Answer),
    /// Another try may do better, after so many seconds if the server says so.
    Failed { reason: String, wait: Option<u64> },
}

/// A file in the cache that has what is at an address now.
pub(super) fn fetch(address: &str) -> Result<PathBuf, StageError> {
    let shown = without_query(address);
    check(address)?;
    let folder = cache_folder()?.join(&blake3::hash(address.as_bytes()).to_hex()[..32]);
    let name = name_of(shown);
    let failed = |error: &std::io::Error| {
        StageError::failed_write(&folder, error)
            .with_help("the cache of fetched files cannot be written; PFT_CACHE_DIR names another")
    };
    // Held to the end: of two runs that want the same file one fetches it.
    let lock = create_folder(&folder)
        .and_then(|()| create(&folder.join("lock")))
        .map_err(|error| failed(&error))?;
    lock.lock().map_err(|error| failed(&error))?;
    let path_of = |answer: &Answer| folder.join(&answer.hash[..32]).join(&name);
    let known = std::fs::read(folder.join("answer.json"))
        .ok()
        .and_then(|json| serde_json::from_slice::<Answer>(&json).ok())
        .filter(|answer| {
            answer.hash.len() == 64 && answer.hash.bytes().all(|b| b.is_ascii_hexdigit())
        })
        .filter(|answer| {
            std::fs::metadata(path_of(answer)).is_ok_and(|file| file.len() == answer.bytes)
        });
    let agent = agent(address);
    let mut tries = 1;
    loop {
        match try_once(&agent, address, &folder, &name, known.as_ref())? {
            Tried::Unchanged => {
                if let Some(known) = &known {
                    return Ok(path_of(known));
                }
                return Err(StageError::service(format!(
                    "{shown}: the server says that nothing has changed, but was not asked"
                )));
            }
            Tried::Fetched(answer) => {
                let json =
                    serde_json::to_vec(&answer).map_err(|e| StageError::bug(e.to_string()))?;
                write_whole(&folder, "answer.json", &json).map_err(|error| failed(&error))?;
                if let Some(old) = known.filter(|old| old.hash != answer.hash) {
                    // Room, no more: whoever reads the old version keeps it until it is closed.
                    let _ = std::fs::remove_dir_all(folder.join(&old.hash[..32]));
                }
                return Ok(path_of(&answer));
            }
            Tried::Failed { reason, .. } if tries >= TRIES => {
                return Err(StageError::service(format!("{shown}: {reason} ({tries} tries)"))
                    .with_help("check the address and the network, then run again"));
            }
            Tried::Failed { wait, .. } => {
                let seconds = wait.unwrap_or(1 << (tries - 1)).min(LONGEST_WAIT);
                std::thread::sleep(Duration::from_secs(seconds));
                tries += 1;
            }
        }
    }
}

/// Refuses an address with a password in it.
fn check(address: &str) -> Result<(), StageError> {
    let shown = without_query(address);
    let authority = shown.split("://").nth(1).and_then(|rest| rest.split('/').next());
    let authority = authority.filter(|authority| !authority.is_empty()).ok_or_else(|| {
        StageError::config("path: has an address without a host".to_string())
            .with_help("write https://HOST/FILE")
    })?;
    if let Some((_, host)) = authority.rsplit_once('@') {
        return Err(StageError::config(format!(
            "path: the address of a file at {host} has a user or a password in it"
        ))
        .with_help(
            "configs are kept with what is made from them: fetch the file yourself and name its path",
        ));
    }
    Ok(())
}

fn cache_folder() -> Result<PathBuf, StageError> {
    let of = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute())
    };
    let user = || of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")));
    of("PFT_CACHE_DIR")
        .or_else(|| user().map(|cache| cache.join("pft/ingest")))
        .map(|cache| cache.join("http"))
        .ok_or_else(|| {
            StageError::config("there is no folder to keep fetched files in")
                .with_help("set PFT_CACHE_DIR to a folder, as an absolute path")
        })
}

/// The name of a fetched file, made of letters, digits, dots, hyphens and underscores: it tells the
/// source, and by `split.by: file` the split.
fn name_of(address: &str) -> String {
    let last = address.rsplit('/').next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let plain: String = last.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    // What comes last tells most.
    let name = plain[plain.len().saturating_sub(LONGEST_NAME)..].trim_start_matches('.');
    if name.is_empty() { "file".to_string() } else { name.to_string() }
}

fn agent(address: &str) -> Agent {
    let is_https = address.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("https:"));
    Agent::config_builder()
        .http_status_as_error(false)
        .https_only(is_https)
        .accept_encoding("identity")
        .user_agent(concat!("pft/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .build()
        .new_agent()
}

fn try_once(
    agent: &Agent,
    address: &str,
    folder: &Path,
    name: &str,
    known: Option<&Answer>,
) -> Result<Tried, StageError> {
    let shown = without_query(address);
    let mut request = agent.get(address);
    for (header, value) in [
        ("if-none-match", known.and_then(|known| known.etag.as_ref())),
        ("if-modified-since", known.and_then(|known| known.last_modified.as_ref())),
    ] {
        if let Some(value) = value {
            request = request.header(header, value);
        }
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(ureq::Error::RequireHttpsOnly(_)) => {
            return Err(StageError::service(format!(
                "{shown}: the server sends us on from https to http, which anybody can change"
            )));
        }
        Err(error @ (ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects)) => {
            return Err(StageError::service(format!("{shown}: {}", reason(&error))));
        }
        Err(error) => return Ok(Tried::Failed { reason: reason(&error), wait: None }),
    };
    let status = response.status().as_u16();
    let help = match status {
        200 => return download(response, shown, folder, name),
        304 => return Ok(Tried::Unchanged),
        408 | 425 | 429 | 500 | 502..=504 => {
            let wait = header(&response, "retry-after").and_then(|seconds| seconds.parse().ok());
            return Ok(Tried::Failed { reason: format!("the server answered {status}"), wait });
        }
        401 | 403 => "the file is not for everybody: fetch it yourself and name its path",
        404 | 410 => "check the address",
        _ => "check the address, or fetch the file yourself and name its path",
    };
    Err(StageError::service(format!("{shown}: the server answered {status}")).with_help(help))
}

/// Brings the body into the cache: whole, or not at all.
fn download(
    response: Response<ureq::Body>,
    shown: &str,
    folder: &Path,
    name: &str,
) -> Result<Tried, StageError> {
    if header(&response, "content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(StageError::service(format!("{shown}: the server answered with a web page"))
            .with_help("check the address: it must be that of the file itself"));
    }
    let is_encoded = header(&response, "content-encoding").is_some();
    let length = header(&response, "content-length").and_then(|length| length.parse().ok());
    let length: Option<u64> = length.filter(|_| !is_encoded);
    let (etag, last_modified) = (header(&response, "etag"), header(&response, "last-modified"));
    let cannot_write = |error: std::io::Error| {
        StageError::failed_write(folder, &error)
            .with_help("check that the disk has room for the file, then run again")
    };
    let part = folder.join("part");
    let mut file = create(&part).map_err(cannot_write)?;
    let mut body = response.into_body().into_reader();
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                let _ = std::fs::remove_file(&part);
                let reason = format!("the connection broke after {bytes} bytes: {error}");
                return Ok(Tried::Failed { reason, wait: None });
            }
        };
        hasher.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(|error| {
            let _ = std::fs::remove_file(&part);
            cannot_write(error)
        })?;
        bytes += read as u64;
    }
    if let Some(length) = length.filter(|length| *length != bytes) {
        let _ = std::fs::remove_file(&part);
        let reason = format!("the server sent {bytes} of {length} bytes");
        return Ok(Tried::Failed { reason, wait: None });
    }
    let hash = hasher.finalize().to_hex().to_string();
    let home = folder.join(&hash[..32]);
    create_folder(&home)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&part, home.join(name)))
        .map_err(cannot_write)?;
    Ok(Tried::Fetched(Answer { etag, last_modified, bytes, hash }))
}

fn header(response: &Response<ureq::Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_string())
}

/// What went wrong, without the address, whose query is nobody's business.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "is no address".to_string(),
        other => other.to_string(),
    }
}

/// What is fetched may be private.
fn create_folder(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes a file through a temporary name.
fn write_whole(folder: &Path, name: &str, contents: &[u8]) -> std::io::Result<()> {
    let part = folder.join("part");
    create(&part)?.write_all(contents)?;
    std::fs::rename(part, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_keep_their_end() {
        assert_eq!(name_of("https://x.org/a/train.jsonl.gz"), "train.jsonl.gz");
        assert_eq!(name_of("https://x.org/..%2Fa b.csv"), "%2Fa b.csv".replace(['%', ' '], "_"));
        assert_eq!(name_of("https://x.org/"), "file");
        let long = name_of(&format!("https://x.org/{}.csv", "a".repeat(300)));
        assert!(long.len() == LONGEST_NAME && long.ends_with("a.csv"));
    }

    #[test]
    fn passwords_in_addresses_are_refused_and_not_shown() {
        let error = check("https://ann:secret@x.org/a.csv").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(check("https:///a.csv").is_err());
        assert!(check("https://x.org/a@b.csv").is_ok());
    }
}
