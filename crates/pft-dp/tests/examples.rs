//! The example for users of the library runs, and says what the accountant does.

use std::process::Command;

#[test]
fn account_accounts() {
    let folder = std::env::current_exe().unwrap();
    let folder = folder.ancestors().nth(2).unwrap().join("examples");
    let output = Command::new(folder.join("account")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let number = |line: &str, after: &str| -> f64 {
        let line =
            printed.lines().find(|l| l.starts_with(line)).unwrap_or_else(|| panic!("{line}"));
        let rest = &line[line.find(after).unwrap() + after.len()..];
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    // As `train epsilon` says in the README, by the tight accountant; Rényi's is looser.
    let epsilon = number("pld", "ε = ");
    assert!((epsilon - 2.1246).abs() < 1e-3, "{epsilon}");
    assert!(number("rdp", "ε = ") > epsilon);
    assert!(number("ε = 1", "multiplier of ") > 1.0);
    let both = number("both", "ε ≤ ");
    assert!(both > epsilon && both < epsilon + 1.0, "{both}");
}
