//! pft-artifact
