//! Runtime, models, pictures and decoded videos for tests. Data that may be absent (../shared, .runtime) is reported
//! as absent, and the test that asked for it ends there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use face_edge::detect::{Catalog, Model, Runtime};
use face_edge::domain::{StreamTime, TimeSource, UnixMs};
use face_edge::frame::{Color, Frame, Layout, Matrix, Moment, OwnedPlanes};

/// `../shared/` + `path`; says so and is `None` where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if !path.exists() {
        eprintln!("absent, skipped: {}", path.display());
    }
    path.exists().then_some(path)
}

pub fn runtime() -> Option<Runtime> {
    Runtime::load(None).map_err(|error| eprintln!("absent, skipped: {error}")).ok()
}

/// The repository's own models and those of ../shared.
pub fn catalog() -> Catalog {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Catalog::with_folders(vec![root.join("models"), root.join("../shared/models")]).expect("models.toml is valid")
}

pub fn model(alias: &str) -> Option<Arc<Model>> {
    let catalog = catalog();
    let Some(path) = catalog.find(catalog.entry(alias).expect("known alias")) else {
        eprintln!("absent, skipped: the file of model {alias}");
        return None;
    };
    Some(Arc::new(catalog.load(alias).unwrap_or_else(|error| panic!("{}: {error}", path.display()))))
}

/// Every `step`th frame of a video, from frame 0, with its number.
pub fn every_nth_frame(
    video: &Path,
    (width, height): (usize, usize),
    matrix: Matrix,
    step: usize,
) -> Vec<(usize, Frame)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let raw = folder.path().join("frames.i420");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(video)
        .args(["-vf", &format!("select=not(mod(n\\,{step}))"), "-vsync", "0", "-pix_fmt", "yuv420p", "-f", "rawvideo"])
        .arg(&raw)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "ffmpeg could not decode {}", video.display());
    let bytes = std::fs::read(&raw).expect("what ffmpeg wrote");
    let frames = bytes.chunks_exact(width * height * 3 / 2);
    frames.enumerate().map(|(index, i420)| (index * step, frame(i420, width, height, matrix))).collect()
}

fn frame(i420: &[u8], width: usize, height: usize, matrix: Matrix) -> Frame {
    let (y, chroma) = i420.split_at(width * height);
    let (u, v) = chroma.split_at(chroma.len() / 2);
    let planes = OwnedPlanes { layout: Layout::I420, width, height, y: y.to_vec(), u: u.to_vec(), v: v.to_vec() };
    Frame {
        buffer: Arc::new(planes),
        color: Color { matrix, full_range: false },
        stream_time: StreamTime::ZERO,
        taken_at: UnixMs(0),
        arrived: face_edge::clock::monotonic(),
        decoded: face_edge::clock::monotonic(),
        time_source: TimeSource::File,
        moment: Moment::default(),
        number: 0,
    }
}
