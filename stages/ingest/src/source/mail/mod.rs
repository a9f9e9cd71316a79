//! RFC 822 messages: maildirs, trees with one message a file such as the Enron corpus, and mbox
//! files. `mail-parser` undoes multipart, quoted-printable, base64 and charsets.

mod charset;
mod mbox;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::iter;
use std::sync::Arc;

use mail_parser::{HeaderName, HeaderValue, Message, MessageParser};
use pft_stage::StageError;

use self::charset::Unreadable;
use self::mbox::{Messages, is_mbox};
use super::contents::{Contents, read_whole};
use super::discover::{Found, expand, refuse_repeated};
use super::failure::unreadable;
use super::text::file_name;
use crate::config::{InvalidText, SourceKind, Unit};
use crate::document::{Documents, RawDocument};
use crate::reading::Reading;

/// Read from a file at once.
const BUFFER: usize = 1 << 16;

/// The unit of all messages that do not say who they are from.
const NO_SENDER: &str = "(no sender)";

/// Opens the messages below the config's paths.
pub(super) fn open(reading: &Reading) -> Result<Documents, StageError> {
    let mut files = Vec::new();
    for path in &reading.paths {
        files.extend(expand(&path.0, is_message)?);
    }
    files.retain(|found| !in_delivery(found));
    refuse_repeated(&files, id_of_file)?;
    let reader = Arc::new(Reader::new(reading)?);
    Ok(Box::new(files.into_iter().flat_map(move |found| reader.clone().documents(found))))
}

/// How messages become documents.
pub(super) struct Reader {
    parser: MessageParser,
    /// Headers put above the text.
    headers: Vec<HeaderName<'static>>,
    /// Headers that are read at all.
    wanted: Vec<HeaderName<'static>>,
    rule: Option<Unit>,
    invalid: InvalidText,
    /// Whether messages were text before they came here, decoded by whoever read the file.
    decoded: bool,
}

impl Reader {
    /// A reader of messages in files, or in the columns of another source.
    pub(super) fn new(reading: &Reading) -> Result<Self, StageError> {
        let (config, rule) = (&reading.config, reading.unit);
        let headers: Vec<HeaderName<'static>> = config
            .headers
            .iter()
            .map(|name| {
                HeaderName::parse(name.clone()).ok_or_else(|| {
                    StageError::config(format!("headers: {name:?} is not the name of a header"))
                })
            })
            .collect::<Result<_, _>>()?;
        let mut wanted = headers.clone();
        if rule == Some(Unit::Sender) {
            wanted.extend([HeaderName::From, HeaderName::Sender]);
        }
        let parser = MessageParser::default();
        let decoded = reading.source != SourceKind::Maildir;
        Ok(Self { parser, headers, wanted, rule, invalid: config.invalid_text, decoded })
    }

    /// The message of a file, or the messages of an mbox.
    fn documents(self: Arc<Self>, found: Found) -> Documents {
        let opened = Contents::open(&found.path).and_then(|contents| {
            let mut contents = BufReader::with_capacity(BUFFER, contents);
            let start = contents.fill_buf().map_err(|error| unreadable(&found.path, &error))?;
            Ok((is_mbox(start), contents))
        });
        let documents = match opened {
            Ok((true, contents)) => self.messages(found, contents),
            Ok((false, contents)) => {
                self.message(&found, contents).map(|one| Box::new(iter::once(Ok(one))) as Documents)
            }
            Err(error) => Err(error),
        };
        documents.unwrap_or_else(|error| Box::new(iter::once(Err(error))))
    }

    fn message(&self, found: &Found, contents: impl Read) -> Result<RawDocument, StageError> {
        let bytes = read_whole(&found.path, contents)?;
        let origin = found.path.display().to_string();
        self.document(&bytes, Some(id_of_file(found)), || Some(mailbox(found)), origin)
    }

    /// The messages of an mbox. Their numbers in the file would depend on the messages of other units
    /// before them, so that they are called by their contents; copies of a message are numbered.
    fn messages(
        self: Arc<Self>,
        found: Found,
        contents: BufReader<Contents>,
    ) -> Result<Documents, StageError> {
        let mut copies: HashMap<[u8; 16], u64> = HashMap::new();
        let messages = Messages::read(&found.path, contents)?;
        Ok(Box::new(messages.map(move |stored| {
            let stored = stored?;
            let (path, number, line) = (found.path.display(), stored.number, stored.line);
            let origin = format!("{path}: message {number} (line {line})");
            let hash = blake3::hash(&stored.bytes);
            let mut id = format!("{}/{}", id_of_file(&found), &hash.to_hex()[..32]);
            let mut key = [0; 16];
            key.copy_from_slice(&hash.as_bytes()[..16]);
            let count = copies.entry(key).or_default();
            *count += 1;
            if *count > 1 {
                id.push_str(&format!("-{count}"));
            }
            self.document(&stored.bytes, Some(id), || Some(mailbox_of_mbox(&found)), origin)
        })))
    }

    /// The document that a message is. `unit` says whose it is where the message itself does not.
    pub(super) fn document(
        &self,
        bytes: &[u8],
        doc_id: Option<String>,
        unit: impl FnOnce() -> Option<String>,
        origin: String,
    ) -> Result<RawDocument, StageError> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        if bytes.is_empty() {
            // Exports leave such files behind; `min_chars` counts and drops them.
            return Ok(RawDocument { doc_id, origin, ..Default::default() });
        }
        let refuse = |reason| refuse(&origin, reason);
        let bytes =
            charset::with_readable_headers(bytes, &self.wanted, self.invalid).map_err(refuse)?;
        let message = self
            .parser
            .parse(bytes.as_ref())
            .filter(|message| !message.headers().is_empty() && begins_with_a_header(&bytes))
            .ok_or_else(|| self.no_message(&origin))?;
        let unit_id = match self.rule {
            Some(Unit::Sender) => Some(sender(&message)),
            Some(Unit::Document) => None,
            _ => unit(),
        };
        let text = self.text(&message).map_err(refuse)?;
        Ok(RawDocument { doc_id, unit_id, text, origin, ..Default::default() })
    }

    fn no_message(&self, origin: &str) -> StageError {
        let what = "is not an RFC 822 message: it does not begin with headers";
        StageError::input(format!("{origin}: {what}")).with_help(if self.decoded {
            "`text_format: mail` is for a column of whole messages with their headers"
        } else {
            "take files that are no messages out of `path`; for a table with a message in each row set \
             `source` to its format, and `text_format: mail`"
        })
    }

    /// The headers asked for, then the message's text; of a message in HTML, its text.
    fn text(&self, message: &Message<'_>) -> Result<String, Unreadable> {
        let mut text = String::new();
        for name in &self.headers {
            if let Some(value) = message.header(name.clone()).and_then(header_text) {
                text.push_str(&format!("{}: {value}\n", name.as_str()));
            }
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let mut bodies = Vec::new();
        for index in 0..message.text_body_count() {
            bodies.extend(charset::body_text(message, index, self.invalid, self.decoded)?);
        }
        text.push_str(&bodies.join("\n"));
        // Line ends are of every kind, and may be doubled by a program on the way.
        Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
    }
}

/// Whether the first line is `Name: value`, as it is in no other kind of file. mbox files and programs
/// that handle them leave a `From ` line above.
fn begins_with_a_header(message: &[u8]) -> bool {
    let mut lines = message.split(|&byte| byte == b'\n');
    let first = lines.find(|line| !line.iter().all(u8::is_ascii_whitespace)).unwrap_or_default();
    if first.starts_with(b"From ") || first.starts_with(b">From ") {
        return true;
    }
    let Some(colon) = first.iter().position(|&byte| byte == b':') else {
        return false;
    };
    let name = first[..colon].trim_ascii_end();
    let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.iter().all(is_sign)
}

fn refuse(origin: &str, reason: Unreadable) -> StageError {
    let (what, repair) = match reason {
        Unreadable::Undeclared => (
            "has text that declares no charset and is not UTF-8",
            "read such bytes as windows-1252",
        ),
        Unreadable::NotUtf8 => {
            ("has text that declares UTF-8 and is not", "put U+FFFD in place of the invalid bytes")
        }
    };
    StageError::input(format!("{origin}: {what}"))
        .with_help(format!("mend the message, or set `invalid_text: repair` to {repair}"))
}

/// The path below the root. A maildir puts flags behind the name (`:2,RS`), which change as the
/// message is read.
fn id_of_file(found: &Found) -> String {
    let relative = found.relative();
    relative.split(":2,").next().unwrap_or(&relative).to_string()
}

/// Files that mail programs keep beside messages.
fn is_message(name: &str) -> bool {
    let index = ["maildirfolder", "maildirsize", "subscriptions"];
    let is_index = index.contains(&name) || name.ends_with(".msf");
    !name.starts_with('.') && !name.starts_with("dovecot") && !is_index
}

/// Whether a message is still being delivered, in the `tmp` of a maildir.
fn in_delivery(found: &Found) -> bool {
    let Some(folder) = found.path.parent() else {
        return false;
    };
    folder.ends_with("tmp") && folder.with_file_name("cur").is_dir()
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
fn mailbox(found: &Found) -> String {
    match found.relative().split_once('/') {
        Some((folder, _)) if folder != "cur" && folder != "new" && !folder.starts_with('.') => {
            folder.to_string()
        }
        _ => file_name(&found.root),
    }
}

/// The first folder below the root; an mbox that lies in the root is a mailbox by itself.
fn mailbox_of_mbox(found: &Found) -> String {
    match found.relative().split_once('/') {
        Some(_) => mailbox(found),
        None => file_name(&found.path),
    }
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
    use crate::config::{Config, Paths};

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
        for invalid_text in [InvalidText::Refuse, InvalidText::Repair] {
            let headers = ["subject", "from", "to", "date", "received"].map(str::to_string);
            let config = Config {
                source: SourceKind::Maildir,
                path: Some(Paths::One("/m".into())),
                headers: headers.into(),
                invalid_text,
                ..Config::default()
            };
            let reader = Reader::new(&Reading::of(config).unwrap()).unwrap();
            let id = Some(id_of_file(&found));
            match reader.document(bytes, id, || Some(mailbox(&found)), String::new()) {
                Ok(document) => {
                    assert_eq!(document.doc_id.as_deref(), Some("k/1"));
                    assert!(!document.text.contains('\r'));
                }
                Err(error) => assert_eq!(error.exit_code(), 3),
            }
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
