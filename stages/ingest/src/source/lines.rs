//! Reading a text file in blocks of whole records, each checked to be UTF-8, with line numbers.
//!
//! Blocks instead of one memory map: the resident size stays that of a block however large the
//! file is, and a message can name the line.

use std::io::Read;
use std::path::{Path, PathBuf};

use pft_stage::StageError;

use super::contents::Contents;
use super::failure::{LONGEST_RECORD, too_long, unreadable};
use crate::config::InvalidText;

/// How much is read at once. A record that is longer makes its block longer.
const BLOCK_BYTES: usize = 8 << 20;

/// Whole records of a file.
#[derive(Debug)]
pub(super) struct Block {
    /// The text, which ends at a record's end.
    pub(super) text: String,
    /// The number of its first line, from 1.
    pub(super) first_line: u64,
}

/// Where a record ends: from the text of a block that starts at a record's start, the length of
/// all records that are complete in it.
pub(super) type CompleteLength = Box<dyn Fn(&[u8]) -> usize + Send>;

/// Reads a file block by block.
pub(super) struct Blocks {
    path: PathBuf,
    contents: Contents,
    rest: Vec<u8>,
    line: u64,
    at_start: bool,
    at_end: bool,
    complete_length: CompleteLength,
    invalid: InvalidText,
}

impl Blocks {
    pub(super) fn open(
        path: &Path,
        complete_length: CompleteLength,
        invalid: InvalidText,
    ) -> Result<Self, StageError> {
        Ok(Self {
            path: path.to_path_buf(),
            contents: Contents::open(path)?,
            rest: Vec::new(),
            line: 1,
            at_start: true,
            at_end: false,
            complete_length,
            invalid,
        })
    }

    /// The next block, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Block>, StageError> {
        let mut wanted = BLOCK_BYTES;
        loop {
            self.fill(wanted)?;
            let length =
                if self.at_end { self.rest.len() } else { (self.complete_length)(&self.rest) };
            if length > 0 {
                let rest = self.rest.split_off(length);
                let bytes = std::mem::replace(&mut self.rest, rest);
                return self.block(bytes).map(Some);
            }
            if self.at_end {
                return Ok(None);
            }
            if self.rest.len() > LONGEST_RECORD {
                let place = format!("{}:{}", self.path.display(), self.line);
                return Err(too_long(&place, "line or record"));
            }
            wanted = (self.rest.len() * 2).min(LONGEST_RECORD + 1);
        }
    }

    fn fill(&mut self, wanted: usize) -> Result<(), StageError> {
        let missing = wanted.saturating_sub(self.rest.len());
        self.rest.reserve(missing);
        let read = (&mut self.contents)
            .take(missing as u64)
            .read_to_end(&mut self.rest)
            .map_err(|error| unreadable(&self.path, &error))?;
        self.at_end = read < missing;
        if std::mem::take(&mut self.at_start) {
            if self.rest.starts_with(b"\xEF\xBB\xBF") {
                self.rest.drain(..3);
            } else if self.rest.starts_with(b"\xFF\xFE") || self.rest.starts_with(b"\xFE\xFF") {
                return Err(StageError::input(format!(
                    "{}: is UTF-16, not UTF-8",
                    self.path.display()
                ))
                .with_help("convert it, for example with `iconv -f UTF-16 -t UTF-8`"));
            }
        }
        Ok(())
    }

    fn block(&mut self, bytes: Vec<u8>) -> Result<Block, StageError> {
        let first_line = self.line;
        self.line += count_lines(&bytes);
        let text = valid_text(bytes, self.invalid)
            .map_err(|valid| invalid_utf8(&self.path, first_line + count_lines(&valid)))?;
        Ok(Block { text, first_line })
    }
}

/// Text from bytes; the error is what comes before the first byte that is not UTF-8.
pub(super) fn valid_text(bytes: Vec<u8>, invalid: InvalidText) -> Result<String, Vec<u8>> {
    String::from_utf8(bytes).or_else(|error| match invalid {
        InvalidText::Repair => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        InvalidText::Refuse => {
            let valid = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            bytes.truncate(valid);
            Err(bytes)
        }
    })
}

/// The message for a line that is not UTF-8.
pub(super) fn invalid_utf8(path: &Path, line: u64) -> StageError {
    StageError::input(format!("{}:{line}: is not valid UTF-8", path.display())).with_help(
        "convert the file to UTF-8 (`iconv` does), or set `invalid_text: repair` to put U+FFFD in \
         place of the invalid bytes",
    )
}

pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Records that are lines.
pub(super) fn complete_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(contents: &[u8], invalid: InvalidText) -> Result<Vec<Block>, StageError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        std::fs::write(&path, contents).unwrap();
        let mut blocks = Blocks::open(&path, Box::new(complete_lines), invalid)?;
        let mut all = Vec::new();
        while let Some(block) = blocks.next()? {
            all.push(block);
        }
        Ok(all)
    }

    #[test]
    fn blocks_are_whole_lines_and_lose_nothing() {
        let line = format!("{}\n", "x".repeat(999));
        let contents = line.repeat(20_000) + "last";
        let blocks = blocks(contents.as_bytes(), InvalidText::Refuse).unwrap();
        assert!(blocks.len() > 2);
        let joined: String = blocks.iter().map(|block| block.text.as_str()).collect();
        assert_eq!(joined, contents);
        let mut line = 1;
        for block in &blocks[..blocks.len() - 1] {
            assert!(block.text.ends_with('\n'));
            assert_eq!(block.first_line, line);
            line += block.text.matches('\n').count() as u64;
        }
    }

    #[test]
    fn a_line_longer_than_a_block_is_one_block() {
        let contents = format!("{}\nb\n", "é".repeat(BLOCK_BYTES));
        let blocks = blocks(contents.as_bytes(), InvalidText::Refuse).unwrap();
        let joined: String = blocks.iter().map(|block| block.text.as_str()).collect();
        assert!(joined == contents);
        assert_eq!(blocks[0].first_line, 1);
    }

    #[test]
    fn the_line_of_an_invalid_byte_is_named() {
        let message = blocks(b"a\nb\nc\xFFd\n", InvalidText::Refuse).unwrap_err().to_string();
        assert!(message.contains("x.jsonl:3: is not valid UTF-8"), "{message}");
        let repaired = blocks(b"\xEF\xBB\xBFc\xFFd\n", InvalidText::Repair).unwrap();
        assert_eq!(repaired[0].text, "c\u{FFFD}d\n");
        assert!(blocks(b"\xFF\xFEa\0", InvalidText::Repair).is_err());
    }
}
