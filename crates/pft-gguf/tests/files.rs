//! Reading and writing against files made by the `gguf` package (tests/reference/gguf_files.py),
//! and files that lie.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use pft_gguf::{Array, BLOCK_LEN, BlockFormat, Gguf, GgufError, GgufWriter, Value, WriteType};
use proptest::prelude::*;

const FORMATS: [&str; 11] =
    ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k"];
const ELEMENTS: usize = 2 * 512;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/gguf")
}

fn expected() -> Vec<f32> {
    let bytes = std::fs::read(fixtures().join("formats.f32")).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn open_bytes(bytes: &[u8]) -> Result<Gguf, GgufError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutated.gguf");
    std::fs::write(&path, bytes).unwrap();
    Gguf::open(&path)
}

#[test]
fn every_format_dequantizes_as_the_reference_does() {
    let file = Gguf::open(&fixtures().join("formats.gguf")).unwrap();
    for (name, expected) in FORMATS.iter().zip(expected().chunks(ELEMENTS)) {
        assert_eq!(file.tensor(name).unwrap().shape, [2, 512], "{name}");
        let found = file.dequantize(name).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            let tolerance = 1e-6 * expected.abs().max(1e-3);
            assert!((found - expected).abs() <= tolerance, "{name}: {found} is not {expected}");
        }
    }
}

#[test]
fn metadata_is_read_as_written() {
    let file = Gguf::open(&fixtures().join("formats.gguf")).unwrap();
    assert_eq!(file.version(), 3);
    assert_eq!(file.str("general.architecture"), Some("llama"));
    assert_eq!(file.u64("test.u32"), Some(4_000_000_000));
    assert_eq!(file.get("test.i32"), Some(&Value::Signed(-5)));
    assert_eq!(file.u64("test.i32"), None);
    assert_eq!(file.f64("test.f32"), Some(0.5));
    assert_eq!(file.bool("test.bool"), Some(true));
    assert_eq!(file.str("test.string"), Some("Grüße, 東京"));
    assert_eq!(file.strings("test.strings").unwrap(), ["a", "", "ß"]);
    assert_eq!(file.array("test.integers"), Some(&Array::Signed(vec![1, -2, 3])));
}

#[test]
fn what_is_written_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.gguf");
    let numbers = &expected()[..ELEMENTS];
    let mut writer = GgufWriter::new();
    writer.string("s", "text");
    writer.strings("list", &["a", "b"]);
    writer.u32("u", 7);
    writer.f32("f", 1.5);
    writer.bool("b", false);
    writer.i32s("i", &[-1, 2]);
    writer.f32s("fs", &[0.25]);
    writer.tensor("f32", &[2, 512], WriteType::F32);
    writer.tensor("f16", &[2, 512], WriteType::F16);
    writer.tensor("q8_0", &[2, 512], WriteType::Q8_0);
    writer.tensor("odd", &[3, 5], WriteType::Q8_0);
    writer
        .write(&path, |name| Ok(numbers[..if name == "odd" { 15 } else { ELEMENTS }].to_vec()))
        .unwrap();

    let file = Gguf::open(&path).unwrap();
    assert_eq!(file.str("s"), Some("text"));
    assert_eq!(file.strings("list").unwrap(), ["a", "b"]);
    assert_eq!((file.u64("u"), file.f64("f"), file.bool("b")), (Some(7), Some(1.5), Some(false)));
    assert_eq!(file.array("i"), Some(&Array::Signed(vec![-1, 2])));
    assert_eq!(file.array("fs"), Some(&Array::Float(vec![0.25])));
    assert_eq!(file.dequantize("f32").unwrap(), numbers);
    assert_eq!(file.tensor("odd").unwrap().ggml_type, pft_gguf::GgmlType::F16);
    let largest = numbers.iter().fold(0.0f32, |largest, n| largest.max(n.abs()));
    for (found, number) in file.dequantize("q8_0").unwrap().iter().zip(numbers) {
        assert!((found - number).abs() <= largest / 127.0, "{found} is not near {number}");
    }
    // The reference quantizes to the same bytes, up to the rounding of halves.
    let reference = std::fs::read(fixtures().join("floats.q8_0")).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let near = |start: &usize| {
        let same = bytes[*start..].iter().zip(&reference).filter(|(a, b)| a == b).count();
        same * 1000 >= reference.len() * 995
    };
    let found = (0..bytes.len() - reference.len()).step_by(32).find(near);
    assert!(found.is_some(), "the Q8_0 blocks differ from the reference's");
}

/// Weights that are kept in blocks are the reference's, byte for byte, and widen to what a file of
/// them is read as.
#[test]
fn blocks_are_rounded_and_widened_as_the_reference_does() {
    let numbers = &expected()[..ELEMENTS];
    let formats = [(BlockFormat::Q8_0, "q8_0", 127.0), (BlockFormat::Q4_0, "q4_0", 8.0)];
    for (format, name, steps) in formats {
        let reference = std::fs::read(fixtures().join(format!("floats.{name}"))).unwrap();
        let blocks = format.quantize(numbers);
        assert_eq!(blocks.len(), ELEMENTS / BLOCK_LEN * format.block_bytes());
        assert_eq!(blocks, reference, "{name}");
        let [mut alone, mut together] = [vec![0.0; ELEMENTS], vec![0.0; ELEMENTS]];
        format.dequantize(&blocks, &mut alone);
        format.par_dequantize(&blocks, &mut together);
        assert_eq!(alone, together);
        for (found, number) in alone.chunks(BLOCK_LEN).zip(numbers.chunks(BLOCK_LEN)) {
            let largest = number.iter().fold(0.0f32, |largest, n| largest.max(n.abs()));
            for (found, number) in found.iter().zip(number) {
                let off = (found - number).abs();
                assert!(off <= 1.001 * largest / steps, "{name}: {found} is not near {number}");
            }
        }
        // The other way round: a file's random blocks.
        let file = std::fs::read(fixtures().join("formats.gguf")).unwrap();
        let read = Gguf::open(&fixtures().join("formats.gguf")).unwrap().dequantize(name).unwrap();
        let size = ELEMENTS / BLOCK_LEN * format.block_bytes();
        let mut values = vec![0.0; ELEMENTS];
        let holds = (0..=file.len() - size).step_by(32).any(|start| {
            format.dequantize(&file[start..start + size], &mut values);
            values == read
        });
        assert!(holds, "{name}");
    }
}

#[test]
fn blocks_of_nothing_stay_nothing_and_what_is_no_number_stays_none() {
    for format in [BlockFormat::Q8_0, BlockFormat::Q4_0] {
        let mut numbers = vec![0.0; 3 * BLOCK_LEN];
        numbers[BLOCK_LEN + 3] = f32::NAN;
        numbers[2 * BLOCK_LEN + 5] = f32::NEG_INFINITY;
        let mut values = vec![1.0; numbers.len()];
        format.dequantize(&format.quantize(&numbers), &mut values);
        assert!(values[..BLOCK_LEN].iter().all(|value| *value == 0.0));
        assert!(values[BLOCK_LEN..].iter().all(|value| value.is_nan()));
    }
}

#[test]
fn a_missing_tensor_and_a_foreign_file_are_named() {
    let file = Gguf::open(&fixtures().join("formats.gguf")).unwrap();
    let message = file.dequantize("blk.0.attn_q.weight").unwrap_err().to_string();
    assert!(message.contains("blk.0.attn_q.weight") && message.contains("formats.gguf"));
    for (bytes, expected) in [
        (b"PK\x03\x04".as_slice(), "not a GGUF file"),
        (b"GGUF\x01\0\0\0".as_slice(), "version 1"),
        (b"GGUF\0\0\0\x03".as_slice(), "big-endian"),
        (b"GGUF\x03\0\0\0".as_slice(), "cut short"),
    ] {
        let message = open_bytes(bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// A header with `tensors` and `pairs` announced, followed by `rest`.
fn header(tensors: u64, pairs: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(pairs.to_le_bytes());
    bytes.extend(rest);
    bytes
}

fn tensor_row(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = (name.len() as u64).to_le_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.extend((shape.len() as u32).to_le_bytes());
    shape.iter().for_each(|extent| bytes.extend(extent.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

/// Files that were made to break a reader; each ends in an error that says what is wrong.
#[test]
fn lies_about_sizes_are_errors() {
    let pair = |key: &str, rest: &[u8]| {
        let mut bytes = (key.len() as u64).to_le_bytes().to_vec();
        bytes.extend(key.as_bytes());
        bytes.extend(rest);
        bytes
    };
    let huge = u64::MAX.to_le_bytes();
    let array_of_strings = [&9u32.to_le_bytes()[..], &8u32.to_le_bytes(), &huge].concat();
    let nested: Vec<u8> = [9u32.to_le_bytes().to_vec()]
        .into_iter()
        .chain((0..8).map(|_| [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat()))
        .flatten()
        .collect();
    let mut twice = tensor_row("a", &[1], 0, 0);
    twice.extend(tensor_row("a", &[1], 0, 0));
    twice.extend([0; 64]);
    let with_data = |row: Vec<u8>| [row, vec![0; 64]].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (header(u64::MAX, 0, &[]), "tensors announced"),
        (header(0, u64::MAX / 2, &[0; 64]), "metadata pairs announced"),
        (header(0, 1, &pair("k", &array_of_strings)), "array elements announced"),
        (header(0, 1, &[&huge[..], &[0; 16]].concat()), "bytes of text announced"),
        (header(0, 1, &pair("k", &99u32.to_le_bytes())), "unknown type 99"),
        (header(0, 1, &pair("k", &nested)), "nested"),
        (header(0, 1, &pair("\u{fffd}", &[0; 16]).replace_byte(10, 0xff)), "UTF-8"),
        (header(1, 0, &with_data(tensor_row("a", &[u64::MAX, 2], 0, 0))), "cannot lie in a file"),
        (header(1, 0, &with_data(tensor_row("a", &[1 << 32, 1 << 32], 0, 0))), "cannot lie"),
        (header(1, 0, &with_data(tensor_row("a", &[0], 0, 0))), "cannot lie"),
        (header(1, 0, &with_data(tensor_row("a", &[17], 0, 0))), "needs 68 bytes"),
        (header(1, 0, &with_data(tensor_row("a", &[1], 0, u64::MAX - 31))), "needs 4 bytes"),
        (header(1, 0, &with_data(tensor_row("a", &[1], 0, 3))), "not a multiple of 32"),
        (header(1, 0, &with_data(tensor_row("a", &[33], 8, 0))), "takes multiples of 32"),
        (header(1, 0, &with_data(tensor_row("a", &[1; 5], 0, 0))), "5 dimensions"),
        (header(2, 0, &twice), "occurs twice"),
    ];
    for (bytes, expected) in cases {
        let message = open_bytes(&bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
        assert!(message.contains("mutated.gguf"), "{message:?} does not name the file");
    }
    let unknown = header(1, 0, &with_data(tensor_row("a", &[256], 10, 0)));
    let message = open_bytes(&unknown).unwrap().dequantize("a").unwrap_err().to_string();
    assert!(message.contains("`a`") && message.contains("ggml type 10"), "{message}");
}

trait ReplaceByte {
    fn replace_byte(self, at: usize, byte: u8) -> Self;
}

impl ReplaceByte for Vec<u8> {
    fn replace_byte(mut self, at: usize, byte: u8) -> Self {
        self[at] = byte;
        self
    }
}

/// A file cut at any byte is refused: its last tensor reaches to its end.
#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = std::fs::read(fixtures().join("formats.gguf")).unwrap();
    let cuts = (0..2048).chain((2048..bytes.len() - 32).step_by(97));
    for cut in cuts {
        assert!(open_bytes(&bytes[..cut]).is_err(), "a file cut at byte {cut} was accepted");
    }
}

/// What fuzzing found to reach all branches (tests/fixtures/fuzz/README.md).
#[test]
fn inputs_that_fuzzing_found_end_in_an_error_or_in_tensors() {
    let pack = std::fs::read(fixtures().join("../fuzz/gguf.pack")).unwrap();
    let (mut rest, mut opened, mut refused) = (&pack[..], 0, 0);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (input, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        rest = after;
        let Ok(file) = open_bytes(input) else {
            refused += 1;
            continue;
        };
        opened += 1;
        for info in file.tensors() {
            if let Ok(numbers) = file.dequantize(&info.name) {
                assert_eq!(numbers.len(), info.shape.iter().product::<usize>());
            }
        }
    }
    assert!(opened > 0 && refused > 50, "{opened} opened, {refused} refused");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    /// Whatever the bytes, reading ends in an error or in tensors of the announced size.
    #[test]
    fn mutated_files_never_panic(
        changes in prop::collection::vec((0usize..2048, prop_oneof![any::<u8>(), Just(0), Just(255)]), 1..6),
        cut in prop::option::of(0usize..14_000),
    ) {
        let mut bytes = std::fs::read(fixtures().join("formats.gguf")).unwrap();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        if let Ok(file) = open_bytes(&bytes) {
            for info in file.tensors() {
                if let Ok(numbers) = file.dequantize(&info.name) {
                    prop_assert_eq!(numbers.len(), info.shape.iter().product::<usize>());
                }
            }
        }
    }
}
