//! pft-stage
