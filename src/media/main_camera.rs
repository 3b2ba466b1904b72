//! A camera's main stream: connected like any camera, kept in its coded form, decoded where a picture is asked for.

use std::sync::Arc;
use std::time::Instant;

use super::coded::Store;
use super::segment::Claimed;
use super::{Camera, CameraSpec, CameraState, MediaError, Pace, decode_one};
use crate::domain::{StreamTime, TimeSource, UnixMs};
use crate::frame::Frame;
use crate::main_stream::{Absent, Claim, MainStream};

/// A connection to a main stream. Stops when dropped; what was claimed can still be decoded.
pub struct MainCamera {
    store: Arc<Store>,
    camera: Option<Camera>,
}

/// What has come of a main stream.
struct Pictures(Arc<Store>);

struct Wanted {
    store: Arc<Store>,
    claimed: Arc<Claimed<gst::Buffer, gst::Caps>>,
    /// Of the small picture that goes with it.
    stream_time: StreamTime,
    taken_at: UnixMs,
    time_source: TimeSource,
    number: u64,
    arrived: Instant,
    decoded: Instant,
}

impl MainCamera {
    /// Returns at once; `on_state` is called from the stream's own thread.
    pub fn start(url: &str, on_state: impl Fn(CameraState) + Send + 'static) -> Result<Self, MediaError> {
        let store = Arc::new(Store::default());
        let camera = Camera::start_coded(CameraSpec::new(url, Pace::Live), Arc::clone(&store), on_state)?;
        Ok(Self { store, camera: Some(camera) })
    }

    pub fn pictures(&self) -> Arc<dyn MainStream> {
        Arc::new(Pictures(Arc::clone(&self.store)))
    }
}

impl Drop for MainCamera {
    fn drop(&mut self) {
        self.camera = None;
        // Nobody waits for what does not come any more.
        self.store.ring.restart();
    }
}

impl MainStream for Pictures {
    fn size(&self) -> Option<(usize, usize)> {
        *self.0.size.lock()
    }

    fn claim(&self, frame: &Frame) -> Arc<dyn Claim> {
        let Frame { stream_time, taken_at, time_source, number, arrived, decoded, .. } = *frame;
        let claimed = self.0.ring.claim(frame.moment);
        Arc::new(Wanted {
            store: Arc::clone(&self.0),
            claimed,
            stream_time,
            taken_at,
            time_source,
            number,
            arrived,
            decoded,
        })
    }
}

impl Claim for Wanted {
    fn decode(&self) -> Result<Frame, Absent> {
        let run = self.store.ring.run(&self.claimed)?;
        let (moment, by_camera) = {
            let clock = run.segment.clock.lock();
            (clock.moment(run.pts_ns), clock.of(Some(run.pts_ns), self.taken_at))
        };
        let (picture, color) =
            decode_one::decode(&run.segment.coding, run.units, run.pts_ns).map_err(Absent::Undecodable)?;
        let (taken_at, time_source) = match by_camera.1 {
            TimeSource::Camera { .. } => by_camera,
            _ => (self.taken_at, self.time_source),
        };
        let Self { stream_time, number, arrived, decoded, .. } = *self;
        let buffer = Arc::new(picture);
        Ok(Frame { buffer, color, stream_time, taken_at, arrived, decoded, time_source, moment, number })
    }
}
