//! The hub's cache on disk, laid out as the hub's own library does, so that both share what was fetched:
//!
//! ```text
//! datasets--OWNER--NAME/
//!   blobs/ETAG                a file's contents
//!   snapshots/COMMIT/NAME     a link to them
//!   refs/REVISION             the commit that a revision was last
//! .locks/datasets--OWNER--NAME/ETAG.lock
//! ```

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pft_artifact::{ArtifactError, KeyLock, access};
use ureq::http::{HeaderMap, StatusCode, header};
use walkdir::WalkDir;

use super::client::{Client, Download, HubError, patiently};
use super::names::{Commit, Etag, encoded};

/// Folder of the caches of hub files, and the token kept beside them.
pub(super) struct Home {
    pub(super) cache: PathBuf,
    pub(super) token: Option<String>,
}

impl Home {
    /// Where `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME` and `HOME` say, and the token of `HF_TOKEN`, or of
    /// the file that `HF_TOKEN_PATH` names or that a login left.
    pub(super) fn of_environment() -> Option<Self> {
        let folder = |name: &str| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let caches = || folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        let home = folder("HF_HOME").or_else(|| Some(caches()?.join("huggingface")))?;
        let token_file = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = std::env::var("HF_TOKEN").ok().filter(|token| !token.trim().is_empty());
        let token = token.or_else(|| std::fs::read_to_string(token_file).ok());
        let cache = folder("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub"));
        Some(Self {
            cache,
            token: token.map(|token| token.trim().to_string()).filter(|token| !token.is_empty()),
        })
    }
}

/// One data set's part of the cache.
pub(super) struct CachedDataSet {
    data_set: String,
    cache: PathBuf,
    folder: String,
}

impl CachedDataSet {
    pub(super) fn new(cache: PathBuf, data_set: &str) -> Self {
        let folder = format!("datasets--{}", data_set.replace('/', "--"));
        Self { data_set: data_set.to_string(), cache, folder }
    }

    fn path(&self, part: &str) -> PathBuf {
        self.cache.join(&self.folder).join(part)
    }

    fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.path("snapshots").join(commit.as_str())
    }

    /// The folder of what was fetched of a revision.
    pub(super) fn fetched(&self, revision: &str) -> Option<PathBuf> {
        let named = std::fs::read_to_string(self.path("refs").join(revision)).ok();
        let commit = Commit::parse(named.as_deref().map_or(revision, str::trim))?;
        Some(self.snapshot(&commit)).filter(|folder| folder.is_dir())
    }

    /// Notes which commit a revision is.
    pub(super) fn note(&self, revision: &str, commit: &Commit) -> Result<(), HubError> {
        if revision == commit.as_str() {
            return Ok(());
        }
        let path = self.path("refs").join(revision);
        let failed = |error| HubError::Disk(path.clone(), error);
        make_folder_of(&path)?;
        std::fs::write(&path, commit.as_str()).map_err(failed)?;
        access::share(&path).map_err(failed)
    }

    /// A file of a commit, fetched if it is not there. The name has been checked.
    pub(super) fn file(
        &self,
        client: &Client,
        commit: &Commit,
        name: &str,
    ) -> Result<PathBuf, HubError> {
        let link = self.snapshot(commit).join(name);
        if !link.is_file() {
            let etag = patiently(|| self.fetch(client, commit, name))?;
            self.link(&link, name, &etag)?;
        }
        Ok(link)
    }

    fn fetch(&self, client: &Client, commit: &Commit, name: &str) -> Result<Etag, HubError> {
        let path =
            format!("datasets/{}/resolve/{}/{}", encoded(&self.data_set), commit, encoded(name));
        let mut described: Option<Described> = None;
        let download = client.get(&path, |headers| {
            // The answer of a data set that was renamed only says where it is now.
            let Some(answer) = Described::read(headers, commit)? else { return Ok(0) };
            let unfinished = std::fs::metadata(self.unfinished(&answer.etag));
            described = Some(answer);
            Ok(unfinished.map_or(0, |file| file.len()))
        })?;
        let Some(Described { etag, size }) = described else {
            return Err(HubError::Answer(format!(
                "it does not say which version of {name} it has"
            )));
        };
        let blob = self.path("blobs").join(etag.as_str());
        let lock = self.cache.join(".locks").join(&self.folder);
        let lock = lock.join(format!("{}.lock", etag.as_str()));
        make_folder_of(&lock)?;
        make_folder_of(&blob)?;
        let _lock = wait_for(&lock)?;
        if !blob.is_file() {
            let unfinished = self.unfinished(&etag);
            receive(download, size, &unfinished)?;
            access::share(&unfinished)
                .and_then(|()| std::fs::rename(&unfinished, &blob))
                .map_err(|error| HubError::Disk(blob, error))?;
        }
        Ok(etag)
    }

    fn unfinished(&self, etag: &Etag) -> PathBuf {
        self.path("blobs").join(format!("{}.incomplete", etag.as_str()))
    }

    fn link(&self, link: &Path, name: &str, etag: &Etag) -> Result<(), HubError> {
        make_folder_of(link)?;
        let up = "../".repeat(name.split('/').count() + 1);
        let target = format!("{up}blobs/{}", etag.as_str());
        let made = match std::os::unix::fs::symlink(&target, link) {
            // Another process was first, or what was there leads nowhere.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && !link.is_file() => {
                std::fs::remove_file(link).and_then(|()| std::os::unix::fs::symlink(&target, link))
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        made.map_err(|error| HubError::Disk(link.to_path_buf(), error))
    }
}

/// What the hub says of a file before its contents.
struct Described {
    etag: Etag,
    size: Option<u64>,
}

impl Described {
    /// `None` if the answer says nothing of a file.
    fn read(headers: &HeaderMap, commit: &Commit) -> Result<Option<Self>, HubError> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let Some(etag) = text("x-linked-etag").or_else(|| text("etag")) else { return Ok(None) };
        let etag = Etag::parse(etag).ok_or_else(|| {
            HubError::Answer("the name that it gives a file's version is none".to_string())
        })?;
        if text("x-repo-commit").is_some_and(|said| said != commit.as_str()) {
            return Err(HubError::Answer("it delivers another commit than it named".to_string()));
        }
        let size = text("x-linked-size").and_then(|size| size.parse().ok());
        Ok(Some(Self { etag, size }))
    }
}

/// Writes what is downloaded behind what an earlier try left.
fn receive(download: Download, size: Option<u64>, path: &Path) -> Result<(), HubError> {
    let Download { response, from } = download;
    let mut start = 0;
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok());
        let said = range.and_then(|r| r.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        if said != Some(from) {
            return Err(HubError::Answer("it sends another part of a file than asked for".into()));
        }
        start = from;
    }
    let disk = |error| HubError::Disk(path.to_path_buf(), error);
    let mut file =
        File::options().create(true).truncate(false).write(true).open(path).map_err(disk)?;
    // Another process may have come further, or have begun anew.
    if file.metadata().map_err(disk)?.len() < start {
        return Err(HubError::Connection("another process fetches the same file".to_string()));
    }
    file.set_len(start).map_err(disk)?;
    file.seek(SeekFrom::Start(start)).map_err(disk)?;
    let body = response.into_body();
    let announced = body.content_length().map(|length| start + length);
    let mut reader = body.into_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut length = start;
    loop {
        let count = std::io::Read::read(&mut reader, &mut buffer)
            .map_err(|error| HubError::Connection(error.to_string()))?;
        if count == 0 {
            break;
        }
        std::io::Write::write_all(&mut file, &buffer[..count]).map_err(disk)?;
        length += count as u64;
    }
    file.sync_all().map_err(disk)?;
    match size.or(announced) {
        Some(size) if size != length => {
            // What is longer than the whole file is not its beginning.
            let kept = if length > size { 0 } else { length };
            file.set_len(kept).map_err(disk)?;
            Err(HubError::Connection(format!("{length} bytes of {size} came")))
        }
        _ => Ok(()),
    }
}

fn wait_for(path: &Path) -> Result<KeyLock, HubError> {
    loop {
        let lock = KeyLock::try_acquire(path).map_err(|error| {
            let error = match error {
                ArtifactError::Write { source, .. } => source,
                other => std::io::Error::other(other),
            };
            HubError::Disk(path.to_path_buf(), error)
        })?;
        if let Some(lock) = lock {
            return Ok(lock);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Others may use the cache too, as far as the umask lets them.
fn make_folder_of(path: &Path) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(path);
    access::create_shared_dir_all(folder)
        .map_err(|error| HubError::Disk(folder.to_path_buf(), error))
}

/// The files below a folder, by their names seen from it.
pub(super) fn files_below(folder: &Path) -> Vec<String> {
    WalkDir::new(folder)
        .follow_links(true)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| {
            let name = entry.path().strip_prefix(folder).ok()?;
            Some(name.to_string_lossy().into_owned())
        })
        .collect()
}
