//! Memory that was given back, given back indeed.

/// Has the allocator return free memory to the system. glibc keeps what was freed for itself, up to more than half as much again as what is in
/// use, and a limit that counts what is in use would mean little; other allocators are left to themselves.
pub(in crate::runtime) fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "there is no other way to ask")]
    // SAFETY: it may be called at any time from any thread, and touches nothing but free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}
