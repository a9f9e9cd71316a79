//! What a path may be that holds no model.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::pointer::{LFS_POINTER, is_lfs_pointer};

/// Names of folders that people keep models in, which no organization on the hub is meant by.
const FOLDERS: [&str; 5] = ["checkpoints", "data", "model", "models", "out"];

/// What lies at `path`, and the way out, where a model or a tokenizer was expected and one of the
/// things lies there that are often taken for one; to follow the path in a message. `None` where it
/// may be what was expected.
pub fn mistaken(path: &Path) -> Option<String> {
    if path.to_string_lossy().contains("://") {
        return Some(
            "is an address, but models are read from the disk; `hf download ORG/NAME --local-dir \
             FOLDER` fetches one from the hub"
                .to_owned(),
        );
    }
    if path.is_dir() {
        cache(path)
    } else if path.exists() {
        let mut beginning = [0; 64];
        let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut beginning)).ok()?;
        is_lfs_pointer(&beginning[..read]).then(|| LFS_POINTER.to_owned())
    } else {
        name_on_the_hub(path)
    }
}

/// `ORG/NAME`, which a config makes a path of: neither is there, and the folder above is.
fn name_on_the_hub(path: &Path) -> Option<String> {
    let parent = path.parent()?;
    let above = parent.parent()?;
    let name = path.file_name()?.to_str().filter(|name| is_name(name))?;
    let organization = parent.file_name()?.to_str().filter(|name| is_name(name))?;
    // `.gguf` and `.csv` are files; `phi-1.5` is not.
    let is_ending = |text: &str| text.len() > 1 && text.chars().all(|c| c.is_ascii_alphabetic());
    let file = path.extension().and_then(|ending| ending.to_str()).is_some_and(is_ending);
    let named = !file
        && !parent.exists()
        && (above.as_os_str().is_empty() || above.exists())
        && !FOLDERS.contains(&organization);
    named.then(|| {
        format!(
            "there is no such file or folder; if `{organization}/{name}` is the name of a model on \
             the hub: models are read from the disk, and `hf download {organization}/{name} \
             --local-dir FOLDER` fetches it"
        )
    })
}

fn is_name(text: &str) -> bool {
    let sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 96 && text.chars().all(sign)
}

/// A folder of the hub's cache above the one that holds a model.
fn cache(folder: &Path) -> Option<String> {
    let name =
        |path: &Path| path.file_name().is_some_and(|name| is_cached(&name.to_string_lossy()));
    let snapshots = [folder.join("snapshots"), folder.to_path_buf()];
    let snapshots = snapshots.into_iter().find(|snapshots| {
        snapshots.is_dir()
            && snapshots.file_name().is_some_and(|name| name == "snapshots")
            && snapshots.parent().is_some_and(name)
    });
    if let Some(snapshots) = snapshots {
        return Some(format!(
            "is a model's place in the hub's cache, which keeps a folder for each of its commits; \
             name one of them: {}",
            snapshot(&snapshots).unwrap_or_else(|| snapshots.join("COMMIT")).display()
        ));
    }
    [folder.to_path_buf(), folder.join("hub")].iter().any(|folder| holds_caches(folder)).then(
        || {
            "is the hub's cache, which holds many models; name a snapshot of one, as in \
         models--ORG--NAME/snapshots/COMMIT"
                .to_owned()
        },
    )
}

fn is_cached(name: &str) -> bool {
    name.starts_with("models--")
}

fn holds_caches(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries
        .filter_map(Result::ok)
        .any(|entry| is_cached(&entry.file_name().to_string_lossy()) && entry.path().is_dir())
}

/// The snapshot of the branch `main`, or else the only one.
fn snapshot(snapshots: &Path) -> Option<PathBuf> {
    let main = std::fs::read_to_string(snapshots.parent()?.join("refs/main")).ok();
    let main = main.map(|commit| commit.trim().to_owned()).filter(|commit| is_name(commit));
    let main = main.map(|commit| snapshots.join(commit)).filter(|folder| folder.is_dir());
    main.or_else(|| {
        let mut folders = std::fs::read_dir(snapshots).ok()?.filter_map(Result::ok);
        let first = folders.next()?.path();
        folders.next().is_none().then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_often_taken_for_a_model_is_named_with_the_way_out() {
        let place = tempfile::tempdir().unwrap();
        let hub = place.path().join("hub");
        let model = hub.join("models--org--name");
        let snapshot = model.join("snapshots/0123abcd");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(model.join("refs")).unwrap();
        std::fs::write(model.join("refs/main"), "0123abcd").unwrap();
        for folder in [&model, &model.join("snapshots")] {
            let told = mistaken(folder).unwrap();
            assert!(told.contains(&snapshot.display().to_string()), "{told}");
        }
        for folder in [&hub, place.path()] {
            assert!(mistaken(folder).unwrap().contains("many models"), "{folder:?}");
        }
        assert_eq!(mistaken(&snapshot), None);

        let told = mistaken(&place.path().join("org/name-1.5")).unwrap();
        assert!(told.contains("hf download org/name-1.5 --local-dir"), "{told}");
        assert!(mistaken(Path::new("hf://org/name")).unwrap().contains("read from the disk"));
        for file in ["org/model.gguf", "org/rows.csv", "nothing", "a/b/c", "models/name"] {
            assert_eq!(mistaken(&place.path().join(file)), None, "{file}");
        }
        let file = place.path().join("model.safetensors");
        std::fs::write(&file, "version https://git-lfs.github.com/spec/v1\n").unwrap();
        assert!(mistaken(&file).unwrap().contains("git lfs pull"));
        std::fs::write(&file, "weights").unwrap();
        assert_eq!(mistaken(&file), None);
    }
}
