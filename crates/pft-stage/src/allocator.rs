//! How the process's memory allocator treats freed pages.

/// Makes glibc keep freed memory instead of giving it back to the system and faulting it in
/// again, which costs more than the arithmetic of many operations. For the start of `main` in
/// programs that train; elsewhere than on glibc it does nothing.
pub fn keep_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in
        [(libc::M_MMAP_MAX, 0), (libc::M_TRIM_THRESHOLD, i32::MAX), (libc::M_TOP_PAD, 64 << 20)]
    {
        // SAFETY: mallopt only sets a number inside the allocator.
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}
