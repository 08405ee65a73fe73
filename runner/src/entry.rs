//! Where the program begins, in the place of what Rust's runtime does before `main`.
//!
//! That would read `/proc/self/maps` to find the guard page of the stack, and make a second stack for telling of an
//! overflow: every run would pay for it. The rest of what it does is done here.

/// Called by the C library, which has told the standard library the arguments.
///
/// A standard descriptor that is closed is opened first: else the next file that is opened, perhaps one that nobody
/// may write, would be where output goes. SIGPIPE is ignored, so that a closed pipe is an error of `write`.
#[unsafe(no_mangle)]
extern "C" fn main(_: libc::c_int, _: *const *const libc::c_char) -> libc::c_int {
    for descriptor in 0..=2 {
        // SAFETY: no memory but a constant string is passed. The lowest free number is this one, since those below are
        // open.
        unsafe {
            if libc::fcntl(descriptor, libc::F_GETFD) == -1
                && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) != descriptor
            {
                libc::abort();
            }
        }
    }
    // SAFETY: to ignore a signal needs no handler, and no other thread is there yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let code = fence::cli::main(std::env::args_os().collect());
    // Writes out what waits in the buffer of standard output.
    std::process::exit(code.into())
}
