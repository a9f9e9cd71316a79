//! pft-dp
