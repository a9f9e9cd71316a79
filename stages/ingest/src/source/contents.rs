//! The bytes of a file, unpacked on the way where it is gzip or zstd. That is told by the first bytes:
//! a name may lie. Other packings are refused by their names, so that nobody looks for wrong characters
//! in what is no text.

use std::fs::File;
use std::io::{BufReader, Cursor, Error, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use pft_stage::StageError;

use super::failure::{Damaged, LONGEST_RECORD, not_read, too_long, unreadable};

/// How much is looked at to know what a file is: up to the magic of a tar archive.
const HEAD: usize = 512;

/// Read from the packed file at once.
const BUFFER: usize = 1 << 18;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    /// In a way that is not read.
    Other(&'static str),
}

/// A file's bytes as they were before it was packed.
pub(super) struct Contents(Box<dyn Read + Send>);

impl Contents {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be read, or is packed in a way that is not.
    pub(super) fn open(path: &Path) -> Result<Self, StageError> {
        let failed = |error: Error| unreadable(path, &error);
        let mut file = File::open(path).map_err(failed)?;
        let head = head_of(&mut file).map_err(failed)?;
        let packing_here = packing(&head);
        let whole = Cursor::new(head).chain(file);
        let mut unpacked: Box<dyn Read + Send> = match packing_here {
            None => return Ok(Self(Box::new(whole))),
            Some(Packing::Other(name)) => return Err(not_read(path, name)),
            Some(Packing::Gzip) => {
                let reader = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole));
                Box::new(Unpacked { from: "gzip", reader })
            }
            Some(Packing::Zstd) => {
                let whole = BufReader::with_capacity(BUFFER, whole);
                let reader = zstd::Decoder::with_buffer(whole).map_err(failed)?;
                Box::new(Unpacked { from: "zstd", reader })
            }
        };
        let head = head_of(&mut unpacked).map_err(failed)?;
        let inner = match packing(&head) {
            Some(Packing::Gzip) => Some("gzip within another packing"),
            Some(Packing::Zstd) => Some("zstd within another packing"),
            Some(Packing::Other(name)) => Some(name),
            None if head.starts_with(b"PAR1") => Some("Parquet within another packing"),
            None => None,
        };
        match inner {
            Some(name) => Err(not_read(path, name)),
            None => Ok(Self(Box::new(Cursor::new(head).chain(unpacked)))),
        }
    }
}

/// All that comes from a file, if it is not longer than one document may be.
pub(super) fn read_whole(path: &Path, contents: impl Read) -> Result<Vec<u8>, StageError> {
    let mut bytes = Vec::new();
    contents
        .take(LONGEST_RECORD as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() > LONGEST_RECORD {
        return Err(too_long(&path.display().to_string(), "document"));
    }
    Ok(bytes)
}

impl Read for Contents {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

/// A decoder whose complaints are known for damage.
struct Unpacked<R> {
    from: &'static str,
    reader: R,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let is_decoders = error.raw_os_error().is_none();
            if is_decoders && error.kind() != ErrorKind::Interrupted {
                Error::new(ErrorKind::InvalidData, Damaged { from: self.from })
            } else {
                error
            }
        })
    }
}

fn head_of(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    reader.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// How a file that begins so is packed.
fn packing(head: &[u8]) -> Option<Packing> {
    let skippable = |head: &[u8]| {
        head.first().is_some_and(|byte| byte & 0xF0 == 0x50)
            && head.get(1..4) == Some(&[0x2A, 0x4D, 0x18])
    };
    let others: [(&[u8], &str); 8] = [
        (b"\xFD7zXZ\0", "xz"),
        (b"PK\x03\x04", "zip"),
        (b"7z\xBC\xAF\x27\x1C", "7z"),
        (b"\x04\x22\x4D\x18", "lz4"),
        (b"\xFF\x06\0\0sNaPpY", "snappy"),
        (b"Rar!\x1A\x07", "rar"),
        (b"\x1F\x9D", "compress (.Z)"),
        (b"]\0\0", "lzma"),
    ];
    if head.starts_with(b"\x1F\x8B") {
        return Some(Packing::Gzip);
    }
    if head.starts_with(b"\x28\xB5\x2F\xFD") || skippable(head) {
        return Some(Packing::Zstd);
    }
    if head.starts_with(b"BZh") && head.get(4..10) == Some(b"1AY&SY") {
        return Some(Packing::Other("bzip2"));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some(Packing::Other("a tar archive"));
    }
    others.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| Packing::Other(name))
}

/// What a file is packed with, if it is.
pub(super) fn packing_of(path: &Path) -> Result<Option<&'static str>, StageError> {
    let head = File::open(path)
        .and_then(|mut file| head_of(&mut file))
        .map_err(|error| unreadable(path, &error))?;
    Ok(packing(&head).map(|packing| match packing {
        Packing::Gzip => "gzip",
        Packing::Zstd => "zstd",
        Packing::Other(name) => name,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_not_taken_for_packed() {
        for text in ["BZhang said", "PK\n", "]\n", "", "]", "7z", "P*"] {
            assert_eq!(packing(text.as_bytes()), None, "{text}");
        }
    }
}
