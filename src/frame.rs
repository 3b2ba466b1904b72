//! A decoded frame: full resolution, as the decoder left it, passed on by reference; and the word that goes back from whoever
//! looked at it to whoever decodes the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::domain::{StreamTime, TimeSource, UnixMs};

/// Two streams of a camera whose times by the camera and by us differ by more than this have not the same clock.
const CONTRADICTION_NS: u64 = 1_000_000_000;

/// What the analysis of a camera's frames tells those who decode them: whether the scene is idle, so that key frames are
/// enough. Asked anew with each key frame.
#[derive(Debug, Default)]
pub struct Idle {
    is_idle: AtomicBool,
    asked: AtomicBool,
}

impl Idle {
    /// By the frame that was looked at last.
    pub fn tell(&self, is_idle: bool) {
        self.is_idle.store(is_idle, Ordering::Relaxed);
        self.asked.store(false, Ordering::Release);
    }

    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether a frame was looked at since the question.
    pub fn is_answered(&self) -> bool {
        !self.asked.load(Ordering::Acquire)
    }

    pub fn get(&self) -> bool {
        self.is_idle.load(Ordering::Relaxed)
    }
}

/// How chroma lies in memory. Both are 4:2:0, eight bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Three planes: Y, U, V (software decoders).
    I420,
    /// Two planes: Y, and U and V interleaved (hardware decoders).
    Nv12,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    Bt601,
    Bt709,
    Bt2020,
}

/// How to read the samples as colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    pub matrix: Matrix,
    /// 0..255 rather than 16..235.
    pub full_range: bool,
}

/// The planes of one frame. Rows start `stride` bytes apart. Chroma planes have ⌈width/2⌉ × ⌈height/2⌉ samples.
#[derive(Clone, Copy)]
pub struct Planes<'a> {
    pub layout: Layout,
    pub width: usize,
    pub height: usize,
    pub y: &'a [u8],
    pub y_stride: usize,
    /// I420: the U plane. NV12: the interleaved UV plane.
    pub u: &'a [u8],
    /// I420: the V plane. NV12: empty.
    pub v: &'a [u8],
    /// Of both chroma planes, in bytes.
    pub uv_stride: usize,
}

impl Planes<'_> {
    /// The chroma sample (u, v) at chroma coordinates.
    #[inline]
    pub fn chroma(&self, cx: usize, cy: usize) -> (u8, u8) {
        let row = cy * self.uv_stride;
        match self.layout {
            Layout::I420 => (self.u[row + cx], self.v[row + cx]),
            Layout::Nv12 => (self.u[row + 2 * cx], self.u[row + 2 * cx + 1]),
        }
    }
}

/// When a picture was taken, for finding it in another stream of the same camera. Nothing is known of either by default.
/// Small, because each frame carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    camera_ns: i64,
    local_ns: i64,
}

const UNKNOWN_NS: i64 = i64::MIN;

impl Default for Moment {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl Moment {
    /// By the camera's clock, right or wrong, since the Unix epoch; and since this process began, if every packet had
    /// come as quickly as the quickest of late.
    pub fn new(camera_ns: Option<i64>, local_ns: Option<i64>) -> Self {
        Self { camera_ns: camera_ns.unwrap_or(UNKNOWN_NS), local_ns: local_ns.unwrap_or(UNKNOWN_NS) }
    }

    /// Nanoseconds from the other to this: by the camera's clock where both know it and ours does not contradict.
    pub fn since(&self, other: &Self) -> Option<i64> {
        let between =
            |this: i64, other: i64| (this != UNKNOWN_NS && other != UNKNOWN_NS).then(|| this.saturating_sub(other));
        let local = between(self.local_ns, other.local_ns);
        let agree = |camera: &i64| local.is_none_or(|local| local.abs_diff(*camera) <= CONTRADICTION_NS);
        between(self.camera_ns, other.camera_ns).filter(agree).or(local)
    }
}

/// Whatever owns the memory: a decoder's buffer in production, a vector in tests.
pub trait PixelBuffer: Send + Sync {
    fn planes(&self) -> Planes<'_>;
}

/// Cheap to clone; the pixels are shared.
#[derive(Clone)]
pub struct Frame {
    pub buffer: Arc<dyn PixelBuffer>,
    pub color: Color,
    pub stream_time: StreamTime,
    /// When the picture was taken, as well as the source lets us know.
    pub taken_at: UnixMs,
    /// When the coded picture reached the decoder; where that is not known, when the decoder gave it.
    pub arrived: Instant,
    pub decoded: Instant,
    pub time_source: TimeSource,
    pub moment: Moment,
    /// Counts decoded frames of this stream from 0, those not analysed included.
    pub number: u64,
}

impl Frame {
    pub fn planes(&self) -> Planes<'_> {
        self.buffer.planes()
    }

    pub fn size(&self) -> (usize, usize) {
        let planes = self.planes();
        (planes.width, planes.height)
    }
}

/// Tightly packed planes of our own: drawn scenes, tests, and pictures read from files.
pub struct OwnedPlanes {
    pub layout: Layout,
    pub width: usize,
    pub height: usize,
    pub y: Vec<u8>,
    pub u: Vec<u8>,
    pub v: Vec<u8>,
}

impl OwnedPlanes {
    /// A black I420 picture (limited range).
    pub fn black(width: usize, height: usize) -> Self {
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Self {
            layout: Layout::I420,
            width,
            height,
            y: vec![16; width * height],
            u: vec![128; chroma],
            v: vec![128; chroma],
        }
    }
}

impl PixelBuffer for OwnedPlanes {
    fn planes(&self) -> Planes<'_> {
        let chroma_width = self.width.div_ceil(2);
        Planes {
            layout: self.layout,
            width: self.width,
            height: self.height,
            y: &self.y,
            y_stride: self.width,
            u: &self.u,
            v: &self.v,
            uv_stride: if self.layout == Layout::Nv12 { 2 * chroma_width } else { chroma_width },
        }
    }
}
