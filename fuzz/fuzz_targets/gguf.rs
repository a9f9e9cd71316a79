//! Whatever the bytes, a GGUF file is refused, or every tensor has the announced size.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pft_gguf::Gguf;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("room for it");
    let Ok(file) = Gguf::open(file.path()) else { return };
    for info in file.tensors() {
        if let Ok(numbers) = file.dequantize(&info.name) {
            assert_eq!(numbers.len(), info.shape.iter().product::<usize>());
        }
    }
});
