//! Documents put aside on disk, to be taken again in another order: the resident size stays that
//! of one document and eight bytes for each.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use pft_stage::StageError;

use crate::intake::Accepted;

/// Being written.
pub(crate) struct Spool {
    path: PathBuf,
    file: BufWriter<File>,
    offsets: Vec<u64>,
    length: u64,
}

/// Being read.
pub(crate) struct Spooled {
    path: PathBuf,
    file: File,
    offsets: Vec<u64>,
}

impl Spool {
    /// A spool file in `folder`; one that a killed attempt left is begun anew.
    pub(crate) fn create(folder: &Path) -> Result<Self, StageError> {
        let path = folder.join("documents.spool");
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| failed(&path, &error))?;
        Ok(Self { path, file: BufWriter::new(file), offsets: vec![0], length: 0 })
    }

    pub(crate) fn push(&mut self, document: &Accepted) -> Result<(), StageError> {
        for part in [&document.doc_id, &document.unit_id, &document.text] {
            let length = (part.len() as u64).to_le_bytes();
            self.file
                .write_all(&length)
                .and_then(|()| self.file.write_all(part.as_bytes()))
                .map_err(|error| failed(&self.path, &error))?;
            self.length += (length.len() + part.len()) as u64;
        }
        self.offsets.push(self.length);
        Ok(())
    }

    /// How many documents there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(crate) fn finish(self) -> Result<Spooled, StageError> {
        let file = self.file.into_inner().map_err(|error| failed(&self.path, error.error()))?;
        Ok(Spooled { path: self.path, file, offsets: self.offsets })
    }
}

impl Spooled {
    /// The document pushed as number `index`, from 0.
    pub(crate) fn get(&mut self, index: usize) -> Result<Accepted, StageError> {
        let (start, end) = (self.offsets[index], self.offsets[index + 1]);
        let mut bytes = vec![0; (end - start) as usize];
        self.file
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|error| failed(&self.path, &error))?;
        let mut rest = bytes.as_slice();
        let mut part = || {
            let (length, tail) = rest.split_first_chunk::<8>()?;
            let (part, tail) = tail.split_at_checked(u64::from_le_bytes(*length) as usize)?;
            rest = tail;
            String::from_utf8(part.to_vec()).ok()
        };
        match (part(), part(), part()) {
            (Some(doc_id), Some(unit_id), Some(text)) => {
                Ok(Accepted { doc_id, unit_id, text, turns: Vec::new(), spans: None })
            }
            _ => Err(StageError::bug(format!("{}: is damaged", self.path.display()))),
        }
    }

    pub(crate) fn remove(self) -> Result<(), StageError> {
        std::fs::remove_file(&self.path).map_err(|error| failed(&self.path, &error))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> StageError {
    StageError::failed_write(path, error)
        .with_help("check that the disk has room for a copy of the corpus, then run again")
}
