//! When a picture was taken: the camera's sender reports over real RTSP, believed or not.

use std::sync::Arc;

use face_edge::clock;
use face_edge::domain::{TimeSource, UnixMs};
use face_edge::frame::Frame;
use face_edge::media::{self, Camera, CameraSpec, FrameSink, Pace};
use face_edge::sim::camera::{FaultKind, SimCamera, SimSpec};
use face_edge::sim::reports::Reports;
use parking_lot::{Condvar, Mutex};

use crate::media::clip;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(40);
/// From a picture's due time to its arrival behind the decoder, on a box that is busy with other tests.
const LATE_MS: i64 = 3_000;
/// The clip has B-frames, and the simulated camera sends a picture when it has to be decoded, up to four pictures before
/// it is due.
const EARLY_MS: i64 = 200;

#[derive(Clone, Copy, Debug)]
struct Picture {
    taken_at: UnixMs,
    source: TimeSource,
    received: UnixMs,
}

#[derive(Default)]
struct Album(Mutex<Vec<Picture>>, Condvar);

impl Album {
    fn wait<T>(&self, what: &str, done: impl Fn(&[Picture]) -> Option<T>) -> T {
        let deadline = clock::monotonic() + PATIENCE;
        let mut pictures = self.0.lock();
        loop {
            if let Some(found) = done(&pictures) {
                return found;
            }
            let late = self.1.wait_until(&mut pictures, deadline).timed_out();
            assert!(!late, "waited in vain for {what}; {} pictures, last {:?}", pictures.len(), pictures.last());
        }
    }
}

impl FrameSink for Album {
    fn offer(&self, frame: Frame) {
        let picture = Picture { taken_at: frame.taken_at, source: frame.time_source, received: clock::unix_ms() };
        self.0.lock().push(picture);
        self.1.notify_all();
    }

    fn offer_waiting(&self, frame: Frame, _: std::time::Duration) -> Result<(), Frame> {
        self.offer(frame);
        Ok(())
    }

    fn end(&self) {}
}

struct Filmed {
    sim: SimCamera,
    album: Arc<Album>,
    _camera: Camera,
    _folder: tempfile::TempDir,
}

fn film(reports: Reports) -> Filmed {
    media::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sim = SimCamera::start(SimSpec { reports, ..SimSpec::new(vec![clip(folder.path(), 50)]) }).unwrap();
    let album = Arc::new(Album::default());
    let sink = Arc::clone(&album) as Arc<dyn FrameSink>;
    let camera = Camera::start(CameraSpec::new(sim.url(0), Pace::Live), sink, |_| ()).unwrap();
    Filmed { sim, album, _camera: camera, _folder: folder }
}

fn by_receipt(picture: &Picture) -> bool {
    (0..1_000).contains(&(picture.received.0 - picture.taken_at.0))
}

#[test]
fn a_camera_three_seconds_ahead_dates_its_pictures_itself() {
    let filmed = film(Reports::Ahead { ms: 3_000 });
    let (first, dated) = filmed.album.wait("ten pictures with camera time", |pictures| {
        let is_dated = |picture: &&Picture| matches!(picture.source, TimeSource::Camera { .. });
        let dated: Vec<Picture> = pictures.iter().filter(is_dated).copied().collect();
        (dated.len() >= 10).then(|| (pictures[0], dated))
    });
    assert_eq!(first.source, TimeSource::UNTOLD, "no report comes before the first picture");
    assert!(by_receipt(&first), "{first:?}");
    for picture in &dated {
        let Some(skew_ms) = picture.source.skew_ms() else { panic!("{picture:?}") };
        assert!((-3_000 - EARLY_MS..-3_000 + LATE_MS).contains(&skew_ms), "{skew_ms}");
        let true_ms = picture.taken_at.0 - 3_000;
        assert!((-EARLY_MS..LATE_MS).contains(&(picture.received.0 - true_ms)), "{picture:?}");
    }
    let steps = dated.windows(2).map(|pair| pair[1].taken_at.0 - pair[0].taken_at.0);
    assert!(
        steps.clone().all(|ms| (38..=42).contains(&ms)),
        "the camera's own rhythm: {:?}",
        steps.collect::<Vec<_>>()
    );
}

#[test]
fn a_camera_an_hour_off_is_not_believed_and_its_skew_is_told() {
    let filmed = film(Reports::Ahead { ms: -3_600_000 });
    let told = filmed.album.wait("a picture with a skew", |pictures| {
        pictures.iter().find(|picture| picture.source.skew_ms().is_some()).copied()
    });
    let TimeSource::Receipt { skew_ms: Some(skew_ms) } = told.source else { panic!("{told:?}") };
    assert!((3_600_000 - EARLY_MS..3_600_000 + LATE_MS).contains(&skew_ms), "{skew_ms}");
    assert!(by_receipt(&told), "{told:?}");
}

/// Reports come every five seconds or more often.
#[test]
fn without_reports_pictures_are_dated_by_their_receipt() {
    let filmed = film(Reports::None);
    let pictures = filmed.album.wait("eight seconds", |pictures| (pictures.len() >= 200).then(|| pictures.to_vec()));
    assert!(pictures.iter().all(|picture| picture.source == TimeSource::UNTOLD && by_receipt(picture)));
}

#[test]
fn a_new_connection_waits_for_a_report_of_its_own() {
    let filmed = film(Reports::Ahead { ms: -4_000 });
    let is_dated = |picture: &Picture| matches!(picture.source, TimeSource::Camera { .. });
    let before = filmed.album.wait("camera time", |pictures| pictures.iter().position(is_dated));
    filmed.sim.fail(FaultKind::Drop);
    let rest = |pictures: &[Picture]| pictures[before..].iter().map(is_dated).collect::<Vec<_>>();
    filmed.album.wait("receipt and then camera time", |pictures| {
        let mut turns = rest(pictures);
        turns.dedup();
        (turns == [true, false, true]).then_some(())
    });
}
