//! Finished work, by text: a backend's spans of every text it has tagged.
//!
//! A folder for each backend's fingerprint holds append-only segments. A record is the text's BLAKE3,
//! the length of its payload, the payload, and a checksum; a record that is damaged or torn counts as not
//! there, so a process killed at any moment loses only its last batch. A segment has one writer at a time,
//! so any number of processes may share a folder.

mod recalled;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pft_pii::{Span, Tagger};
use pft_stage::{Stage as _, StageError};
use serde::de::Deserializer as _;
use serde::ser::Serializer as _;

use crate::TagPii;
pub use recalled::Recalled;
use recalled::Rows;

/// Bumped when windows or the record's form change. The stage's own revision counts too.
const REVISION: u32 = 1;
const CHECKSUM: usize = 8;
const HEADER: usize = 32 + 4;

/// A text's BLAKE3.
pub type TextHash = [u8; 32];

struct Place {
    segment: usize,
    offset: u64,
    len: u32,
}

struct Segment {
    file: File,
    /// Behind its last whole record.
    end: u64,
}

/// One backend's finished work.
pub struct Cache {
    folder: PathBuf,
    source: Arc<str>,
    places: HashMap<TextHash, Place>,
    segments: Vec<Segment>,
    /// The segment that this process writes, and its length.
    own: Option<(usize, u64)>,
}

impl Cache {
    /// Opens the finished work of a backend below `root`.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(root: &Path, tagger: &dyn Tagger) -> Result<Self, StageError> {
        let key = blake3::hash(
            format!("{REVISION} {} {}", TagPii::REVISION, tagger.fingerprint()).as_bytes(),
        )
        .to_hex();
        let folder = root.join(format!("{}-{}", tagger.name(), &key[..32]));
        std::fs::create_dir_all(&folder).map_err(|error| unusable(&folder, &error))?;
        let mut cache = Self {
            source: tagger.name().into(),
            places: HashMap::new(),
            segments: Vec::new(),
            own: None,
            folder,
        };
        for number in 0.. {
            let path = cache.segment_path(number);
            match OpenOptions::new().read(true).open(&path) {
                Ok(file) => cache.index(file).map_err(|error| unusable(&path, &error))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
                Err(error) => return Err(unusable(&path, &error)),
            }
        }
        Ok(cache)
    }

    fn segment_path(&self, number: usize) -> PathBuf {
        self.folder.join(format!("segment-{number:05}"))
    }

    fn index(&mut self, file: File) -> std::io::Result<()> {
        self.segments.push(Segment { file, end: 0 });
        self.catch_up(self.segments.len() - 1)
    }

    /// Takes in what stands in a segment behind what is known of it.
    fn catch_up(&mut self, number: usize) -> std::io::Result<()> {
        let Segment { file, end: offset } = &mut self.segments[number];
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(*offset))?;
        let mut reader = BufReader::with_capacity(1 << 20, &*file);
        let mut payload = Vec::new();
        loop {
            let mut header = [0; HEADER];
            if length.saturating_sub(*offset) < (HEADER + CHECKSUM) as u64 {
                break;
            }
            reader.read_exact(&mut header)?;
            let mut hash = [0; 32];
            hash.copy_from_slice(&header[..32]);
            let len = u32::from_le_bytes([header[32], header[33], header[34], header[35]]);
            if length - *offset < (HEADER + CHECKSUM) as u64 + u64::from(len) {
                break;
            }
            payload.resize(len as usize, 0);
            reader.read_exact(&mut payload)?;
            let mut found = [0; CHECKSUM];
            reader.read_exact(&mut found)?;
            // A damaged record's text is tagged again; what follows may be sound.
            if found == checksum(&hash, &payload) {
                let place = Place { segment: number, offset: *offset + HEADER as u64, len };
                self.places.insert(hash, place);
            }
            *offset += (HEADER + CHECKSUM) as u64 + u64::from(len);
        }
        Ok(())
    }

    /// Whether the text has been tagged.
    pub fn holds(&self, hash: &TextHash) -> bool {
        self.places.contains_key(hash)
    }

    /// The spans of a text that has been tagged, as far as their labels are wanted.
    ///
    /// # Errors
    /// When the record is not there, or cannot be read any more.
    pub fn get(
        &self,
        hash: &TextHash,
        wanted: impl Fn(&Arc<str>) -> bool,
    ) -> Result<Recalled, StageError> {
        let lost = |reason: &str| {
            StageError::bug(format!("{}: a finished text {reason}", self.folder.display()))
                .with_help("delete the folder and run again")
        };
        let place = self.places.get(hash).ok_or_else(|| lost("is not there"))?;
        let mut payload = vec![0; place.len as usize + CHECKSUM];
        self.segments[place.segment]
            .file
            .read_exact_at(&mut payload, place.offset)
            .map_err(|error| lost(&format!("cannot be read: {error}")))?;
        let (payload, sum) = payload.split_at(place.len as usize);
        if sum != checksum(hash, payload) {
            return Err(lost("is damaged"));
        }
        let mut reader = serde_json::Deserializer::from_slice(payload);
        let rows = Rows { source: &self.source, wanted };
        reader.deserialize_seq(rows).map_err(|_| lost("is damaged"))
    }

    /// Adds finished texts; they are on disk when this returns.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn add(&mut self, texts: &[(TextHash, &[Span])]) -> Result<(), StageError> {
        if texts.is_empty() {
            return Ok(());
        }
        let (segment, mut length) = match self.own {
            Some(own) => own,
            None => self.open_segment()?,
        };
        let mut records = Vec::new();
        for (hash, spans) in texts {
            records.extend_from_slice(hash);
            let header = records.len();
            records.extend_from_slice(&[0; 4]);
            let payload = records.len();
            serde_json::Serializer::new(&mut records)
                .collect_seq(spans.iter().map(|s| (s.start, s.end, s.score.to_bits(), &*s.label)))
                .map_err(|error| StageError::bug(error.to_string()))?;
            let len = u32::try_from(records.len() - payload)
                .map_err(|_| StageError::input("a document has more entities than fit in 4 GiB"))?;
            records[header..payload].copy_from_slice(&len.to_le_bytes());
            self.places.insert(*hash, Place { segment, offset: length + payload as u64, len });
            let checksum = checksum(hash, &records[payload..]);
            records.extend_from_slice(&checksum);
        }
        (&self.segments[segment].file)
            .write_all(&records)
            .map_err(|error| unusable(&self.folder, &error))?;
        length += records.len() as u64;
        self.segments[segment].end = length;
        self.own = Some((segment, length));
        Ok(())
    }

    /// A segment that no other process writes: the first one that is free, or a new one. So there are no
    /// more of them than processes ever wrote at once.
    fn open_segment(&mut self) -> Result<(usize, u64), StageError> {
        for number in 0.. {
            let path = self.segment_path(number);
            let failed = |error| unusable(&path, &error);
            let mut options = OpenOptions::new();
            options.read(true).append(true);
            let is_known = number < self.segments.len();
            let file = match options.clone().create_new(!is_known).open(&path) {
                Ok(file) => file,
                // Another process began it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    let file = options.open(&path).map_err(failed)?;
                    self.index(file.try_clone().map_err(failed)?).map_err(failed)?;
                    file
                }
                // Somebody else's.
                Err(error) if is_known && error.kind() == std::io::ErrorKind::PermissionDenied => {
                    continue;
                }
                Err(error) => return Err(failed(error)),
            };
            let is_new = number == self.segments.len();
            // Where the file system knows no locks, only a new segment is surely nobody else's.
            if file.try_lock().is_err() && !is_new {
                continue;
            }
            if is_new {
                self.segments.push(Segment { file, end: 0 });
            } else {
                self.segments[number].file = file;
            }
            self.catch_up(number).map_err(failed)?;
            let Segment { file, end } = &self.segments[number];
            // A record that a killed process left unfinished.
            file.set_len(*end).map_err(failed)?;
            return Ok((number, *end));
        }
        Err(StageError::bug("no free segment number"))
    }
}

fn checksum(hash: &TextHash, payload: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(hash).update(payload);
    let mut short = [0; CHECKSUM];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM]);
    short
}

fn unusable(path: &Path, error: &std::io::Error) -> StageError {
    StageError::failed_write(path, error)
        .with_help("the folder of finished work must be writable and have space")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pft_pii::TagError;
    use pft_pii::combine::SpanList;

    struct Named(&'static str);
    impl Tagger for Named {
        fn name(&self) -> &str {
            "test"
        }
        fn fingerprint(&self) -> String {
            self.0.into()
        }
        fn tag_batch(&self, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>> {
            texts.iter().map(|_| Ok(Vec::new())).collect()
        }
    }

    fn spans(n: usize) -> Vec<Span> {
        (0..n)
            .map(|i| Span::new(i, i + 1, &"PERSON".into(), 0.1 + i as f32 / 7.0, &"test".into()))
            .collect()
    }

    fn recalled(cache: &Cache, text: u8, wanted: impl Fn(&Arc<str>) -> bool) -> Vec<Span> {
        let recalled = cache.get(&[text; 32], wanted).unwrap();
        (0..recalled.len()).map(|index| recalled.span(index)).collect()
    }

    #[test]
    fn records_survive_and_fingerprints_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(folder.path(), &Named("a")).unwrap();
        cache.add(&[([1; 32], &spans(3)), ([2; 32], &[])]).unwrap();
        let quoted = [Span::new(0, 2, &"A \"B\" é".into(), 1.0, &"test".into())];
        cache.add(&[([3; 32], &spans(1)), ([4; 32], &quoted)]).unwrap();
        assert_eq!(recalled(&cache, 3, |_| true), spans(1));
        assert_eq!(recalled(&cache, 4, |_| true), quoted);
        assert_eq!(recalled(&cache, 4, |label| &**label == "PERSON"), Vec::new());
        let again = Cache::open(folder.path(), &Named("a")).unwrap();
        assert_eq!(recalled(&again, 1, |_| true), spans(3));
        assert_eq!(recalled(&again, 2, |_| true), Vec::new());
        assert!(!Cache::open(folder.path(), &Named("b")).unwrap().holds(&[1; 32]));
    }

    #[test]
    fn a_segment_torn_anywhere_keeps_its_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(folder.path(), &Named("a")).unwrap();
        let mut ends = Vec::new();
        for n in 0..4u8 {
            cache.add(&[([n; 32], &spans(n as usize))]).unwrap();
            ends.push(std::fs::metadata(cache.segment_path(0)).unwrap().len());
        }
        let path = cache.segment_path(0);
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let cache = Cache::open(folder.path(), &Named("a")).unwrap();
            for n in 0..4u8 {
                assert_eq!(cache.holds(&[n; 32]), ends[n as usize] <= cut as u64, "cut at {cut}");
            }
        }
    }

    /// Whichever bit flips: a text's own spans or none, and what is tagged again is found again.
    #[test]
    fn a_damaged_record_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(folder.path(), &Named("a")).unwrap();
        for n in 1..4u8 {
            cache.add(&[([n; 32], &spans(usize::from(n)))]).unwrap();
        }
        let path = cache.segment_path(0);
        drop(cache);
        let sound = std::fs::read(&path).unwrap();
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bytes).unwrap();
            let mut cache = Cache::open(folder.path(), &Named("a")).unwrap();
            let lost: Vec<u8> = (1..4).filter(|&n| !cache.holds(&[n; 32])).collect();
            assert!(!lost.is_empty(), "bit {bit}");
            for &n in &lost {
                cache.add(&[([n; 32], &spans(usize::from(n)))]).unwrap();
            }
            drop(cache);
            let again = Cache::open(folder.path(), &Named("a")).unwrap();
            for n in 1..4u8 {
                assert_eq!(recalled(&again, n, |_| true), spans(usize::from(n)), "bit {bit}");
            }
        }
    }

    #[test]
    fn damage_that_comes_later_is_seen_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(folder.path(), &Named("a")).unwrap();
        cache.add(&[([1; 32], &spans(3))]).unwrap();
        let mut bytes = std::fs::read(cache.segment_path(0)).unwrap();
        bytes[40] ^= 1;
        std::fs::write(cache.segment_path(0), bytes).unwrap();
        let error = cache.get(&[1; 32], |_| true).unwrap_err();
        assert!(error.to_string().contains("a finished text is damaged"), "{error}");
    }

    #[test]
    fn runs_one_after_another_share_a_segment() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..50u8 {
            let mut cache = Cache::open(folder.path(), &Named("a")).unwrap();
            assert_eq!((0..50).filter(|&n| cache.holds(&[n; 32])).count(), usize::from(n));
            cache.add(&[([n; 32], &spans(1))]).unwrap();
            assert!(!cache.segment_path(1).exists());
        }
    }

    #[test]
    fn processes_write_beside_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = Cache::open(folder.path(), &Named("a")).unwrap();
        let mut two = Cache::open(folder.path(), &Named("a")).unwrap();
        one.add(&[([1; 32], &spans(1))]).unwrap();
        two.add(&[([2; 32], &spans(2))]).unwrap();
        let both = Cache::open(folder.path(), &Named("a")).unwrap();
        assert_eq!(recalled(&both, 1, |_| true), spans(1));
        assert_eq!(recalled(&both, 2, |_| true), spans(2));
    }
}
