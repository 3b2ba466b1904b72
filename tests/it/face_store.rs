//! Stored faces on the disk: sealed while they are there, gone when they are erased, and the log that tells of it.

use std::fs;
use std::path::Path;

use face_edge::domain::UnixMs;
use face_edge::store::Store;
use rusqlite::Connection;

use crate::support::faces::enrol;

/// Every byte that the store has on the disk.
fn disk(dir: &Path) -> Vec<u8> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.to_string_lossy().contains("face-edge.db"))
        .flat_map(|path| fs::read(path).unwrap())
        .collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn sealed_pictures(dir: &Path) -> Vec<Vec<u8>> {
    let connection = Connection::open(dir.join("face-edge.db")).unwrap();
    let mut statement = connection.prepare("SELECT sealed FROM sample_pictures").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn pictures_are_sealed_and_open_with_the_folders_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.register_gate("0001", "g", UnixMs(0)).wait().unwrap();
    enrol(&store, "T1", 1_000_000);
    assert!(!holds(&disk(dir.path()), b"the picture of"));
    let picture = |store: &Store| {
        store.gate_events("0001", 0, 10, 1 << 20).wait().map(|events| events.unwrap().0[0].picture.clone())
    };
    assert_eq!(picture(&store).unwrap(), b"the picture of T1");
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(picture(&store).unwrap(), b"the picture of T1", "after a restart");
    drop(store);
    fs::write(dir.path().join("seal.key"), "0f".repeat(32)).unwrap();
    let told = picture(&Store::open(dir.path()).unwrap()).unwrap_err().to_string();
    assert!(told.contains("does not open"), "{told}");
}

#[test]
fn what_is_erased_is_nowhere_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.register_gate("0001", "g", UnixMs(0)).wait().unwrap();
    for number in 0..20 {
        enrol(&store, &format!("T{number}"), 1_000_000);
    }
    let before = sealed_pictures(dir.path());
    assert!(before.len() == 20 && before.iter().all(|sealed| holds(&disk(dir.path()), sealed)));
    // One removed, one replaced, one expired.
    assert!(store.remove_ticket("T0", UnixMs(1)).wait().unwrap());
    enrol(&store, "T1", 2_000_000);
    enrol(&store, "T2", -1000);
    while store.fill_gate("0001", UnixMs(1)).wait().unwrap() {}
    store.begin_scan(None).wait().unwrap();
    while store.scan_step(None, face_edge::clock::unix_ms()).wait().unwrap().is_some() {}
    store.flush_erased().wait().unwrap();
    let (after, disk) = (sealed_pictures(dir.path()), disk(dir.path()));
    let gone: Vec<_> = before.iter().filter(|sealed| !after.contains(sealed)).collect();
    assert_eq!(gone.len(), 3);
    for sealed in gone {
        assert!(!holds(&disk, &sealed[..32.min(sealed.len())]), "a trace of it is left");
    }
    assert!(after.iter().all(|sealed| holds(&disk, sealed)), "the others are there");
}

#[test]
fn a_log_that_was_tampered_with_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for number in 0..5 {
        enrol(&store, &format!("T{number}"), 1_000_000);
        store.remove_ticket(&format!("T{number}"), UnixMs(number)).wait().unwrap();
    }
    let log = store.erasure_log().wait().unwrap();
    assert_eq!((log.rows, log.broken_at, log.head.len()), (5, None, 64));
    let connection = Connection::open(dir.path().join("face-edge.db")).unwrap();
    for (change, back, broken_at) in [
        ("UPDATE erasures SET at = at + 1 WHERE seq = 3", "UPDATE erasures SET at = at - 1 WHERE seq = 3", 3),
        (
            "UPDATE erasures SET reason = 'expired' WHERE seq = 1",
            "UPDATE erasures SET reason = 'removed' WHERE seq = 1",
            1,
        ),
        ("UPDATE erasures SET subject = x'00' WHERE seq = 5", "DELETE FROM erasures WHERE seq = 2", 5),
    ] {
        connection.execute_batch(change).unwrap();
        assert_eq!(store.erasure_log().wait().unwrap().broken_at, Some(broken_at), "{change}");
        connection.execute_batch(back).unwrap();
    }
    assert_eq!(store.erasure_log().wait().unwrap().broken_at, Some(2), "a row was taken out");
}
