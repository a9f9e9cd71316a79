//! Hubs that are not to be trusted: what they say never leads out of the cache, and what was given to one is
//! not carried to another. The values are harmless ones of the forms that would.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::Workbench;
use crate::hub::{COMMIT, FILES, file, requested, revision};
use crate::server::{Answer, Server};

const CONFIG: &str = "path: hf://datasets/fable/cases\nid_column: id\n";
const INFO: &str = "/api/datasets/fable/cases/revision/main";

/// Every file and folder below one, with the contents of files.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        found.insert(path.display().to_string(), std::fs::read(&path).unwrap_or_default());
        if entry.file_type().unwrap().is_dir() {
            found.append(&mut tree(&path));
        }
    }
    found
}

/// A description that names commit and files, and the headers that files come with.
struct Said {
    commit: &'static str,
    files: Vec<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
}

fn honest() -> Said {
    Said {
        commit: COMMIT,
        files: FILES.to_vec(),
        headers: vec![("ETag", "\"abc\""), ("X-Repo-Commit", COMMIT)],
    }
}

fn hub_that_says(said: Said) -> Server {
    Server::start("127.0.0.1", move |request| match requested(&request.path).and_then(file) {
        _ if request.path == INFO => revision(said.commit, &said.files),
        Some(contents) => {
            said.headers.iter().fold(Answer::new("200 OK", contents), |answer, (name, value)| {
                answer.with(name, *value)
            })
        }
        // Whatever it is asked for, it has it.
        None => Answer::new("200 OK", "{\"id\": \"x\", \"text\": \"x\"}\n")
            .with("ETag", "\"abc\"")
            .with("X-Repo-Commit", said.commit),
    })
}

#[test]
fn nothing_that_a_hub_says_is_written_outside_its_cache() {
    let with_headers =
        |headers: &[(&'static str, &'static str)]| Said { headers: headers.to_vec(), ..honest() };
    let cases: Vec<(Said, &str)> = vec![
        (Said { commit: "../../x", ..honest() }, "commit is none"),
        (Said { commit: "", ..honest() }, "commit is none"),
        (Said { commit: "/tmp", ..honest() }, "commit is none"),
        (Said { files: vec!["../x.jsonl"], ..honest() }, "points outside"),
        (Said { files: vec!["data/../../x.jsonl"], ..honest() }, "points outside"),
        (Said { files: vec!["/x.jsonl"], ..honest() }, "points outside"),
        (Said { files: vec!["data//x.jsonl"], ..honest() }, "points outside"),
        (Said { files: vec!["data/x.jsonl", ""], ..honest() }, "points outside"),
        (with_headers(&[("ETag", "\"../x\"")]), "a file's version is none"),
        (with_headers(&[("ETag", "../../../../x")]), "a file's version is none"),
        (with_headers(&[("ETag", "\"a/b\"")]), "a file's version is none"),
        (with_headers(&[("ETag", "\"..\"")]), "a file's version is none"),
        (with_headers(&[("ETag", "\"\"")]), "a file's version is none"),
        (with_headers(&[("X-Linked-Etag", "../x"), ("ETag", "\"abc\"")]), "version is none"),
        (with_headers(&[]), "does not say which version"),
        (with_headers(&[("ETag", "\"abc\""), ("X-Repo-Commit", "../../x")]), "another commit"),
    ];
    for (said, expected) in cases {
        let hub = hub_that_says(said);
        let bench = Workbench::new();
        bench.write("config.yml", CONFIG);
        let home = bench.path().join("a/b/c/home");
        let environment =
            [("HF_ENDPOINT", hub.endpoint.as_str()), ("HF_HOME", home.to_str().unwrap())];
        std::fs::create_dir_all(home.join("hub")).unwrap();
        let before = tree(bench.path());
        let finished = bench.run_with(CONFIG, &environment);
        assert!(finished.failure(4).contains(expected), "{expected}: {}", finished.stderr);
        assert!(finished.stderr.contains("not to be trusted") || expected == "points outside");
        assert!(!finished.stderr.contains("internal error"), "{}", finished.stderr);
        let cache = home.join("hub/datasets--fable--cases").display().to_string();
        let locks = home.join("hub/.locks").display().to_string();
        for (path, contents) in tree(bench.path()) {
            let is_cache = path.starts_with(&cache) || path.starts_with(&locks);
            assert!(is_cache || before.get(&path) == Some(&contents), "{expected}: {path} is new");
        }
    }
}

/// The token is for the hub. Whoever a request is sent on to, by whatever kind of answer, gets none, on
/// another address as on another port.
#[test]
fn a_token_goes_to_the_hub_alone() {
    for address in ["127.0.0.2", "127.0.0.1"] {
        let other = Server::start(address, |request| match request.path.as_str() {
            INFO => revision(COMMIT, &FILES),
            path => match path.strip_prefix("/blobs/").and_then(file) {
                Some(contents) => Answer::new("200 OK", contents),
                None => Answer::new("404 Not Found", ""),
            },
        });
        // Files as the hub's large ones are: described here, kept there.
        let elsewhere = other.endpoint.clone();
        let hub = Server::start("127.0.0.1", move |request| match requested(&request.path) {
            _ if request.path == INFO => revision(COMMIT, &FILES),
            Some("data/test.jsonl") => {
                Answer::redirect(format!("{elsewhere}/blobs/data/test.jsonl"))
                    .with("X-Linked-Etag", "\"aa\"")
                    .with("X-Repo-Commit", COMMIT)
            }
            // Without a scheme, and in two steps the first of which stays.
            Some("data/train.jsonl") => Answer::redirect("/moved/data/train.jsonl"),
            _ if request.path == "/moved/data/train.jsonl" => {
                let there = elsewhere.trim_start_matches("http:");
                Answer::redirect(format!("{there}/blobs/data/train.jsonl")).with("ETag", "\"bb\"")
            }
            _ => Answer::new("404 Not Found", ""),
        });
        let bench = Workbench::new();
        let home = bench.path().join("home");
        let mut environment = vec![
            ("HF_ENDPOINT", hub.endpoint.clone()),
            ("HF_HOME", home.display().to_string()),
            ("HF_TOKEN", "hf_secret".to_string()),
        ];
        let run = |environment: &[(&str, String)]| {
            let environment: Vec<(&str, &str)> =
                environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
            bench.run_with(CONFIG, &environment)
        };
        assert_eq!(run(&environment).corpus().len(), 3);
        let bearer = Some("Bearer hf_secret".to_string());
        let asked = hub.requests();
        assert_eq!(asked.len(), 4, "{asked:?}");
        assert!(asked.iter().all(|request| request.authorization == bearer), "{asked:?}");
        let carried = other.requests();
        assert_eq!(carried.len(), 2, "{carried:?}");
        assert!(carried.iter().all(|request| request.authorization.is_none()), "{carried:?}");

        // The description of the data set too, and a way back does not bring the token back.
        let there = other.endpoint.clone();
        let sly = Server::start("127.0.0.1", move |request| match request.path.as_str() {
            INFO => Answer::redirect(format!("{there}{INFO}")),
            _ => Answer::new("404 Not Found", ""),
        });
        environment[0].1 = sly.endpoint.clone();
        // What was fetched before is not asked for again.
        environment[1].1 = bench.path().join("another home").display().to_string();
        run(&environment).failure(4);
        let carried = other.requests();
        assert!(!carried.is_empty());
        assert!(carried.iter().all(|request| request.authorization.is_none()), "{carried:?}");

        let target: Arc<Mutex<String>> = Arc::default();
        let shared = target.clone();
        let bouncer =
            Server::start(address, move |_| Answer::redirect(shared.lock().unwrap().clone()));
        let away = bouncer.endpoint.clone();
        let hub = Server::start("127.0.0.1", move |request| match request.path.as_str() {
            INFO => Answer::redirect(format!("{away}/x")),
            _ => revision(COMMIT, &FILES),
        });
        *target.lock().unwrap() = format!("{}/back", hub.endpoint);
        environment[0].1 = hub.endpoint.clone();
        run(&environment);
        let asked = hub.requests();
        let back = asked.iter().find(|request| request.path == "/back").unwrap();
        assert_eq!(back.authorization, None);
    }
}

#[test]
fn redirects_that_lead_nowhere_end() {
    let bench = Workbench::new();
    let home = bench.path().join("home");
    for (location, expected) in [
        ("/round", "redirects more than 10 times"),
        ("file:///etc/hostname", "redirects to what is no address"),
        ("http://user@127.0.0.1/", "redirects to what is no address"),
    ] {
        let hub = Server::start("127.0.0.1", move |_| Answer::redirect(location));
        let environment =
            [("HF_ENDPOINT", hub.endpoint.as_str()), ("HF_HOME", home.to_str().unwrap())];
        let finished = bench.run_with(CONFIG, &environment);
        assert!(finished.failure(4).contains(expected), "{}", finished.stderr);
    }
    let environment =
        [("HF_ENDPOINT", "https://user:word@hub.example"), ("HF_HOME", home.to_str().unwrap())];
    let finished = bench.run_with(CONFIG, &environment);
    assert!(finished.failure(2).contains("HF_ENDPOINT is not the address"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("word"), "{}", finished.stderr);
}

/// A connection that breaks is taken up where it broke, and bytes that are missing are never read as a file.
#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let contents = file("data/train.jsonl").unwrap();
    let store = Server::start("127.0.0.2", move |request| {
        let from = request.from.unwrap_or(0);
        let rest = &contents[from..];
        let status = if request.from.is_some() { "206 Partial Content" } else { "200 OK" };
        Answer::new(status, rest)
            .with(
                "Content-Range",
                format!("bytes {from}-{}/{}", contents.len() - 1, contents.len()),
            )
            .breaking_after(rest.len().min(30))
    });
    let elsewhere = store.endpoint.clone();
    let size = contents.len().to_string();
    let hub = Server::start("127.0.0.1", move |request| match request.path.as_str() {
        INFO => revision(COMMIT, &["data/train.jsonl"]),
        _ => Answer::redirect(format!("{elsewhere}/x"))
            .with("X-Linked-Etag", "\"aa\"")
            .with("X-Linked-Size", size.clone()),
    });
    let bench = Workbench::new();
    let home = bench.path().join("home");
    let environment = [("HF_ENDPOINT", hub.endpoint.as_str()), ("HF_HOME", home.to_str().unwrap())];
    assert_eq!(bench.run_with(CONFIG, &environment).corpus().len(), 2);
    let from: Vec<Option<usize>> = store.requests().iter().map(|request| request.from).collect();
    assert_eq!(from, [None, Some(30), Some(60)]);
    assert!(contents.len() > 60 && contents.len() <= 90);
}

/// What is fetched is for other programs too, as far as the umask lets them.
#[test]
fn the_cache_is_laid_out_as_the_hubs_own_library_does() {
    use std::os::unix::fs::PermissionsExt;

    let hub = hub_that_says(honest());
    let bench = Workbench::new();
    let home = bench.path().join("home");
    let environment = [("HF_ENDPOINT", hub.endpoint.as_str()), ("HF_HOME", home.to_str().unwrap())];
    let one = "path: hf://datasets/fable/cases/data/train.jsonl\nid_column: id\n";
    assert_eq!(bench.run_with(one, &environment).corpus().len(), 2);
    let cached = home.join("hub/datasets--fable--cases");
    let link = cached.join("snapshots").join(COMMIT).join("data/train.jsonl");
    let target = std::fs::read_link(&link).unwrap();
    assert_eq!(target, Path::new("../../../blobs/abc"));
    assert_eq!(std::fs::read_to_string(link).unwrap(), file("data/train.jsonl").unwrap());
    assert_eq!(std::fs::read_to_string(cached.join("refs/main")).unwrap(), COMMIT);
    // As a file that this test makes.
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let own = bench.write("own/file", "");
    assert_eq!(mode(&cached.join("blobs/abc")), mode(&own));
    assert_eq!(mode(&cached.join("blobs")), mode(own.parent().unwrap()));
}
