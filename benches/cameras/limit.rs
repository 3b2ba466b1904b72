//! A control group whose processes get so much memory and no more: their own, and what of files is in memory for them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Limit(PathBuf);

impl Limit {
    /// Or why there is none. The kernel's caches are emptied: what others have read already would count as theirs.
    pub fn of(mb: usize) -> Result<Self, String> {
        let name = format!("face-edge-bench-{}", std::process::id());
        let [folder, most] = match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            true => ["/sys/fs/cgroup", "memory.max"],
            false => ["/sys/fs/cgroup/memory", "memory.limit_in_bytes"],
        };
        let limit = Self(Path::new(folder).join(name));
        let set = || {
            fs::create_dir(&limit.0)?;
            fs::write(limit.0.join(most), (mb * 1_000_000).to_string())?;
            fs::File::options().write(true).open("/proc/sys/vm/drop_caches")?.write_all(b"3")
        };
        match set() {
            Ok(()) => Ok(limit),
            Err(error) => Err(format!("no limit can be set on memory in {folder} ({error}): it takes root")),
        }
    }

    /// Runs in it from the start.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs")).arg(program);
        command
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // It is not there where it could not be made.
        let _ = fs::remove_dir(&self.0);
    }
}
