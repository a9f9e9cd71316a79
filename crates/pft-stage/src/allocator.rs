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

/// Makes glibc give large blocks back to the system as soon as they are freed. Left to itself it
/// raises the size from which it does so to that of the largest block freed so far, and the blocks of
/// a long document then stay between those that live on. For the start of `main` in programs whose
/// memory must stay within bounds; elsewhere than on glibc it does nothing.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, 1 << 20), (libc::M_TRIM_THRESHOLD, 8 << 20)]
    {
        // SAFETY: mallopt only sets a number inside the allocator.
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}

/// Gives freed memory back to the system, wherever it lies between blocks that live on.
pub fn return_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim only releases pages that hold no block.
    unsafe {
        libc::malloc_trim(0);
    }
}
