//! Who may read what a run leaves, under the umasks that people have: private artifacts are their owner's
//! alone, and a bundle is for whom the umask lets.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pft_tests::{Finished, TINY_LLAMA, binary, result, root, stage};

fn with_umask(umask: u32, command: &str, folder: &Path) -> Finished {
    let script = format!("umask {umask:03o}; {command}");
    let finished: Finished =
        Command::new("sh").args(["-c", &script]).current_dir(folder).output().unwrap().into();
    assert_eq!(finished.code, 0, "umask {umask:03o}: {}\n{}", finished.stdout, finished.stderr);
    finished
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The folder and everything below it but links, which have no mode of their own.
fn walk(folder: &Path) -> Vec<PathBuf> {
    if folder.is_symlink() {
        return Vec::new();
    }
    let mut found = vec![folder.to_path_buf()];
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

#[test]
fn only_a_bundle_is_for_others() {
    for umask in [0o022, 0o002, 0o027, 0o077, 0o000] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join("tiny.json"), TINY_LLAMA).unwrap();
        let pipeline = format!(
            "'{}' run '{}' --json --store stores/one --set cases.synthetic.units=60 \
             --set 'tags.backends=[{{kind: rules}}]' --set model.base_model=null \
             --set model.random_init=tiny.json --set model.lora=null --set model.max_steps=2 \
             --set model.samples.prompts=[]",
            binary("pft-pipeline").display(),
            root().join("pipelines/echr-dp8.yml").display(),
        );
        let run = result(&with_umask(umask, &pipeline, folder));
        let path = |name: &str| PathBuf::from(stage(&run, name)["path"].as_str().unwrap());
        let store = folder.join("stores/one").canonicalize().unwrap();
        let (artifacts, bundle) = (store.join("artifacts"), path("release"));
        assert!(bundle.join("model.safetensors").is_file());
        let shared = [store.clone(), store.join(".gitignore"), store.join("CACHEDIR.TAG")];
        for path in walk(&store) {
            let is_folder = path.is_dir();
            let all = if is_folder { 0o777 } else { 0o666 };
            let expected = if path.starts_with(&bundle) {
                // Sealed files are read only; who owns the store may replace a manifest.
                let sealed = !is_folder && !path.ends_with("manifest.json");
                (if sealed { 0o444 } else { all }) & !umask
            } else if path == artifacts || path.parent() == Some(&artifacts) {
                // Passed through by who knows the way, and not listed.
                0o711 & !umask
            } else if shared.contains(&path) {
                all & !umask
            } else {
                assert_eq!(mode(&path) & 0o077, 0, "umask {umask:03o}: {}", path.display());
                continue;
            };
            assert_eq!(mode(&path), expected, "umask {umask:03o}: {}", path.display());
        }
        assert_eq!(mode(&folder.join("stores")), 0o777 & !umask);
        // The read-only trick: a second run finds everything, and one that is forced replaces it.
        with_umask(umask, &format!("{pipeline} --force release"), folder);

        // By hand.
        let export = format!(
            "'{}' --input 'model={}' --output out/bundle",
            binary("export").display(),
            path("model").display()
        );
        with_umask(umask, &export, folder);
        for path in walk(&folder.join("out")) {
            let all = if path.is_dir() { 0o777 } else { 0o666 };
            assert_eq!(mode(&path), all & !umask, "umask {umask:03o}: {}", path.display());
        }
        let tag = format!(
            "'{}' --input 'corpus={}' --output out/tags --set 'backends=[{{kind: rules}}]' --scratch work",
            binary("tag-pii").display(),
            path("cases").display()
        );
        with_umask(umask, &format!("PFT_CACHE_DIR=shared {tag}"), folder);
        for name in ["out/tags", "work", "shared"] {
            for path in walk(&folder.join(name)) {
                assert_eq!(mode(&path) & 0o077, 0, "umask {umask:03o}: {}", path.display());
            }
        }
    }
}
