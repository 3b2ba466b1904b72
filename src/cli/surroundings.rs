//! Variables of the environment that libraries read before anybody could tell them otherwise: where one is missing, the
//! program begins anew, in the same process, with it. What is set already is left alone.

use std::env::{args_os, current_exe, var_os};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::detect::NO_REPORTS;

const WANTED: [(&str, &str); 3] = [
    // ONNX Runtime writes reports for its maker from the moment at which it is loaded: nothing leaves a box that its
    // operator did not ask for.
    (NO_REPORTS, "1"),
    // glibc gives the threads that allocate up to eight heaps a core, and what is free in one is of no use to another: a
    // box whose cameras come and go was seen to hold 50 MB more for it.
    ("MALLOC_ARENA_MAX", "2"),
    // Pictures go back to the system when they are freed. glibc would keep them in its heaps once it has seen a few, in
    // pieces that fit nothing else: 85 MB of 303 with eight busy cameras.
    ("MALLOC_MMAP_THRESHOLD_", "1048576"),
];

/// To be called before there are threads. Where it cannot be done the program goes on; detection then refuses to start.
pub fn arrange() {
    let missing: Vec<_> = WANTED.iter().filter(|(name, _)| var_os(name).is_none()).copied().collect();
    if missing.is_empty() {
        return;
    }
    // By its own path, because the process is listed under the last part of it.
    for program in [current_exe().ok(), Some("/proc/self/exe".into())].into_iter().flatten() {
        let mut args = args_os();
        let mut again = Command::new(program);
        if let Some(name) = args.next() {
            again.arg0(name);
        }
        // Comes back only where it failed.
        let _ = again.args(args).envs(missing.iter().copied()).exec();
    }
}
