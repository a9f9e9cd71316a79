//! GGUF files: the container of llama.cpp, read and written without trusting a byte of it.
//!
//! [`Gguf::open`] maps a file (versions 2 and 3, little-endian) and checks its metadata and tensor
//! table; [`Gguf::dequantize`] gives one tensor as `f32`, computed in parallel. Every count, size
//! and offset is checked against the length of the file before anything is allocated, so that a
//! file that lies ends in a [`GgufError`] and never in a panic or an exhausted memory.
//! [`GgufWriter`] writes version 3 with F32, F16 and Q8_0 tensors.
//!
//! [`Vocabulary`] is the tokenizer inside a file, read, written, and as the `tokenizer.json` that
//! gives the same ids; [`PreTokenizer`] holds what llama.cpp means by the names in it.
//!
//! This crate knows the container, its number formats and its vocabularies, and no model: what the
//! tensors of an architecture are called is for its users to know. It may depend on no other crate
//! of the workspace.
//!
//! ```
//! use pft_gguf::{Gguf, GgufWriter, WriteType};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("pft-gguf-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! let path = folder.join("tiny.gguf");
//! let mut writer = GgufWriter::new();
//! writer.string("general.architecture", "llama");
//! writer.tensor("token_embd.weight", &[2, 3], WriteType::F32);
//! writer.write(&path, |_name| Ok(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))?;
//!
//! let file = Gguf::open(&path)?;
//! assert_eq!(file.str("general.architecture"), Some("llama"));
//! assert_eq!(file.tensor("token_embd.weight").map(|t| t.shape.clone()), Some(vec![2, 3]));
//! assert_eq!(file.dequantize("token_embd.weight")?[5], 5.0);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```

mod blocks;
mod cursor;
mod error;
mod ggml_type;
mod quant;
mod reader;
mod value;
mod vocabulary;
mod writer;

pub use blocks::{BLOCK_LEN, BlockFormat};
pub use error::GgufError;
pub use ggml_type::GgmlType;
pub use reader::{Gguf, TensorInfo};
pub use value::{Array, Value};
pub use vocabulary::{PreTokenizer, TokenType, Vocabulary, added_token};
pub use writer::{GgufWriter, WriteType};
