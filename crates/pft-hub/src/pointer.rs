//! Pointers that git-LFS leaves where the file itself was not fetched.

/// How every pointer begins (git-LFS's specification, version 1).
const BEGINNING: &[u8] = b"version https://git-lfs.github.com/spec/";

/// What such a file is, and the way out, to follow the file's path.
pub const LFS_POINTER: &str = "is a pointer that git-LFS left in the place of the file itself; \
                               `git lfs pull` in its folder fetches the file";

/// Whether a file's first bytes are those of a git-LFS pointer.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(BEGINNING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_told_from_files() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
        assert!(is_lfs_pointer(pointer.as_bytes()));
        assert!(!is_lfs_pointer(b"version") && !is_lfs_pointer(b"GGUF"));
    }
}
