//! The pages for users in `docs/`: every command of theirs works, and prints what stands below it.
//!
//! A page is run in a folder of its own, which has the checkout's `configs`, `data` and `pipelines`. Blocks
//! with `file=NAME` behind their language become files. In blocks of the language `console`, lines
//! that begin with `$ ` are commands; what follows is output, with `…` for anything.

#![allow(clippy::unwrap_used)]

use pft_tests::{root, shell};

/// A command of a page, and the lines of output that it promises.
struct Step {
    line: usize,
    command: String,
    output: Vec<String>,
}

/// The steps of a page, and the files that it gives.
fn read(page: &str) -> (Vec<Step>, Vec<(String, String)>) {
    let (mut steps, mut files): (Vec<Step>, Vec<(String, String)>) = Default::default();
    let mut lines = page.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let mut block: Vec<(usize, &str)> = Vec::new();
        for (number, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            block.push((number + 1, line));
        }
        if let Some((_, name)) = info.split_once(" file=") {
            let text: String = block.iter().map(|(_, line)| format!("{line}\n")).collect();
            files.push((name.to_string(), text));
        } else if info == "console" {
            for (line, text) in block {
                let goes_on = steps.last().is_some_and(|step| step.command.ends_with('\\'));
                match (text.strip_prefix("$ "), steps.last_mut()) {
                    (Some(command), _) => {
                        steps.push(Step { line, command: command.into(), output: Vec::new() });
                    }
                    (None, Some(step)) if goes_on => step.command += &format!("\n{text}"),
                    (None, Some(step)) => step.output.push(text.to_string()),
                    (None, None) => panic!("line {line}: output of no command"),
                }
            }
        }
    }
    (steps, files)
}

/// Whether a line is as promised, `…` being anything.
fn is_like(line: &str, promised: &str) -> bool {
    let mut parts = promised.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut last = first;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = part;
    }
    rest.is_empty() || last.is_empty() && promised.ends_with('…')
}

/// Runs a page to its end.
fn run(name: &str) {
    let page = std::fs::read_to_string(root().join("docs").join(name)).unwrap();
    let (steps, files) = read(&page);
    assert!(!steps.is_empty(), "{name} has no command");
    let folder = tempfile::tempdir().unwrap();
    for shared in ["configs", "data", "pipelines"] {
        std::os::unix::fs::symlink(root().join(shared), folder.path().join(shared)).unwrap();
    }
    for (file, text) in files {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    for step in steps {
        let finished = shell(&step.command, folder.path());
        let place = format!("docs/{name}:{}: {}", step.line, step.command);
        let printed = format!("{}{}", finished.stdout, finished.stderr);
        assert_eq!(finished.code, 0, "{place}\n{printed}");
        for promised in &step.output {
            let found = printed.lines().any(|line| is_like(line, promised));
            assert!(found, "{place}\ndid not print {promised:?}, but\n{printed}");
        }
    }
}

#[test]
fn own_corpus() {
    run("own-corpus.md");
}

#[test]
fn own_recognizer() {
    run("own-recognizer.md");
}

#[test]
fn compare_defences() {
    run("compare-defences.md");
}

#[test]
fn read_a_privacy_statement() {
    run("read-a-privacy-statement.md");
}

/// A page that no test runs would go stale.
#[test]
fn every_page_with_commands_is_run() {
    let source = include_str!("docs.rs");
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "md") {
            let page = std::fs::read_to_string(&path).unwrap();
            let is_run = source.contains(&format!("run(\"{name}\")"));
            assert_eq!(is_run, !read(&page).0.is_empty(), "{name}");
        }
    }
}

#[test]
fn lines_are_compared_with_gaps() {
    assert!(is_like("mine: 6 ran, 0 cached (1.2 s)", "mine: 6 ran, 0 cached (…)"));
    assert!(!is_like("mine: 6 ran, 1 cached (1.2 s)", "mine: 6 ran, 0 cached (…)"));
    assert!(is_like("a b c", "a…"));
    assert!(is_like("a b c", "…c"));
    assert!(!is_like("a b c", "a b"));
}
