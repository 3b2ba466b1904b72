//! The disk fills up, or turns read-only, before any write: each call says so, nothing that was committed is lost,
//! nothing that was refused is half there, and everything goes on by itself when there is room again.
//!
//! The disk is a small tmpfs, which needs root; without it the tests say that they are skipped.

use std::fs;
use std::path::Path;
use std::process::Command;

use face_edge::deliver::{Dispatcher, DispatcherSettings};
use face_edge::domain::UnixMs;
use face_edge::sim::receiver::{Options, Receiver};
use face_edge::store::{Attempt, Limits, Outcome, OutputTarget, Store, StoreError, UpMs};
use tempfile::TempDir;
use uuid::Uuid;

use crate::deliver::couriers;
use crate::messages::{face, until};

const PAGE: u64 = 4096;

struct SmallDisk {
    dir: TempDir,
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.dir.path()).status().ok();
    }
}

impl SmallDisk {
    fn mount(kbytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={kbytes}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { dir });
        }
        println!("skipped: a tmpfs cannot be mounted here (not root)");
        None
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves so many pages free.
    fn fill_but(&self, pages: u64) {
        let stat = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(self.path()).output().unwrap();
        let text = String::from_utf8(stat.stdout).unwrap();
        let (free, size) = text.trim().split_once(' ').unwrap();
        let free_bytes = free.parse::<u64>().unwrap() * size.parse::<u64>().unwrap();
        let ballast = free_bytes.saturating_sub(pages * PAGE);
        fs::write(self.path().join("ballast"), vec![0; ballast as usize]).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

fn target() -> [OutputTarget; 1] {
    [OutputTarget::webhook("http://127.0.0.1:1/", vec![])]
}

fn is_disk(error: &StoreError) -> bool {
    matches!(error, StoreError::Full | StoreError::ReadOnly | StoreError::Disk)
}

/// Pictures in rows and in files.
fn limits(in_files: bool) -> Limits {
    Limits { picture_in_row_bytes: if in_files { 0 } else { 1 << 20 }, ..Limits::default() }
}

/// Every kind of write on a disk with so many free pages; answers how many were refused.
fn write_everything(store: &Store, committed: &mut Vec<Uuid>, delivered: &mut Vec<Uuid>) -> u32 {
    let mut refused = 0;
    let mut saw = |error: StoreError| {
        assert!(is_disk(&error), "{error}");
        refused += 1;
    };
    for _ in 0..3 {
        let message = face(Uuid::new_v4(), 1);
        match store.enqueue_at(&message, &target(), UnixMs(1)).wait() {
            Ok(enqueued) => {
                assert_eq!(enqueued.deliveries, 1);
                committed.push(message.id());
            }
            Err(error) => saw(error),
        }
    }
    match store.claim_due(UnixMs(1), 4).wait() {
        Err(error) => saw(error),
        Ok(claim) => {
            for (index, claimed) in claim.deliveries.into_iter().enumerate() {
                let outcome = match index % 2 {
                    0 => Outcome::Delivered,
                    _ => Outcome::Retry { due_at: UpMs(1), reason: "status 500".into() },
                };
                let attempt = Attempt { delivery: claimed.delivery, at: UnixMs(1), outcome };
                match store.record(attempt.clone()).wait() {
                    Ok(recorded) => {
                        assert!(recorded);
                        if attempt.outcome == Outcome::Delivered {
                            delivered.push(claimed.message.id());
                        }
                    }
                    Err(error) => saw(error),
                }
            }
        }
    }
    for error in [store.trim(UnixMs(1)).wait().err(), store.fsck(true).wait().err()].into_iter().flatten() {
        saw(error);
    }
    refused
}

/// All that was answered with yes is there, and nothing else.
fn check(store: &Store, committed: &[Uuid], delivered: &[Uuid]) {
    let query = face_edge::store::DeliveryQuery { limit: 100_000, ..Default::default() };
    let rows = store.deliveries(query).wait().unwrap();
    let mut found: Vec<_> = rows.iter().map(|row| row.message_id.clone()).collect();
    let mut wanted: Vec<_> = committed.iter().map(Uuid::to_string).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    let finished = rows.iter().filter(|row| row.finished_at.is_some()).count();
    assert_eq!(finished, delivered.len());
    let findings = store.fsck(false).wait().unwrap();
    assert!(findings.is_clean(), "{findings:?}");
}

#[test]
fn a_full_disk_at_every_write() {
    for in_files in [false, true] {
        let Some(disk) = SmallDisk::mount(8 * 1024) else { return };
        let (mut committed, mut delivered) = (Vec::new(), Vec::new());
        let mut store = Store::open_with(disk.path(), limits(in_files)).unwrap();
        let (mut refused, mut restarted) = (0, 0);
        for pages in 0..48 {
            disk.fill_but(pages);
            refused += write_everything(&store, &mut committed, &mut delivered);
            disk.empty();
            if pages % 6 == 5 {
                // As after a crash in the middle of it; what was claimed is pending again.
                drop(store);
                store = Store::open_with(disk.path(), limits(in_files)).unwrap();
                restarted += 1;
            }
            check(&store, &committed, &delivered);
        }
        println!(
            "pictures in files: {in_files}; {refused} writes refused, {} messages committed, {} delivered, {restarted} restarts",
            committed.len(),
            delivered.len()
        );
        assert!(refused > 20 && committed.len() > 20, "both sides of every limit were seen");
    }
}

/// A file system in a file, which its kernel makes read-only under a running service when told that it is broken.
struct BreakableDisk {
    image: TempDir,
    dir: TempDir,
}

impl Drop for BreakableDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.dir.path()).status().ok();
    }
}

impl BreakableDisk {
    fn mount() -> Option<Self> {
        let disk = Self { image: tempfile::tempdir().unwrap(), dir: tempfile::tempdir().unwrap() };
        fs::File::create(disk.file()).unwrap().set_len(32 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-O", "^has_journal"]).arg(disk.file()).status();
        if made.is_ok_and(|status| status.success()) && disk.mount_again() {
            return Some(disk);
        }
        println!("skipped: a loop device cannot be mounted here (not root)");
        None
    }

    fn file(&self) -> std::path::PathBuf {
        self.image.path().join("disk.img")
    }

    fn mount_again(&self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop,errors=remount-ro"]).arg(self.file()).arg(self.dir.path());
        mount.status().is_ok_and(|status| status.success())
    }

    fn break_it(&self) {
        let found = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(self.dir.path()).output().unwrap();
        let device = String::from_utf8(found.stdout).unwrap();
        let device = device.trim().trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "test").unwrap();
    }

    fn replace(&self) {
        assert!(Command::new("umount").arg(self.dir.path()).status().unwrap().success());
        assert!(self.mount_again());
    }
}

#[test]
fn a_disk_that_turns_read_only() {
    for in_files in [false, true] {
        let Some(disk) = BreakableDisk::mount() else { return };
        let store = Store::open_with(disk.dir.path(), limits(in_files)).unwrap();
        let (mut committed, mut delivered) = (Vec::new(), Vec::new());
        assert_eq!(write_everything(&store, &mut committed, &mut delivered), 0);
        disk.break_it();
        let refused = write_everything(&store, &mut committed, &mut delivered);
        println!("pictures in files: {in_files}; {refused} writes refused on the read-only disk");
        assert!(refused >= 4, "three messages and a claim");
        let totals = store.totals().wait().unwrap();
        assert_eq!(totals.pending + totals.delivered, 3, "reading goes on");
        drop(store);
        disk.replace();
        let store = Store::open_with(disk.dir.path(), limits(in_files)).unwrap();
        check(&store, &committed, &delivered);
        assert_eq!(write_everything(&store, &mut committed, &mut delivered), 0);
        check(&store, &committed, &delivered);
        drop(store);
    }
}

/// The dispatcher lives through it, and what was committed before, meanwhile and after arrives.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_go_on_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount(8 * 1024) else { return };
    let receiver = Receiver::start("127.0.0.1:0".parse().unwrap(), Options::default()).await.unwrap();
    let store = Store::open(disk.path()).unwrap();
    let dispatcher = Dispatcher::start(store.clone(), couriers(&store, None), DispatcherSettings::default());
    let target = [OutputTarget::webhook(receiver.url(), vec![])];
    let mut committed = Vec::new();
    for round in 0..6 {
        disk.fill_but(round * 3);
        for seq in 1..=10 {
            let message = face(Uuid::from_u128(u128::from(round)), seq);
            if store.enqueue(&message, &target).await.is_ok() {
                committed.push(message.id().to_string().to_uppercase());
                dispatcher.waker().wake();
            }
        }
        disk.empty();
    }
    until("all delivered", || {
        let totals = store.totals().wait().unwrap();
        totals.pending + totals.claimed == 0
    })
    .await;
    dispatcher.stop().await;
    let received = receiver.received();
    let missing = committed.iter().filter(|id| !received.iter().any(|r| r.message_id == **id)).count();
    println!("{} committed, {}", committed.len(), receiver.summary());
    assert!(missing == 0 && !committed.is_empty());
    assert_eq!(receiver.summary().bad, 0);
}
