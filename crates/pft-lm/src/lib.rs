//! pft-lm
