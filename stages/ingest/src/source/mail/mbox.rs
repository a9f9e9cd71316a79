//! The mbox format: many messages in one file, each after a line `From ADDRESS DATE`, which comes
//! after a blank line. A line of a message that begins so has a `>` before it.
//!
//! Programs differ in how well they keep to it. A message that is not told from the one before it
//! would become part of another sender's, so that whatever looks like such a line and is followed
//! by headers begins a message. One message is held in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use pft_stage::StageError;

use crate::source::discover::unreadable;

/// What the line before each message begins with.
const FROM: &[u8] = b"From ";

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Whether a file is an mbox.
pub(super) fn is_mbox(path: &Path) -> Result<bool, StageError> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FROM.len() as u64).read_to_end(&mut start))
        .map_err(|error| unreadable(path, &error))?;
    Ok(start == FROM)
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
    /// A line that was looked at and not yet taken.
    ahead: Option<Vec<u8>>,
    /// Lines taken so far.
    line: u64,
    /// Messages given so far.
    number: u64,
    at_end: bool,
}

impl Messages<BufReader<File>> {
    /// Opens a file for which [`is_mbox`] is true.
    pub(super) fn open(path: &Path) -> Result<Self, StageError> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        Self::read(path, BufReader::with_capacity(1 << 20, file))
    }
}

impl<R: BufRead> Messages<R> {
    fn read(path: &Path, reader: R) -> Result<Self, StageError> {
        let path = path.to_path_buf();
        let mut messages = Self { path, reader, ahead: None, line: 0, number: 0, at_end: false };
        messages.take_line()?;
        Ok(messages)
    }

    /// The next line with its end, or nothing at the end of the file.
    fn take_line(&mut self) -> Result<Option<Vec<u8>>, StageError> {
        let line = match self.ahead.take() {
            Some(line) => line,
            None => self.read_line()?,
        };
        self.line += u64::from(!line.is_empty());
        Ok(Some(line).filter(|line| !line.is_empty()))
    }

    fn peek_line(&mut self) -> Result<&[u8], StageError> {
        if self.ahead.is_none() {
            self.ahead = Some(self.read_line()?);
        }
        Ok(self.ahead.as_deref().unwrap_or_default())
    }

    fn read_line(&mut self) -> Result<Vec<u8>, StageError> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).map_err(|error| unreadable(&self.path, &error))?;
        Ok(line)
    }

    /// Whether a line begins a message rather than being part of one.
    fn begins_a_message(&mut self, line: &[u8], after_blank: bool) -> Result<bool, StageError> {
        if !line.starts_with(FROM) {
            return Ok(false);
        }
        let (has_date, before_header) = (has_date(line), looks_like_a_header(self.peek_line()?));
        Ok(if after_blank { has_date || before_header } else { has_date && before_header })
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
