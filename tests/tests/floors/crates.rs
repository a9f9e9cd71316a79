//! The crates of the workspace, and what ARCHITECTURE.md says of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// A crate.
pub(crate) struct Member {
    /// Its package's name.
    pub(crate) name: String,
    /// Its folder, from the root of the checkout: `crates/pft-dp`.
    pub(crate) place: String,
    pub(crate) folder: PathBuf,
    /// What its code depends on, tests and benches apart.
    pub(crate) dependencies: BTreeSet<String>,
}

/// All crates of the workspace.
pub(crate) fn members() -> Vec<Member> {
    let root = pft_tests::root();
    let mut members = Vec::new();
    for parent in ["crates", "stages"] {
        let entries = std::fs::read_dir(root.join(parent)).expect("the folder is there");
        for entry in entries {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            members.push(member(&format!("{parent}/{name}")));
        }
    }
    members.push(member("tests"));
    members.sort_by(|a, b| a.place.cmp(&b.place));
    members
}

fn member(place: &str) -> Member {
    let folder = pft_tests::root().join(place);
    let text = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a crate's Cargo.toml");
    let (mut section, mut name, mut dependencies) = ("", None, BTreeSet::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix('[') {
            section = title.split(']').next().unwrap_or_default();
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim().split('.').next().unwrap_or_default();
            if section == "package" && key == "name" {
                name = Some(value.trim().trim_matches('"').to_string());
            }
            // `[dependencies]` and `[target.….dependencies]`.
            if section == "dependencies" || section.ends_with(".dependencies") {
                dependencies.insert(key.to_string());
            }
        }
    }
    let name = name.expect("a package's name");
    Member { name, place: place.to_string(), folder, dependencies }
}

/// A row of the table of crates.
pub(crate) struct Row {
    /// `crates/pft-dp`, or `stages/*` for each of them.
    place: String,
    /// What stands in backticks in the column "leans on".
    pub(crate) names: BTreeSet<String>,
    /// Whether it says "the crates".
    all_crates: bool,
}

impl Row {
    pub(crate) fn covers(&self, place: &str) -> bool {
        match self.place.strip_suffix('*') {
            Some(folder) => place.starts_with(folder),
            None => self.place == place,
        }
    }

    pub(crate) fn allows(&self, name: &str, members: &[Member]) -> bool {
        let in_crates =
            |member: &Member| member.name == name && member.place.starts_with("crates/");
        self.names.contains(name) || self.all_crates && members.iter().any(in_crates)
    }
}

/// The rows below a heading like `| crate | what it is for | leans on |`, cells without white space
/// around them.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(pft_tests::root().join("ARCHITECTURE.md"))
        .expect("ARCHITECTURE.md is there");
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "ARCHITECTURE.md has no table with the heading {heading}");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
    };
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_string)
}

/// The table of crates.
pub(crate) fn table() -> Vec<Row> {
    let rows = rows("| crate | what it is for | leans on |");
    let row = |cells: Vec<String>| Row {
        place: quoted(&cells[0]).next().expect("a crate in backticks"),
        names: quoted(&cells[2]).collect(),
        all_crates: cells[2].contains("the crates"),
    };
    rows.into_iter().map(row).collect()
}

/// The table of libraries that few crates may use: packages, and the crates that use them.
pub(crate) fn libraries() -> Vec<(BTreeSet<String>, BTreeSet<String>)> {
    let rows = rows("| library | only in |");
    rows.iter().map(|cells| (quoted(&cells[0]).collect(), quoted(&cells[1]).collect())).collect()
}
