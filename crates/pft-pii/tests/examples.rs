//! The example for users of the library runs.

use std::process::Command;

#[test]
fn scrub_text_scrubs() {
    let folder = std::env::current_exe().unwrap();
    let folder = folder.ancestors().nth(2).unwrap().join("examples");
    let text = "Mr Jan Kowalski (jan@example.pl) was born on 2 May 1961.";
    let output = Command::new(folder.join("scrub_text")).arg(text).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, "[PERSON] ([EMAIL]) was born on [DATE].\n");
}
