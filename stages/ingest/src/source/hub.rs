//! Data sets of the Hugging Face hub: `hf://datasets/OWNER/NAME[@REVISION][/FILE OR GLOB]`.
//!
//! `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` mean what they mean
//! to the hub's own library. A file that the cache has is not fetched again.

use std::path::{Component, Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use pft_stage::StageError;
use walkdir::WalkDir;

use crate::config::SourceKind;

/// A parsed `hf://` path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Location {
    data_set: String,
    revision: String,
    pattern: Option<String>,
}

fn parse(path: &str) -> Result<Location, StageError> {
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
    let name = name.trim_end_matches('/').to_string();
    let pattern = pattern.trim_end_matches('/').to_string();
    if revision.is_empty() || name.split('/').count() > 2 || name.split('/').any(str::is_empty) {
        return Err(wrong());
    }
    Ok(Location {
        data_set: name,
        revision: revision.replace("%2F", "/"),
        pattern: Some(pattern).filter(|pattern| !pattern.is_empty()),
    })
}

/// Brings the files of a data set into the cache and returns their paths: those of splits in the
/// order train, test, validation (LLM-PFT's), then the others, by name.
pub(super) fn fetch(path: &str, source: SourceKind) -> Result<Vec<PathBuf>, StageError> {
    let location = parse(path)?;
    let cache = match std::env::var_os("HF_HUB_CACHE") {
        Some(folder) => Cache::new(folder.into()),
        None => Cache::from_env(),
    };
    let repo = |revision: &str| {
        Repo::with_revision(location.data_set.clone(), RepoType::Dataset, revision.to_string())
    };
    let is_offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| {
        matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
    });
    if is_offline {
        let snapshot = cached_snapshot(&cache, &repo(&location.revision)).ok_or_else(|| {
            StageError::service(format!(
                "{path}: is not in the hub cache, and HF_HUB_OFFLINE is set"
            ))
            .with_help("run once without HF_HUB_OFFLINE")
        })?;
        let names = choose(files_below(&snapshot), &location, source, path)?;
        return Ok(names.iter().map(|name| snapshot.join(name)).collect());
    }

    let failed = |error: &ApiError| service_error(path, error);
    // The builder reads HF_ENDPOINT; the token of the environment goes before the stored one.
    let mut builder = ApiBuilder::from_env()
        .with_cache_dir(cache.path().clone())
        .with_progress(false)
        .with_retries(2);
    let token = std::env::var("HF_TOKEN").ok().filter(|token| !token.trim().is_empty());
    builder =
        builder.with_token(token.map(|token| token.trim().to_string()).or_else(|| cache.token()));
    let api = builder.build().map_err(|error| failed(&error))?;
    let info = api.repo(repo(&location.revision)).info().map_err(|error| failed(&error))?;
    let names: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
    let names = choose(names, &location, source, path)?;
    // From here on the commit is fixed, so that all files are of one revision.
    let files = api.repo(repo(&info.sha));
    let cached = cache.repo(repo(&info.sha));
    names
        .iter()
        .map(|name| {
            let known = cached.pointer_path(&info.sha).join(name);
            if known.is_file() {
                return Ok(known);
            }
            files.download(name).map_err(|error| service_error(&format!("{path} ({name})"), &error))
        })
        .collect()
}

fn cached_snapshot(cache: &Cache, repo: &Repo) -> Option<PathBuf> {
    let folder = cache.path().join(repo.folder_name());
    let commit = std::fs::read_to_string(folder.join("refs").join(repo.revision()))
        .unwrap_or_else(|_| repo.revision().to_string());
    let snapshot = folder.join("snapshots").join(commit.trim());
    snapshot.is_dir().then_some(snapshot)
}

fn files_below(folder: &Path) -> Vec<String> {
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

/// The data files among a repository's files.
fn choose(
    names: Vec<String>,
    location: &Location,
    source: SourceKind,
    path: &str,
) -> Result<Vec<String>, StageError> {
    // A name comes from outside and becomes a path below the cache.
    if let Some(name) = names.iter().find(|name| !is_plain(name)) {
        return Err(StageError::service(format!(
            "{path}: the hub lists the file {name:?}, which points outside its folder"
        )));
    }
    let mut chosen: Vec<String> = match &location.pattern {
        Some(pattern) => {
            let glob = glob::Pattern::new(pattern)
                .map_err(|error| StageError::config(format!("path: {path}: {error}")))?;
            names
                .into_iter()
                .filter(|name| glob.matches(name) || name.starts_with(&format!("{pattern}/")))
                .collect()
        }
        None => data_files(&names, source),
    };
    if chosen.is_empty() {
        return Err(StageError::service(format!(
            "{path}: the data set has no file to read as {}",
            match location.pattern {
                Some(_) => "named",
                None => "JSON Lines, CSV or Parquet",
            }
        ))
        .with_help("name the files: hf://datasets/OWNER/NAME/FOLDER/*.parquet"));
    }
    chosen.sort_by_key(|name| (split_rank(name), name.clone()));
    Ok(chosen)
}

fn is_plain(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The files of one format: the source's, else the first of Parquet, JSON Lines and CSV that the
/// data set has.
fn data_files(names: &[String], source: SourceKind) -> Vec<String> {
    let formats: &[SourceKind] = match source {
        SourceKind::Jsonl => &[SourceKind::Jsonl],
        SourceKind::Csv => &[SourceKind::Csv],
        SourceKind::Parquet => &[SourceKind::Parquet],
        SourceKind::Ecthr => &[SourceKind::Parquet, SourceKind::Jsonl],
        _ => &[SourceKind::Parquet, SourceKind::Jsonl, SourceKind::Csv],
    };
    // A .json beside the data is a description of it, unless it is named.
    let is = |name: &&String, format| {
        SourceKind::of_file(name) == Some(format) && !name.ends_with(".json")
    };
    formats
        .iter()
        .map(|format| names.iter().filter(|name| is(name, *format)).cloned().collect())
        .find(|found: &Vec<String>| !found.is_empty())
        .unwrap_or_default()
}

fn split_rank(name: &str) -> usize {
    let splits = ["train", "test", "validation"];
    splits.iter().position(|split| name.contains(split)).unwrap_or(splits.len())
}

fn service_error(what: &str, error: &ApiError) -> StageError {
    let reason = error.to_string();
    let help = if reason.contains("401") || reason.contains("403") {
        "the data set is private or gated: set HF_TOKEN to a token that may read it"
    } else if reason.contains("404") {
        "check the name and the revision; for a private data set set HF_TOKEN"
    } else {
        "check the network and HF_ENDPOINT, then run again"
    };
    StageError::service(format!("{what}: the hub did not deliver: {reason}")).with_help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_data_set_revision_and_files() {
        let location = |path| {
            let location = parse(path).unwrap();
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
        for wrong in ["hf://models/a/b", "hf://datasets/", "hf://datasets//b"] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn one_format_is_chosen_and_splits_are_in_order() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_string()).collect::<Vec<_>>();
        let location = parse("hf://datasets/a/b").unwrap();
        let all = names(&[
            "README.md",
            "dataset_infos.json",
            "x/validation-0.parquet",
            "x/train-1.parquet",
            "x/train-0.parquet",
            "x/test-0.parquet",
            "x/train.csv",
        ]);
        let chosen = choose(all.clone(), &location, SourceKind::Hf, "p").unwrap();
        let expected = [
            "x/train-0.parquet",
            "x/train-1.parquet",
            "x/test-0.parquet",
            "x/validation-0.parquet",
        ];
        assert_eq!(chosen, expected);
        let chosen = choose(all, &location, SourceKind::Csv, "p").unwrap();
        assert_eq!(chosen, ["x/train.csv"]);
        let outside = choose(names(&["../x.csv"]), &location, SourceKind::Csv, "p");
        assert_eq!(outside.unwrap_err().exit_code(), 4);
    }
}
