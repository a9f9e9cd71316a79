//! Data sets of the Hugging Face hub: `hf://datasets/OWNER/NAME[@REVISION][/FILE OR GLOB]`.
//!
//! `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` mean what they mean
//! to the hub's own library. A file that the cache has is not fetched again.

mod cache;
mod client;
mod location;
mod names;

use std::path::PathBuf;

use pft_stage::StageError;
use serde::Deserialize;
use ureq::http::StatusCode;

use self::cache::{CachedDataSet, Home, files_below};
use self::client::{Client, HubError, patiently};
use self::location::Location;
use self::names::{Commit, encoded, is_plain};
use crate::config::SourceKind;

/// What the hub says of a revision of a data set.
#[derive(Deserialize)]
struct Revision {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Brings the files of a data set into the cache and returns their paths: those of splits in the
/// order train, test, validation (LLM-PFT's), then the others, by name.
pub(super) fn fetch(path: &str, source: SourceKind) -> Result<Vec<PathBuf>, StageError> {
    let location = Location::parse(path)?;
    let home = Home::of_environment().ok_or_else(|| {
        StageError::config(format!("path: {path}: there is no folder for the hub's cache"))
            .with_help("set HF_HOME")
    })?;
    let cached = CachedDataSet::new(home.cache, &location.data_set);
    let is_offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| {
        matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
    });
    if is_offline {
        let snapshot = cached.fetched(&location.revision).ok_or_else(|| {
            StageError::service(format!(
                "{path}: is not in the hub cache, and HF_HUB_OFFLINE is set"
            ))
            .with_help("run once without HF_HUB_OFFLINE")
        })?;
        let names = choose(files_below(&snapshot), &location, source, path)?;
        return Ok(names.iter().map(|name| snapshot.join(name)).collect());
    }

    let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
    let endpoint = endpoint.as_deref().unwrap_or("https://huggingface.co");
    let client = Client::new(endpoint, home.token).ok_or_else(|| {
        StageError::config("HF_ENDPOINT is not the address of a hub")
            .with_help("write https://HOST, without a user's name in it")
    })?;
    let failed = |error| service_error(path, error);
    let revision = encoded(&location.revision).replace('/', "%2F");
    let description = format!("api/datasets/{}/revision/{revision}", encoded(&location.data_set));
    let revision: Revision = patiently(|| client.json(&description)).map_err(failed)?;
    // From here on the commit is fixed, so that all files are of one revision.
    let commit = Commit::parse(&revision.sha).ok_or_else(|| {
        failed(HubError::Answer("what it calls the revision's commit is none".to_string()))
    })?;
    let names = revision.siblings.into_iter().map(|file| file.rfilename).collect();
    let names = choose(names, &location, source, path)?;
    let files = names
        .iter()
        .map(|name| {
            cached
                .file(&client, &commit, name)
                .map_err(|error| service_error(&format!("{path} ({name})"), error))
        })
        .collect::<Result<_, _>>()?;
    cached.note(&location.revision, &commit).map_err(failed)?;
    Ok(files)
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

fn service_error(what: &str, error: HubError) -> StageError {
    let (reason, help) = match error {
        HubError::Status(status) => {
            let help = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    "the data set is private or gated: set HF_TOKEN to a token that may read it"
                }
                StatusCode::NOT_FOUND => {
                    "check the name and the revision; for a private data set set HF_TOKEN"
                }
                _ => "check the network and HF_ENDPOINT, then run again",
            };
            (format!("status {status}"), help)
        }
        HubError::Connection(reason) => {
            (reason, "check the network and HF_ENDPOINT, then run again")
        }
        HubError::Answer(reason) => {
            (reason, "this is no hub, or one that is not to be trusted: check HF_ENDPOINT")
        }
        HubError::Disk(path, error) => {
            return StageError::failed_write(&path, &error)
                .with_help("the hub's cache must be writable: set HF_HOME to another folder");
        }
    };
    StageError::service(format!("{what}: the hub did not deliver: {reason}")).with_help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_format_is_chosen_and_splits_are_in_order() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_string()).collect::<Vec<_>>();
        let location = Location::parse("hf://datasets/a/b").unwrap();
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
