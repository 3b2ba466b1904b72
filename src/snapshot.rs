//! Pictures worth keeping: the crop of a face cut from a frame's planes, and its JPEG.
//!
//! A "best picture so far" must outlive its frame without pinning the decoder's memory, so the crop's planes are
//! copied (a few tens of kilobytes). Colour is converted only when a picture is sent, and only the crop's.

use jpeg_encoder::{Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor};

use crate::domain::Rect;
use crate::frame::{Color, Layout, Matrix, OwnedPlanes, PixelBuffer, Planes};

/// How much of its own width and height a face's picture shows on each side of the box.
pub const CROP_MARGIN: f32 = 0.2;

/// A part of a frame, copied.
pub struct Crop {
    planes: OwnedPlanes,
    color: Color,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("a picture of {width}×{height} px cannot be a JPEG: sides are 1..=65535 px")]
    Size { width: usize, height: usize },
    #[error("JPEG encoder: {0}")]
    Encode(#[from] EncodingError),
}

impl Crop {
    /// The face's box grown by [`CROP_MARGIN`], clipped to the frame.
    pub fn of_face(planes: &Planes<'_>, color: Color, face: &Rect) -> Self {
        let region = face.grow(CROP_MARGIN).clip(planes.width as f32, planes.height as f32);
        Self::of_region(planes, color, &region)
    }

    /// The region in whole pixels, its top left moved to a whole chroma sample (even coordinates), so that no colour is interpolated.
    pub fn of_region(planes: &Planes<'_>, color: Color, region: &Rect) -> Self {
        let left = (region.x.round().max(0.0) as usize).min(planes.width.saturating_sub(1)) & !1;
        let top = (region.y.round().max(0.0) as usize).min(planes.height.saturating_sub(1)) & !1;
        let right = (region.right().round().max(0.0) as usize).clamp(left + 1, planes.width);
        let bottom = (region.bottom().round().max(0.0) as usize).clamp(top + 1, planes.height);
        Self { planes: copy_of(planes, left, top, right - left, bottom - top), color }
    }

    pub fn size(&self) -> (usize, usize) {
        (self.planes.width, self.planes.height)
    }

    /// A baseline JPEG (4:2:0), `quality` 1..=100.
    pub fn jpeg(&self, quality: u8) -> Result<Vec<u8>, SnapshotError> {
        jpeg(&self.planes.planes(), self.color, quality)
    }
}

/// A part of a frame as planes of our own, I420; `left` and `top` are even, the part lies within the frame.
pub fn copy_of(planes: &Planes<'_>, left: usize, top: usize, width: usize, height: usize) -> OwnedPlanes {
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut y = Vec::with_capacity(width * height);
    for row in planes.y.chunks(planes.y_stride).skip(top).take(height) {
        y.extend_from_slice(&row[left..left + width]);
    }
    let mut u = Vec::with_capacity(chroma_width * chroma_height);
    let mut v = Vec::with_capacity(chroma_width * chroma_height);
    for chroma_y in top / 2..top / 2 + chroma_height {
        let row = chroma_y * planes.uv_stride;
        match planes.layout {
            Layout::I420 => {
                u.extend_from_slice(&planes.u[row + left / 2..][..chroma_width]);
                v.extend_from_slice(&planes.v[row + left / 2..][..chroma_width]);
            }
            Layout::Nv12 => {
                for pair in planes.u[row + left..][..2 * chroma_width].chunks_exact(2) {
                    u.push(pair[0]);
                    v.push(pair[1]);
                }
            }
        }
    }
    OwnedPlanes { layout: Layout::I420, width, height, y, u, v }
}

/// A whole frame as a baseline JPEG (4:2:0), `quality` 1..=100.
pub fn jpeg(planes: &Planes<'_>, color: Color, quality: u8) -> Result<Vec<u8>, SnapshotError> {
    let (width, height) = (planes.width, planes.height);
    let size_error = || SnapshotError::Size { width, height };
    let source = JpegSource {
        planes: *planes,
        to_jfif: ToJfif::new(color),
        width: u16::try_from(width).map_err(|_| size_error())?,
        height: u16::try_from(height).map_err(|_| size_error())?,
    };
    if width == 0 || height == 0 {
        return Err(size_error());
    }
    let mut out = Vec::with_capacity(width * height / 4 + 1024);
    let mut encoder = Encoder::new(&mut out, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode_image(source)?;
    Ok(out)
}

struct JpegSource<'a> {
    planes: Planes<'a>,
    to_jfif: ToJfif,
    width: u16,
    height: u16,
}

impl ImageBuffer for JpegSource<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (planes, row) = (&self.planes, usize::from(y));
        let luma = &planes.y[row * planes.y_stride..][..planes.width];
        let [out_y, out_cb, out_cr, _] = buffers;
        let (out_y, out_cb, out_cr) =
            (grow(out_y, planes.width), grow(out_cb, planes.width), grow(out_cr, planes.width));
        let out = luma.chunks(2).zip(out_y.chunks_mut(2)).zip(out_cb.chunks_mut(2)).zip(out_cr.chunks_mut(2));
        let (start, samples) = (row / 2 * planes.uv_stride, planes.width.div_ceil(2));
        match planes.layout {
            Layout::I420 => {
                let (u, v) = (&planes.u[start..][..samples], &planes.v[start..][..samples]);
                u.iter().zip(v).zip(out).for_each(|((&u, &v), out)| self.to_jfif.fill_pair(u, v, out));
            }
            Layout::Nv12 => {
                let uv = planes.u[start..][..2 * samples].chunks_exact(2);
                uv.zip(out).for_each(|(uv, out)| self.to_jfif.fill_pair(uv[0], uv[1], out));
            }
        }
    }
}

/// Room for `more` bytes at the buffer's end.
fn grow(buffer: &mut Vec<u8>, more: usize) -> &mut [u8] {
    let start = buffer.len();
    buffer.resize(start + more, 0);
    &mut buffer[start..]
}

/// Up to two pixels that share a chroma sample: luma in; Y, Cb and Cr out.
type Pair<'a> = (((&'a [u8], &'a mut [u8]), &'a mut [u8]), &'a mut [u8]);

/// From a video's Y'CbCr to JFIF's, which is full-range BT.601 (ITU-T T.871). Both are linear in R'G'B', so the way
/// there and back is one 3×3 matrix; fixed point with 16 fractional bits.
struct ToJfif {
    luma: i32,
    /// Rows Y, Cb, Cr; columns of the source's Cb and Cr, and an offset. Grey has no chroma, so in the rows of Cb and Cr
    /// luma has no weight.
    rows: [[i32; 3]; 3],
}

/// What the pixels of one chroma sample have in common; `y` is in fixed point, still without the pixel's luma.
struct Shared {
    y: i32,
    cb: u8,
    cr: u8,
}

const ONE: f64 = 65536.0;

impl ToJfif {
    fn new(color: Color) -> Self {
        let rgb = to_rgb(color);
        let jfif = [[0.299, 0.587, 0.114], [-0.168_735_9, -0.331_264_1, 0.5], [0.5, -0.418_687_6, -0.081_312_4]];
        let luma_floor = if color.full_range { 0.0 } else { 16.0 };
        let weight = |row: usize, column: usize| (0..3).map(|k| jfif[row][k] * rgb[k][column]).sum::<f64>();
        let rows = std::array::from_fn(|row| {
            let (bias, luma) = if row == 0 { (0.0, weight(0, 0) * luma_floor) } else { (128.0, 0.0) };
            let offset = bias - luma - (weight(row, 1) + weight(row, 2)) * 128.0 + 0.5;
            [weight(row, 1), weight(row, 2), offset].map(|value| (value * ONE).round() as i32)
        });
        Self { luma: (weight(0, 0) * ONE).round() as i32, rows }
    }

    #[inline]
    fn shared(&self, u: u8, v: u8) -> Shared {
        let [y, cb, cr] = self.rows.map(|[a, b, offset]| a * i32::from(u) + b * i32::from(v) + offset);
        Shared { y, cb: to_byte(cb), cr: to_byte(cr) }
    }

    #[inline]
    fn fill_pair(&self, u: u8, v: u8, (((luma, out_y), out_cb), out_cr): Pair<'_>) {
        let shared = self.shared(u, v);
        for (out, &luma) in out_y.iter_mut().zip(luma) {
            *out = self.luma(luma, shared.y);
        }
        out_cb.fill(shared.cb);
        out_cr.fill(shared.cr);
    }

    #[inline]
    fn luma(&self, y: u8, shared: i32) -> u8 {
        to_byte(self.luma * i32::from(y) + shared)
    }
}

#[inline]
fn to_byte(fixed: i32) -> u8 {
    (fixed >> 16).clamp(0, 255) as u8
}

/// R'G'B' (0..255) by the source's Y', Cb and Cr with their offsets taken away: ITU-R BT.601, BT.709, BT.2020.
fn to_rgb(color: Color) -> [[f64; 3]; 3] {
    let (kr, kb) = match color.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    };
    let kg = 1.0 - kr - kb;
    let (luma, chroma) = if color.full_range { (1.0, 1.0) } else { (255.0 / 219.0, 255.0 / 224.0) };
    let (r_cr, b_cb) = (2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma);
    [[luma, 0.0, r_cr], [luma, -b_cb * kb / kg, -r_cr * kr / kg], [luma, b_cb, 0.0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const BT709_LIMITED: Color = Color { matrix: Matrix::Bt709, full_range: false };
    const JFIF: Color = Color { matrix: Matrix::Bt601, full_range: true };

    fn convert(to_jfif: &ToJfif, y: u8, u: u8, v: u8) -> [u8; 3] {
        let shared = to_jfif.shared(u, v);
        [to_jfif.luma(y, shared.y), shared.cb, shared.cr]
    }

    fn gradient(layout: Layout, width: usize, height: usize) -> OwnedPlanes {
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        let y = (0..width * height).map(|i| (16 + (i % width + i / width) % 200) as u8).collect();
        let u: Vec<u8> = (0..cw * ch).map(|i| (100 + i % cw) as u8).collect();
        let v: Vec<u8> = (0..cw * ch).map(|i| (250 - i / cw % 200) as u8).collect();
        match layout {
            Layout::I420 => OwnedPlanes { layout, width, height, y, u, v },
            Layout::Nv12 => {
                let uv = u.iter().zip(&v).flat_map(|(&u, &v)| [u, v]).collect();
                OwnedPlanes { layout, width, height, y, u: uv, v: Vec::new() }
            }
        }
    }

    #[test]
    fn jfif_samples_stay_as_they_are() {
        let same = ToJfif::new(JFIF);
        for (y, u, v) in [(0, 128, 128), (255, 128, 128), (17, 90, 200), (128, 255, 0)] {
            assert_eq!(convert(&same, y, u, v), [y, u, v]);
        }
    }

    #[test]
    fn limited_range_is_stretched() {
        let stretch = ToJfif::new(BT709_LIMITED);
        assert_eq!(convert(&stretch, 16, 128, 128), [0, 128, 128]);
        assert_eq!(convert(&stretch, 235, 128, 128), [255, 128, 128]);
        assert_eq!(convert(&stretch, 126, 128, 128), [128, 128, 128]);
    }

    #[test]
    fn bt709_red_is_red_in_the_jpeg() {
        // 100 % red in limited BT.709 is (63, 102, 240); in JFIF it is (76, 85, 255).
        let [y, cb, cr] = convert(&ToJfif::new(BT709_LIMITED), 63, 102, 240);
        assert!(y.abs_diff(76) <= 1 && cb.abs_diff(85) <= 1 && cr.abs_diff(255) <= 1, "{y} {cb} {cr}");
    }

    #[test]
    fn the_crop_has_the_margin_and_stays_in_the_frame() {
        let frame = gradient(Layout::I420, 640, 360);
        let inner = Crop::of_face(&frame.planes(), JFIF, &Rect::new(200.0, 100.0, 100.0, 100.0));
        assert_eq!(inner.size(), (140, 140));
        let corner = Crop::of_face(&frame.planes(), JFIF, &Rect::new(-10.0, 300.0, 100.0, 100.0));
        assert_eq!(corner.size(), (110, 80));
        let outside = Crop::of_face(&frame.planes(), JFIF, &Rect::new(900.0, 900.0, 10.0, 10.0));
        assert!(outside.size().0 >= 1 && outside.size().1 >= 1);
    }

    #[test]
    fn nv12_and_i420_give_the_same_picture() {
        let region = Rect::new(13.0, 7.0, 51.0, 33.0);
        let jpeg_of = |layout| {
            let frame = gradient(layout, 131, 77);
            Crop::of_region(&frame.planes(), BT709_LIMITED, &region).jpeg(90).unwrap()
        };
        assert_eq!(jpeg_of(Layout::I420), jpeg_of(Layout::Nv12));
    }

    #[test]
    fn the_jpeg_decodes_to_the_colours_that_went_in() {
        let mut frame = OwnedPlanes::black(64, 48);
        frame.y.fill(63);
        frame.u.fill(102);
        frame.v.fill(240);
        let bytes = jpeg(&frame.planes(), BT709_LIMITED, 95).unwrap();
        let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (64, 48));
        let [r, g, b] = picture.get_pixel(30, 20).0;
        assert!(r > 245 && g < 12 && b < 12, "{r} {g} {b}");
    }

    #[test]
    fn an_odd_sized_frame_is_whole() {
        let frame = gradient(Layout::I420, 33, 21);
        let bytes = jpeg(&frame.planes(), JFIF, 80).unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8().dimensions(), (33, 21));
    }
}
