//! The decoder's own buffer as a frame: mapped for reading, neither copied nor converted.

use gst_video::prelude::*;
use gst_video::{VideoColorMatrix, VideoColorRange, VideoFormat, VideoFrame, VideoInfo};

use crate::frame::{Color, Layout, Matrix, PixelBuffer, Planes};

/// Keeps the buffer from going back to the decoder until it is dropped.
pub struct DecodedPicture {
    frame: VideoFrame<gst_video::video_frame::Readable>,
    layout: Layout,
}

impl DecodedPicture {
    /// `None` when the buffer is no I420 or NV12 picture in memory that can be read.
    pub fn map(buffer: gst::Buffer, info: &VideoInfo) -> Option<Self> {
        let layout = match info.format() {
            VideoFormat::I420 => Layout::I420,
            VideoFormat::Nv12 => Layout::Nv12,
            _ => return None,
        };
        let frame = VideoFrame::from_buffer_readable(buffer, info).ok()?;
        let strides = frame.plane_stride();
        let readable = strides.iter().all(|&stride| stride > 0)
            && (layout == Layout::Nv12 || strides[1] == strides[2])
            && (0..frame.n_planes()).all(|plane| frame.plane_data(plane).is_ok());
        readable.then_some(Self { frame, layout })
    }

    fn plane(&self, index: u32) -> &[u8] {
        self.frame.plane_data(index).expect("checked when it was mapped")
    }
}

impl PixelBuffer for DecodedPicture {
    fn planes(&self) -> Planes<'_> {
        let strides = self.frame.plane_stride();
        Planes {
            layout: self.layout,
            width: self.frame.width() as usize,
            height: self.frame.height() as usize,
            y: self.plane(0),
            y_stride: strides[0] as usize,
            u: self.plane(1),
            v: if self.layout == Layout::I420 { self.plane(2) } else { &[] },
            uv_stride: strides[1] as usize,
        }
    }
}

/// What the stream says about its colours; where it is silent, GStreamer's rule by size.
pub fn color(info: &VideoInfo) -> Color {
    let colorimetry = info.colorimetry();
    let matrix = match colorimetry.matrix() {
        VideoColorMatrix::Bt709 => Matrix::Bt709,
        VideoColorMatrix::Bt2020 => Matrix::Bt2020,
        VideoColorMatrix::Bt601 | VideoColorMatrix::Fcc => Matrix::Bt601,
        _ if info.height() >= 720 => Matrix::Bt709,
        _ => Matrix::Bt601,
    };
    Color { matrix, full_range: colorimetry.range() == VideoColorRange::Range0_255 }
}
