//! pft-gguf
