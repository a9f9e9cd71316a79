//! Whatever the bytes, a mail is read as text or refused as bad input.

#![no_main]

use ingest::config::{Config, InvalidText, Paths, SourceKind};
use libfuzzer_sys::fuzz_target;
use pft_stage::OutsidePath;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mailbox = folder.path().join("someone");
    std::fs::create_dir(&mailbox).expect("room for it");
    std::fs::write(mailbox.join("1"), bytes).expect("room for it");
    let path = OutsidePath(folder.path().to_string_lossy().into_owned());
    for invalid_text in [InvalidText::Refuse, InvalidText::Repair] {
        let headers = ["subject", "from", "to", "date", "received"].map(str::to_string);
        let config = Config {
            source: SourceKind::Maildir,
            path: Some(Paths::One(path.clone())),
            headers: headers.into(),
            invalid_text,
            ..Config::default()
        };
        let opened = match ingest::open(config) {
            Ok(opened) => opened,
            Err(error) => return assert_eq!(error.exit_code(), 3, "{error}"),
        };
        for document in opened.documents {
            match document {
                Ok(document) => assert!(!document.text.contains('\r')),
                Err(error) => assert_eq!(error.exit_code(), 3, "{error}"),
            }
        }
    }
});
