//! Loads the software decoders, on one core.
//!
//! GStreamer's libav plugin links libavfilter, which by way of pocketsphinx brings OpenBLAS along. As it is loaded,
//! OpenBLAS starts a thread for each further core it may run on, and each spins for a while (measured: 0.04 to 0.13 s
//! of processor time at two cores). Nothing of ours ever calls it. It counts the cores of the thread that loads it,
//! so a thread with one core keeps it from starting any.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Loads libav where it is installed. Without a right to pin, it loads all the same.
pub fn load() -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("libav-load".to_owned()).spawn(|| {
        let _ = stay_on_one_core();
        // Its absence is told by the check of the decoders.
        let _ = gst::Plugin::load_by_name("libav");
    })?;
    // A panic in there would have to come from GStreamer.
    let _ = thread.join();
    Ok(())
}

fn stay_on_one_core() -> nix::Result<()> {
    const THIS_THREAD: Pid = Pid::from_raw(0);
    let allowed = sched_getaffinity(THIS_THREAD)?;
    let mut one = CpuSet::new();
    if let Some(core) = (0..CpuSet::count()).find(|&core| allowed.is_set(core).unwrap_or(false)) {
        one.set(core)?;
        sched_setaffinity(THIS_THREAD, &one)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_thread_of_openblas_is_left_and_the_caller_keeps_its_cores() {
        let cores = || sched_getaffinity(Pid::from_raw(0)).unwrap();
        let before = cores();
        gst::init().unwrap();
        load().unwrap();
        assert_eq!(before, cores());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(maps.contains("libgstlibav"), "the plugin is loaded");
        // Threads that a library starts are called like the one that loaded it.
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let left = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        assert_eq!(left.filter(|name| name.trim() == "libav-load").count(), 0);
    }
}
