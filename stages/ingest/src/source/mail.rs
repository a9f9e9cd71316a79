//! Folders of RFC 822 messages: maildirs, and trees with one message a file such as the Enron
//! corpus. `mail-parser` undoes multipart, quoted-printable, base64 and charsets.

use mail_parser::{HeaderName, HeaderValue, Message, MessageParser};
use pft_stage::StageError;

use super::discover::{Found, expand, unreadable};
use super::text::file_name;
use super::{Documents, RawDocument};
use crate::config::{Config, SourceKind, Unit};

/// The unit of all messages that do not say who they are from.
const NO_SENDER: &str = "(no sender)";

/// Opens the messages below the config's paths.
pub(super) fn open(config: &Config) -> Result<Documents, StageError> {
    let mut files = Vec::new();
    for path in config.paths()? {
        files.extend(expand(&path.0, is_message)?);
    }
    files.retain(|found| !in_delivery(found));
    let rule = config.unit_rule(SourceKind::Maildir);
    let headers: Vec<HeaderName<'static>> = config
        .headers
        .iter()
        .map(|name| {
            HeaderName::parse(name.clone()).ok_or_else(|| {
                StageError::config(format!("headers: {name:?} is not the name of a header"))
            })
        })
        .collect::<Result<_, _>>()?;
    let parser = MessageParser::default();
    Ok(Box::new(files.into_iter().map(move |found| {
        let bytes = std::fs::read(&found.path).map_err(|error| unreadable(&found.path, &error))?;
        document(&found, &bytes, &parser, &headers, rule)
    })))
}

/// Files that mail programs keep beside messages.
fn is_message(name: &str) -> bool {
    let index = ["maildirfolder", "maildirsize", "subscriptions"];
    !name.starts_with('.') && !name.starts_with("dovecot") && !index.contains(&name)
}

/// Whether a message is still being delivered, in the `tmp` of a maildir.
fn in_delivery(found: &Found) -> bool {
    let Some(folder) = found.path.parent() else {
        return false;
    };
    folder.ends_with("tmp") && folder.with_file_name("cur").is_dir()
}

fn document(
    found: &Found,
    bytes: &[u8],
    parser: &MessageParser,
    headers: &[HeaderName<'static>],
    rule: Option<Unit>,
) -> Result<RawDocument, StageError> {
    let relative = found.relative();
    // A maildir puts flags behind the name (`:2,RS`), which change as the message is read.
    let doc_id = relative.split(":2,").next().unwrap_or(&relative).to_string();
    if bytes.is_empty() {
        // Exports leave such files behind; `min_chars` counts and drops them.
        return Ok(RawDocument {
            doc_id: Some(doc_id),
            origin: found.path.display().to_string(),
            ..Default::default()
        });
    }
    let message =
        parser.parse(bytes).filter(|message| !message.headers().is_empty()).ok_or_else(|| {
            StageError::input(format!(
                "{}: is not an RFC 822 message: it has no headers",
                found.path.display()
            ))
            .with_help("take files that are no messages out of `path`")
        })?;
    let unit_id = match rule {
        Some(Unit::Sender) => Some(sender(&message)),
        Some(Unit::Mailbox) => Some(mailbox(found, &relative)),
        _ => None,
    };
    Ok(RawDocument {
        doc_id: Some(doc_id),
        unit_id,
        text: text(&message, headers),
        origin: found.path.display().to_string(),
        ..Default::default()
    })
}

fn sender(message: &Message<'_>) -> String {
    [message.from(), message.sender()]
        .into_iter()
        .flatten()
        .filter_map(|address| address.first())
        .find_map(|address| address.address())
        .map(|address| address.trim().to_lowercase())
        .filter(|address| !address.is_empty())
        .unwrap_or_else(|| NO_SENDER.to_string())
}

/// The first folder below the root; the root itself where that is a maildir.
fn mailbox(found: &Found, relative: &str) -> String {
    match relative.split_once('/') {
        Some((folder, _)) if folder != "cur" && folder != "new" && !folder.starts_with('.') => {
            folder.to_string()
        }
        _ => file_name(&found.root),
    }
}

/// The headers asked for, then the message's text; of a message in HTML, its text.
fn text(message: &Message<'_>, headers: &[HeaderName<'static>]) -> String {
    let mut text = String::new();
    for name in headers {
        if let Some(value) = message.header(name.clone()).and_then(header_text) {
            text.push_str(&format!("{}: {value}\n", name.as_str()));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let bodies: Vec<_> =
        (0..message.text_body_count()).filter_map(|index| message.body_text(index)).collect();
    text.push_str(&bodies.join("\n"));
    // Line ends are of every kind, and may be doubled by a program on the way.
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn header_text(value: &HeaderValue<'_>) -> Option<String> {
    match value {
        HeaderValue::Text(text) => Some(text.to_string()),
        HeaderValue::TextList(texts) => Some(texts.join(", ")),
        HeaderValue::DateTime(date) => Some(date.to_rfc822()),
        HeaderValue::Address(addresses) => {
            let all: Vec<String> = addresses
                .iter()
                .map(|one| match (one.name(), one.address()) {
                    (Some(name), Some(address)) => format!("{name} <{address}>"),
                    (name, address) => name.or(address).unwrap_or_default().to_string(),
                })
                .collect();
            Some(all.join(", "))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    const SEEDS: [&[u8]; 3] = [
        b"From: =?utf-8?Q?J=C3=B6rg?= <a@b.org>\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
          Content-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n--b1\r\n\
          Content-Type: multipart/alternative; boundary=b2\r\n\r\n--b2\r\n\
          Content-Type: text/plain; charset=iso-8859-1\r\n\
          Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=\r\n=DFe\r\n--b2--\r\n--b1\r\n\
          Content-Type: message/rfc822\r\n\r\nFrom: c@d.org\r\n\r\ninner\r\n--b1--\r\n",
        b"From: a@b.org\nDate: Mon, 1 Jan 2001 10:00:00 +0100\nTo: x: y@z, w@v;\n\
          Content-Type: text/plain; charset=utf-7\nContent-Transfer-Encoding: base64\n\nz/Do4uXyCg==\n",
        b"Received: from a by b; Tue, 2 Jan 2001\nFrom: \"A (b) c\" <@r:d@e>\n\
          Content-Type: text/html; charset=shift_jis\n\n<p>x</p><!-- <b &amp; &#x110000; -->",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Damaged messages are read or refused, never a panic, and give valid text either way.
        #[test]
        fn damaged_messages_never_panic(
            seed in 0..SEEDS.len(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = SEEDS[seed].to_vec();
            for (place, byte, kind) in edits {
                let at = place.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    2 => drop(bytes.remove(at)),
                    _ => {
                        let copy = bytes[at..(at + 40).min(bytes.len())].to_vec();
                        bytes.extend(copy);
                    }
                }
            }
            if seed == 0 && cut.index(4) == 0 {
                bytes.truncate(cut.index(bytes.len()));
            }
            read_or_refuse(&bytes);
        }
    }

    /// Whatever the bytes, a message is read as valid text or refused.
    fn read_or_refuse(bytes: &[u8]) {
        let found = Found { root: PathBuf::from("/m"), path: PathBuf::from("/m/k/1") };
        let headers: Vec<HeaderName<'static>> = ["subject", "from", "to", "date", "received"]
            .into_iter()
            .filter_map(|name| HeaderName::parse(name.to_string()))
            .collect();
        assert_eq!(headers.len(), 5);
        match document(&found, bytes, &MessageParser::default(), &headers, Some(Unit::Sender)) {
            Ok(document) => {
                assert_eq!(document.doc_id.as_deref(), Some("k/1"));
                assert!(!document.text.contains('\r'));
            }
            Err(error) => assert_eq!(error.exit_code(), 3),
        }
    }

    /// What fuzzing found to reach many branches (tests/fixtures/fuzz/README.md).
    #[test]
    fn messages_that_fuzzing_found_are_read_or_refused() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/fuzz/mail.pack");
        let pack = std::fs::read(folder).unwrap();
        let (mut rest, mut count) = (&pack[..], 0);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (message, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            read_or_refuse(message);
            (rest, count) = (after, count + 1);
        }
        assert!(count > 200, "{count} messages");
    }
}
