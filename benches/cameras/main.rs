//! How many simulated RTSP cameras (1080p25, H.264, about 4 Mbit/s, people in view) this box holds at five analyses a
//! second each, against the number that decoding alone allows; and what the whole service takes over decoding alone
//! while people are in view, while nothing moves, and while of an idle scene only key frames are decoded.
//!
//! Decoding alone is the same decoder on one thread with nothing behind it, as a plain GStreamer pipeline has it. There
//! it copies each picture, behind this program's sink it does not: decoding alone without copies is measured as well, and
//! is the harder measure.
//!
//! And whether the service, with one camera and with four, keeps within 80 MB and 25 MB a camera: the kernel gives it no
//! more, libraries and all other files that are in memory for it included.
//!
//! The cameras are one process, what is measured is another: the service itself with a task a camera, or this program
//! with nothing but the decoders. Both pay for the simulation the same way, by having less of the box. Processor time is
//! the kernel's account of the measured process. Needs ffmpeg to make the clips.

mod clips;
mod decoding;
mod limit;
mod side;

use std::path::Path;
use std::time::Duration;

use face_edge::clock;

use clips::Clips;
use limit::Limit;
use side::{Measured, Memory, Simulation};

const DECODE_ONLY: &str = "FACE_EDGE_BENCH_DECODE_ONLY";
const DECODE_UNCOPIED: &str = "FACE_EDGE_BENCH_DECODE_UNCOPIED";
/// Until all are connected, and a scene that is still is known to be idle.
const SETTLE: Duration = Duration::from_secs(8);
const SETTLE_IDLE: Duration = Duration::from_secs(20);
const SPAN: Duration = Duration::from_secs(20);
const LATE_MAX: f64 = 0.01;
const FEW: usize = 3;
/// Of the number that the processor time of few cameras lets expect, what is surely held.
const SURE: f64 = 0.8;

fn main() {
    if let Ok(urls) = std::env::var(DECODE_ONLY) {
        return decoding::as_anybody_would(&urls);
    }
    if let Ok(urls) = std::env::var(DECODE_UNCOPIED) {
        return decoding::uncopied(&urls);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clips = Clips::make(folder.path());
    memory(&clips, folder.path());
    let a_camera = ratios(&clips, folder.path());
    let [alone, uncopied, whole] = most(&clips.people, folder.path(), a_camera);
    let percent = |of: usize| 100.0 * whole as f64 / of as f64;
    println!(
        "cameras: {whole} of {alone} that decoding alone allows, {:.1} % (bound 85 %); {:.1} % of the {uncopied} without copies",
        percent(alone),
        percent(uncopied)
    );
}

#[derive(Clone, Copy)]
enum Work {
    /// `how`: the variable by which this program is told.
    Decode {
        how: &'static str,
    },
    Serve {
        idle_decode: &'static str,
    },
    /// With no more memory than this.
    ServeWithin {
        mb: usize,
    },
}

const ALONE: Work = Work::Decode { how: DECODE_ONLY };
const UNCOPIED: Work = Work::Decode { how: DECODE_UNCOPIED };
const WHOLE: Work = Work::Serve { idle_decode: "all" };

/// What the service takes, and where cameras send B-frames, which a decoder has to hold back; and the service within the
/// memory that it may take, from cold caches, so that whatever else of files is in memory for it counts as well.
fn memory(clips: &Clips, folder: &Path) {
    for (name, clip, count) in
        [("", &clips.people, 1), ("", &clips.people, 4), (" that send B-frames", &clips.b_frames, 4)]
    {
        let [result] = measure(clip, folder, count, [WHOLE], SETTLE);
        println!("cameras/memory, {count}{name}\n    {}", result.memory.told(count));
    }
    for count in [1, 4] {
        let mb = Memory::bound_mb(count);
        match Limit::of(mb) {
            Ok(limit) => drop(limit),
            Err(why) => {
                println!("cameras/memory: not measured: {why}");
                break;
            }
        }
        let [result] = measure(&clips.people, folder, count, [Work::ServeWithin { mb }], SETTLE);
        println!(
            "cameras/memory, no more than {mb} MB for {count}: {:.2} % late, {} pages read again in {SPAN:?}, {:.4} CPU seconds a camera-second\n    {}",
            100.0 * result.late,
            result.read_again,
            result.cpu,
            result.memory.told(count),
        );
    }
}

/// Whole over decoding alone, few cameras each on a box that has time; all at once, so that a machine that is faster in
/// one minute than in the next is so for all. Processor seconds that a camera of the service takes in a second, with
/// people in view.
fn ratios(clips: &Clips, folder: &Path) -> f64 {
    let cases = [
        ("people in view", &clips.people, "all", SETTLE, "1.15"),
        ("people in view, every other picture left out", &clips.disposable, "all", SETTLE, "none"),
        ("idle scene, motion gate", &clips.idle, "all", SETTLE_IDLE, "1.03"),
        ("idle scene, key frames only", &clips.idle, "keyframes", SETTLE_IDLE, "0.2"),
    ];
    let of_case = cases.map(|(name, clip, idle_decode, settle, bound)| {
        let works = [ALONE, UNCOPIED, Work::Serve { idle_decode }];
        let [alone, uncopied, whole] = measure(clip, folder, FEW, works, settle);
        println!(
            "cameras/{name}: {FEW} cameras; CPU seconds a camera-second: decoding alone {:.4}, whole {:.4}, ratio {:.3} (bound {bound}); \
             decoding without copies {:.4}, ratio to that {:.3}\n    {}\n    {}",
            alone.cpu,
            whole.cpu,
            whole.cpu / alone.cpu,
            uncopied.cpu,
            whole.cpu / uncopied.cpu,
            whole.stages,
            whole.memory.told(FEW),
        );
        whole.cpu + whole.simulation
    });
    of_case[0]
}

/// The most cameras of which less than one analysis (or picture) in a hundred is late: for decoding alone, without
/// copies, and for the service. A machine's speed goes up and down within minutes, so what is compared is tried in turn:
/// in each round all three with one camera more than they have held. Who was late has another chance as long as any of
/// them gets on, and it is over when none did in three rounds, so that each was late at least three times with one more.
fn most(clip: &Path, folder: &Path, a_camera: f64) -> [usize; 3] {
    let cores = std::thread::available_parallelism().expect("known").get() as f64;
    let first = ((cores / a_camera * SURE) as usize).max(1);
    let works = [("decoding alone", ALONE), ("decoding alone, without copies", UNCOPIED), ("the service", WHOLE)];
    for (name, work) in works {
        assert!(holds(name, clip, folder, first, work), "late with {first} cameras already: is this machine busy?");
    }
    let mut held = [first; 3];
    let mut in_vain = 0;
    while in_vain < 3 {
        let before = held;
        for (held, (name, work)) in held.iter_mut().zip(works) {
            *held += usize::from(holds(name, clip, folder, *held + 1, work));
        }
        in_vain = if held == before { in_vain + 1 } else { 0 };
    }
    held
}

fn holds(name: &str, clip: &Path, folder: &Path, count: usize, work: Work) -> bool {
    let [result] = measure(clip, folder, count, [work], SETTLE);
    println!(
        "cameras/{name}: {count} cameras: {:.2} % late, {:.4} CPU seconds a camera-second, {:.4} of the simulation\n    {}\n    {}",
        100.0 * result.late,
        result.cpu,
        result.simulation,
        result.stages,
        result.memory.told(count),
    );
    result.late < LATE_MAX
}

struct Result {
    late: f64,
    /// Seconds of processor time a camera and second.
    cpu: f64,
    simulation: f64,
    stages: String,
    memory: Memory,
    /// Pages that had to be read from the disk, during the measurement.
    read_again: u64,
}

/// Each work with cameras of its own, side by side.
fn measure<const WORKS: usize>(
    clip: &Path,
    folder: &Path,
    count: usize,
    works: [Work; WORKS],
    settle: Duration,
) -> [Result; WORKS] {
    let mut sides = works.map(|work| {
        // The service before the cameras: a file that both need counts as his who reads it first.
        let service = match work {
            Work::Decode { .. } => None,
            Work::Serve { idle_decode } => Some(Measured::serve(folder, idle_decode, None)),
            Work::ServeWithin { mb } => {
                let limit = Limit::of(mb).expect("it could be made before");
                Some(Measured::serve(folder, "all", Some(limit)))
            }
        };
        let simulation = Simulation::start(clip, count);
        let measured = match work {
            Work::Decode { how } => Measured::decode(how, &simulation.urls),
            _ => service.expect("just started"),
        };
        measured.watch(&simulation.urls);
        (simulation, measured)
    });
    std::thread::sleep(settle);
    let before = sides.each_mut().map(|(_, measured)| (measured.counts(), clock::monotonic()));
    // Asking for the counts takes the service's time, too: what it has used is read inside of that.
    let used = |side: &(Simulation, Measured)| {
        let (simulation, measured) = side;
        (measured.child.cpu(), simulation.child.cpu(), measured.child.major_faults(), clock::monotonic())
    };
    let used_before = sides.each_ref().map(used);
    std::thread::sleep(SPAN);
    let used_after = sides.each_ref().map(used);
    let mut before = before.into_iter().zip(used_before).zip(used_after);
    sides.map(|(_simulation, mut measured)| {
        let (((counts, begun), (cpu, simulated, read, from)), (cpu_after, simulated_after, read_after, to)) =
            before.next().expect("one each");
        let after = measured.counts();
        let camera_seconds = |span: Duration| count as f64 * span.as_secs_f64();
        let (counted, spent) = (camera_seconds(begun.elapsed()), camera_seconds(to - from));
        Result {
            late: after.late_since(&counts, counted),
            cpu: (cpu_after - cpu) / spent,
            simulation: (simulated_after - simulated) / spent,
            stages: after.stages_since(&counts, counted),
            memory: measured.child.memory(),
            read_again: read_after - read,
        }
    })
}
