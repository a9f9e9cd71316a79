//! The floors of the house: no file of a crate leans on one that leans on it, and no crate leans on
//! one that ARCHITECTURE.md does not allow.

mod crates;
mod graph;
mod paths;
mod tree;

use std::collections::BTreeSet;

use tree::Tree;

#[test]
fn no_two_files_lean_on_each_other() {
    let (mut faults, mut files) = (Vec::new(), 0);
    for member in crates::members() {
        let tree = Tree::read(&member.folder.join("src"));
        files += tree.files.len();
        let edges = paths::edges(&tree);
        let circles = graph::circles(tree.files.len(), &edges);
        let name = |file: &usize| tree.files[*file].display();
        for circle in circles {
            faults.push(format!("files of {} lean on each other:", member.name));
            for ((from, to), line) in &edges {
                if circle.contains(from) && circle.contains(to) {
                    faults.push(format!("  {}:{line} leans on {}", name(from), name(to)));
                }
            }
        }
    }
    assert!(files > 300, "only {files} files were read");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn crates_lean_on_what_the_architecture_allows() {
    let mut faults = Vec::new();
    let table = crates::table();
    let members = crates::members();
    let own: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    for member in &members {
        let leans: BTreeSet<&str> = member
            .dependencies
            .iter()
            .map(String::as_str)
            .filter(|name| own.contains(name) && *name != "workspace-hack")
            .collect();
        if member.name == "workspace-hack" {
            continue;
        }
        let Some(allowed) = table.iter().find(|row| row.covers(&member.place)) else {
            faults.push(format!("{} has no row", member.place));
            continue;
        };
        for name in &leans {
            if !allowed.allows(name, &members) {
                faults.push(format!("{} leans on {name}", member.place));
            }
        }
        for name in allowed.names.iter().filter(|name| own.contains(name.as_str())) {
            if !leans.contains(name.as_str()) {
                faults.push(format!("{} does not lean on {name}", member.place));
            }
        }
    }
    assert!(faults.is_empty(), "against the table of ARCHITECTURE.md:\n{}", faults.join("\n"));
}

#[test]
fn libraries_stay_in_the_crates_that_the_architecture_names() {
    let rooms = crates::libraries();
    assert!(rooms.len() >= 3, "the table of libraries is gone");
    let mut faults = Vec::new();
    for (libraries, allowed) in &rooms {
        let mut users = BTreeSet::new();
        for member in crates::members().iter().filter(|member| member.name != "workspace-hack") {
            if libraries.iter().any(|library| member.dependencies.contains(library)) {
                users.insert(member.name.clone());
            }
        }
        if users != *allowed {
            faults.push(format!("{libraries:?} are used in {users:?}, the table says {allowed:?}"));
        }
    }
    assert!(faults.is_empty(), "against ARCHITECTURE.md:\n{}", faults.join("\n"));
}
