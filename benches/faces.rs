//! What stored faces cost: a search among 100,000; a page of the nightly scan among 1,000,000 samples, from the first to the
//! last; a picture in the database and in a file. `FACE_EDGE_BENCH_SAMPLES` for fewer.
//!
//! A page ends with one write that is safe on the disk. How long the disk takes for the plainest such write is measured
//! in turn with the pages: what is slow in both is the disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use face_edge::clock;
use face_edge::domain::{Embedding, FaceOwner, Rect, SeenFace, UnixMs, Validity};
use face_edge::gallery::{Circle, Gallery};
use face_edge::store::{GateChoice, NewSample, Store};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const PERSONS: i64 = 100_000;
const SAMPLES: usize = 1_000_000;
const AT_ONCE: usize = 512;
const PICTURE_BYTES: usize = 256;
const BLOB_BYTES: usize = 40_000;
const BLOBS: usize = 300;

fn main() {
    for width in [128, 512] {
        search(width);
    }
    blob_or_file();
    let samples = std::env::var("FACE_EDGE_BENCH_SAMPLES").ok().and_then(|text| text.parse().ok());
    scan(samples.unwrap_or(SAMPLES));
}

fn took(begun: Instant) -> Duration {
    clock::monotonic() - begun
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Persons apart as strangers are, and a face near to one of them as another picture of the same person is.
fn search(width: usize) {
    let mut chance = StdRng::seed_from_u64(1);
    let gallery = Gallery::default();
    let mut random = |around: Option<&Embedding>| {
        let numbers = (0..width).map(|index| {
            let noise: f32 = (0..4).map(|_| chance.random_range(-1.0f32..1.0)).sum();
            noise + around.map_or(0.0, |e| e.as_slice()[index] * (width as f32).sqrt() * 1.5)
        });
        Embedding::of(numbers.collect()).expect("random numbers have a direction")
    };
    let persons: Vec<Embedding> = (0..PERSONS).map(|_| random(None)).collect();
    for (number, embedding) in persons.iter().enumerate() {
        gallery.put(&FaceOwner::Number { space: 0, number: number as i64 }, "", embedding);
    }
    let strangers: Vec<Embedding> = (0..100).map(|_| random(None)).collect();
    let known: Vec<Embedding> = (0..100).map(|index| random(Some(&persons[index * 997]))).collect();
    for (name, wanted) in [("known", &known), ("strangers", &strangers)] {
        let begun = clock::monotonic();
        let found = wanted.iter().filter_map(|e| gallery.best(Circle::Space(0), e)).map(|m| m.similarity);
        let mean = found.sum::<f32>() / wanted.len() as f32;
        let time = took(begun) / wanted.len() as u32;
        println!(
            "search {PERSONS} x {width}, {name}: {:.2} ms, {:.0} searches/s on one core (mean similarity {mean:.2})",
            ms(time),
            1.0 / time.as_secs_f64()
        );
    }
}

/// A sealed picture of usual size: kept, read, erased; each step safe on the disk.
fn blob_or_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let c = Connection::open(dir.path().join("db")).expect("a database");
    c.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
         CREATE TABLE blobs (id INTEGER PRIMARY KEY, sealed BLOB); CREATE TABLE files (id INTEGER PRIMARY KEY);",
    )
    .expect("tables");
    let bytes = vec![0x5a; BLOB_BYTES];
    let each = |name: &str, work: &mut dyn FnMut(usize)| {
        let begun = clock::monotonic();
        (0..BLOBS).for_each(&mut *work);
        println!("{name} of {BLOB_BYTES} bytes: {:.2} ms", ms(took(begun)) / BLOBS as f64);
    };
    each("keep in the database", &mut |id| {
        c.execute("INSERT INTO blobs VALUES (?1, ?2)", (id as i64, &bytes)).map(drop).expect("inserted");
    });
    each("keep in a file, and its row", &mut |id| {
        write_synced(dir.path(), id, &bytes);
        c.execute("INSERT INTO files VALUES (?1)", [id as i64]).map(drop).expect("inserted");
    });
    each("read from the database", &mut |id| {
        let read: Vec<u8> =
            c.query_row("SELECT sealed FROM blobs WHERE id = ?1", [id as i64], |row| row.get(0)).expect("there");
        assert_eq!(read.len(), BLOB_BYTES);
    });
    each("read from a file", &mut |id| {
        assert_eq!(fs::read(dir.path().join(id.to_string())).expect("there").len(), BLOB_BYTES);
    });
    each("erase in the database", &mut |id| {
        c.execute("DELETE FROM blobs WHERE id = ?1", [id as i64]).map(drop).expect("deleted");
        c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("emptied");
    });
    each("erase in a file, and its row", &mut |id| {
        // Overwritten first, as the database does.
        write_synced(dir.path(), id, &vec![0; BLOB_BYTES]);
        fs::remove_file(dir.path().join(id.to_string())).expect("removed");
        File::open(dir.path()).and_then(|folder| folder.sync_all()).expect("synced");
        c.execute("DELETE FROM files WHERE id = ?1", [id as i64]).map(drop).expect("deleted");
        c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("emptied");
    });
}

fn write_synced(dir: &Path, id: usize, bytes: &[u8]) {
    let mut file = File::create(dir.join(id.to_string())).expect("a file");
    file.write_all(bytes).and_then(|()| file.sync_all()).expect("written");
    File::open(dir).and_then(|folder| folder.sync_all()).expect("synced");
}

fn scan(samples: usize) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path()).expect("a fresh store");
    let runtime = Runtime::new().expect("a runtime");
    store.register_gate("0001", "bench", UnixMs(0)).wait().expect("registered");
    while store.fill_gate("0001", UnixMs(0)).wait().expect("filled") {}
    let begun = clock::monotonic();
    runtime.block_on(enrol(&store, samples));
    println!("{samples} samples enrolled in {:.0} s", took(begun).as_secs_f64());
    for (name, now) in [("nothing expired", 10), ("one in ten expired", 2_000), ("a second scan", 2_000)] {
        scan_once(&store, samples, name, UnixMs(now));
    }
}

async fn enrol(store: &Store, samples: usize) {
    let mut calls = JoinSet::new();
    for number in 0..samples {
        let valid_to = if number % 10 == 0 { 1_000 } else { 1_000_000 };
        let new = NewSample {
            owner: FaceOwner::Ticket(format!("T{number:08}")),
            face: String::new(),
            seen: SeenFace { bbox: Rect::default(), score: 0.9, landmarks: None, quality: 0.5, embedding: None },
            picture: vec![0x5a; PICTURE_BYTES],
            model: None,
            validity: Some(Validity { from: UnixMs(0), to: UnixMs(valid_to) }),
            recognition_model: None,
            user_data: None,
        };
        let sample = store.sealed(new).expect("sealed");
        calls.spawn(store.put_ticket(sample, GateChoice::All, UnixMs(0)).into_future());
        if calls.len() >= AT_ONCE {
            calls.join_next().await.expect("one runs").expect("no panic").expect("stored").expect("a gate");
        }
    }
    while let Some(done) = calls.join_next().await {
        done.expect("no panic").expect("stored").expect("a gate");
    }
}

fn scan_once(store: &Store, samples: usize, name: &str, now: UnixMs) {
    store.begin_scan(None).wait().expect("begun");
    let (mut pages, mut writes, mut deleted, mut looked_at) = (Vec::new(), Vec::new(), 0, 0);
    let (memory_before, mut memory_most) = (resident_mib(), 0);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut plain = File::create(dir.path().join("plain")).expect("a file");
    let mut cpu = Duration::ZERO;
    loop {
        let (begun, cpu_before) = (clock::monotonic(), clock::process_cpu());
        let Some(step) = store.scan_step(None, now).wait().expect("scanned") else { break };
        pages.push(took(begun));
        cpu += clock::process_cpu() - cpu_before;
        deleted += step.page.deleted;
        looked_at += step.page.looked_at;
        let begun = clock::monotonic();
        plain.write_all(&[0; 4096]).and_then(|()| plain.sync_data()).expect("written");
        writes.push(took(begun));
        if pages.len() % 500 == 0 {
            memory_most = memory_most.max(resident_mib());
        }
    }
    store.flush_erased().wait().expect("flushed");
    let tenths: Vec<String> =
        pages.chunks(pages.len().div_ceil(10)).map(|part| format!("{:.2}", ms(median(part)))).collect();
    println!(
        "scan of {looked_at} of {samples}, {name}: {} pages, {deleted} delete events; CPU {:.2} ms a page; medians of the tenths \
         {} ms; memory {memory_before} MiB before, {memory_most} MiB at most\n    a page:              {}\n    \
         4 KiB safe on disk:  {}",
        pages.len(),
        ms(cpu) / pages.len() as f64,
        tenths.join(" "),
        spread(&pages),
        spread(&writes),
    );
}

fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at = |share: f64| ms(sorted[((sorted.len() - 1) as f64 * share) as usize]);
    let slow = sorted.iter().filter(|time| ms(**time) >= 10.0).count();
    format!(
        "{:.2} ms (median), {:.2} (99 %), {:.2} (99.9 %), {:.2} (most); {slow} of {} took 10 ms or more",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        sorted.len(),
    )
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
