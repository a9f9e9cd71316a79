//! The mbox format: many messages in one file, each after a line `From ADDRESS DATE`, which comes
//! after a blank line. A line of a message that begins so has a `>` before it.
//!
//! Programs differ in how well they keep to it. Of two messages that are not told apart one would become
//! part of another sender's, and of a message that is cut in two the end would be nobody's. So what is
//! below such a line counts too ([`Below`]), and where neither can be said the file is refused. One
//! message is held in memory.

use std::collections::VecDeque;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use pft_stage::StageError;

use crate::source::failure::{LONGEST_RECORD, too_long, unreadable};

/// What the line before each message begins with.
const FROM: &[u8] = b"From ";

/// How many lines below a `From ` line are looked at.
const MOST_LOOKED_AT: usize = 60;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Fields that programs put into messages and people do not put into text.
const TECHNICAL_FIELDS: [&str; 6] =
    ["from", "message-id", "received", "return-path", "mime-version", "delivered-to"];

/// Other fields of mail.
const MAIL_FIELDS: [&str; 11] = [
    "to",
    "cc",
    "bcc",
    "date",
    "subject",
    "sender",
    "reply-to",
    "in-reply-to",
    "references",
    "status",
    "dkim-signature",
];

/// What the names of further fields of mail begin with.
const MAIL_PREFIXES: [&str; 4] = ["x-", "content-", "resent-", "list-"];

/// Whether a file that begins so is an mbox.
pub(super) fn is_mbox(start: &[u8]) -> bool {
    start.starts_with(FROM)
}

/// A message of an mbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The message as it was before it was put into the file.
    pub(super) bytes: Vec<u8>,
    /// Its number in the file, from 1.
    pub(super) number: u64,
    /// The line that it begins on, from 1.
    pub(super) line: u64,
}

/// The messages of an mbox in order. After an error there are no more.
pub(super) struct Messages<R> {
    path: PathBuf,
    reader: R,
    /// Lines that were looked at and not yet taken.
    ahead: VecDeque<Vec<u8>>,
    /// Lines taken so far.
    line: u64,
    /// Messages given so far.
    number: u64,
    at_end: bool,
}

impl<R: BufRead> Messages<R> {
    /// The messages of a file for which [`is_mbox`] is true.
    pub(super) fn read(path: &Path, reader: R) -> Result<Self, StageError> {
        let path = path.to_path_buf();
        let ahead = VecDeque::new();
        let mut messages = Self { path, reader, ahead, line: 0, number: 0, at_end: false };
        messages.take_line()?;
        Ok(messages)
    }

    /// The next line with its end, or nothing at the end of the file.
    fn take_line(&mut self) -> Result<Option<Vec<u8>>, StageError> {
        let line = match self.ahead.pop_front() {
            Some(line) => line,
            None => self.read_line()?,
        };
        self.line += u64::from(!line.is_empty());
        Ok(Some(line).filter(|line| !line.is_empty()))
    }

    /// The line that comes `distance` lines after the one that was taken last; empty behind the end.
    fn peek_line(&mut self, distance: usize) -> Result<&[u8], StageError> {
        while self.ahead.len() <= distance {
            let line = self.read_line()?;
            self.ahead.push_back(line);
        }
        Ok(&self.ahead[distance])
    }

    fn read_line(&mut self) -> Result<Vec<u8>, StageError> {
        let mut line = Vec::new();
        (&mut self.reader)
            .take(LONGEST_RECORD as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(&self.path, &error))?;
        if line.len() > LONGEST_RECORD {
            let place = format!("{}: after line {}", self.path.display(), self.line);
            return Err(too_long(&place, "line"));
        }
        Ok(line)
    }

    /// Whether a line begins a message rather than being part of one.
    fn begins_a_message(&mut self, line: &[u8], after_blank: bool) -> Result<bool, StageError> {
        if !line.starts_with(FROM) {
            return Ok(false);
        }
        if has_date(line) {
            return Ok(after_blank || looks_like_a_header(self.peek_line(0)?));
        }
        let below = self.below()?;
        if has_address(line) {
            return Ok(below != Below::Text);
        }
        if below != Below::Message {
            return Ok(false);
        }
        Err(StageError::input(format!(
            "{}:{}: may begin a message or be part of one: it begins with `From ` and has no date, and \
             headers come after it",
            self.path.display(),
            self.line
        ))
        .with_help(
            "put `>` before it if it is text; if it begins a message, write it as \
             `From ADDRESS Mon Jan  1 10:00:00 2001`",
        ))
    }

    /// What stands below the line that was taken last.
    fn below(&mut self) -> Result<Below, StageError> {
        let (mut fields, mut is_technical) = (0, false);
        for distance in 0..MOST_LOOKED_AT {
            let line = self.peek_line(distance)?;
            let is_folded = distance > 0 && (line.starts_with(b" ") || line.starts_with(b"\t"));
            if is_folded || line.starts_with(b">From ") {
                continue;
            }
            if is_blank(line) {
                let is_message = is_technical && fields > 1;
                return Ok(if is_message { Below::Message } else { Below::of(fields) });
            }
            if !looks_like_a_header(line) {
                return Ok(Below::of(fields));
            }
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            let technical = TECHNICAL_FIELDS.contains(&name.as_str());
            is_technical |= technical;
            let is_mail = technical
                || MAIL_FIELDS.contains(&name.as_str())
                || MAIL_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            fields += usize::from(is_mail);
        }
        Ok(if is_technical { Below::Message } else { Below::of(fields) })
    }

    /// The message whose `From ` line was taken.
    fn message(&mut self) -> Result<Stored, StageError> {
        self.number += 1;
        let mut stored = Stored { bytes: Vec::new(), number: self.number, line: self.line };
        let mut after_blank = false;
        loop {
            let Some(line) = self.take_line()? else {
                self.at_end = true;
                break;
            };
            if self.begins_a_message(&line, after_blank)? {
                break;
            }
            after_blank = is_blank(&line);
            let is_escaped = line
                .iter()
                .position(|&byte| byte != b'>')
                .is_some_and(|depth| depth > 0 && line[depth..].starts_with(FROM));
            stored.bytes.extend_from_slice(if is_escaped { &line[1..] } else { &line });
            if stored.bytes.len() > LONGEST_RECORD {
                let place = format!("{}:{}", self.path.display(), stored.line);
                return Err(too_long(&place, "message"));
            }
        }
        // The blank line before the next message is the file's, not the message's.
        for end in [&b"\r\n\r\n"[..], b"\n\n"] {
            if stored.bytes.ends_with(end) {
                stored.bytes.truncate(stored.bytes.len() - end.len() / 2);
                break;
            }
        }
        Ok(stored)
    }
}

impl<R: BufRead> Iterator for Messages<R> {
    type Item = Result<Stored, StageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at_end {
            return None;
        }
        let message = self.message();
        self.at_end |= message.is_err();
        Some(message)
    }
}

/// What stands below a line that may begin a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    /// A block of headers such as programs write, up to a blank line.
    Message,
    /// A header of mail.
    Header,
    /// No header of mail: `Tel: 5` is none.
    Text,
}

impl Below {
    fn of(fields: usize) -> Self {
        if fields > 0 { Self::Header } else { Self::Text }
    }
}

/// Whether a `From ` line names an address: one word, or one with an `@` before others.
fn has_address(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&line[FROM.len()..]);
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    first.contains('@') || words.next().is_none()
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// Whether a `From ` line ends in a date, in whatever form: a month, a time and a year.
fn has_date(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = |word: &str| word.contains(':') && word.split(':').all(is_number);
    let is_year = |word: &str| word.len() == 4 && is_number(word);
    text.split_whitespace().any(|word| MONTHS.contains(&word))
        && text.split_whitespace().any(is_time)
        && text.split_whitespace().any(is_year)
}

/// Whether a line is `Name: value`, or the second of two `From ` lines.
fn looks_like_a_header(line: &[u8]) -> bool {
    if line.starts_with(b">From ") {
        return true;
    }
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return false;
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(u8::is_ascii_graphic)
        && !value.starts_with(b"//")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(text: &[u8]) -> Vec<(u64, String)> {
        Messages::read(Path::new("a.mbox"), text)
            .unwrap()
            .map(|stored| {
                let stored = stored.unwrap();
                (stored.line, String::from_utf8_lossy(&stored.bytes).into_owned())
            })
            .collect()
    }

    #[test]
    fn messages_are_told_apart_and_unescaped() {
        let text =
            b"From a@b.org Mon Jan  1 10:00:00 2001\nFrom: a@b.org\n\n>From here\n>>From x\n\
            From there\n\nFrom now on:\n\nFrom - Tue Feb 13 01:02:03 2001\r\nX: y\r\n\r\nb\r\n\r\n\
            From c\nSubject: no date\n\n\n\nFrom d Sat Jan  3 01:05 1996\n";
        let expected = [
            (1, "From: a@b.org\n\n>From here\n>>From x\nFrom there\n\nFrom now on:\n"),
            (10, "X: y\r\n\r\nb\r\n"),
            (15, "Subject: no date\n\n\n"),
            (20, ""),
        ];
        let unescape = |text: &str| text.replace(">From h", "From h").replace(">>", ">");
        let expected = expected.map(|(line, text)| (line, unescape(text)));
        assert_eq!(messages(text), expected);
    }

    #[test]
    fn a_lost_blank_line_does_not_hide_a_message() {
        let text = b"From a Mon Jan  1 10:00:00 2001\nA: 1\n\nx\nFrom b Mon Jan  1 10:00:00 2001\n\
            B: 2\n\ny\nFrom b Mon Jan  1 10:00:00 2001\nwas his name";
        let expected =
            [(1, "A: 1\n\nx\n"), (5, "B: 2\n\ny\nFrom b Mon Jan  1 10:00:00 2001\nwas his name")];
        assert_eq!(messages(text), expected.map(|(line, text)| (line, text.to_string())));
    }

    fn lines_of_messages(text: &str) -> Vec<u64> {
        messages(text.as_bytes()).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn a_line_without_a_date_begins_a_message_before_headers_of_mail() {
        let bare = "From ann@x.org\nFrom: ann@x.org\n\none\nFrom bob\nSubject: b\n\ntwo\n\
                    From zoe@x.org 2001-02-03\nX-A: c\n\nthree\n";
        assert_eq!(lines_of_messages(bare), [1, 5, 9]);
        let start = "From a Mon Jan  1 10:00:00 2001\nA: 1\n\nx\n\n";
        for text in [
            "From the desk of the board\nTel: 12\nFax: 13\n\nDear all\n",
            "From the desk of the board\nTo: all staff\nSubject: lunch\n\nDear all\n",
            "From Bonn\nTel: 12\n",
            "From here on\nFrom: a line that begins so\n",
            "From ann@x.org we heard\nnothing\n",
        ] {
            assert_eq!(lines_of_messages(&format!("{start}{text}")), [1], "{text}");
        }
    }

    #[test]
    fn what_could_be_either_is_refused() {
        let text = b"From a Mon Jan  1 10:00:00 2001\nA: 1\n\nx\n\nFrom the old archive\n\
            From: b@x.org\nDate: Tue\n\ny\n";
        let mut all = Messages::read(Path::new("a.mbox"), &text[..]).unwrap();
        let error = all.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("a.mbox:6: may begin a message"), "{error}");
        assert!(!error.contains("archive"), "{error}");
        assert!(all.next().is_none());
    }

    #[test]
    fn only_headers_look_like_headers() {
        for line in ["Received: x", "X-Mozilla-Status: 0001\r\n", ">From a b", "subject:"] {
            assert!(looks_like_a_header(line.as_bytes()), "{line}");
        }
        for line in ["", "we met: there", "http://x.org", ": x", "12:30", "no colon"] {
            assert!(!looks_like_a_header(line.as_bytes()), "{line}");
        }
    }

    proptest! {
        /// What is written by the book comes back.
        #[test]
        fn written_messages_come_back(bodies in prop::collection::vec(
            prop::collection::vec("(|x|>|From |>From |>>From )(|y|: z|Jan)", 0..6), 1..6,
        )) {
            let mut file = String::new();
            let mut expected = Vec::new();
            for body in &bodies {
                file.push_str("From a@b.org Mon Jan  1 10:00:00 2001\nFrom: a@b.org\n\n");
                for line in body {
                    let from = line.trim_start_matches('>').starts_with("From ");
                    file.push_str(if from { ">" } else { "" });
                    file.push_str(line);
                    file.push('\n');
                }
                file.push('\n');
                let lines: String = body.iter().map(|line| format!("{line}\n")).collect();
                expected.push(format!("From: a@b.org\n\n{lines}"));
            }
            let found: Vec<String> =
                messages(file.as_bytes()).into_iter().map(|(_, text)| text).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
