//! pft-ner
