//! Pictures that strangers send. Hostile until decoded: the kind is told by the bytes and never by a name, the size is
//! looked at before a pixel is decoded, memory and time are bounded while it is. What comes out is upright RGB.

use std::io::{BufRead, Cursor, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::clock;
use crate::domain::{Point, Rect, SeenFace};

/// A picture of the longest sides takes 48 MiB as RGB, 128 MiB as the 16-bit RGBA that a PNG may hold.
const MAX_DECODED_BYTES: u64 = 256 << 20;
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How much of its own width and height a kept face shows on each side of its box.
const KEPT_MARGIN: f32 = 0.5;
const KEPT_SIDE_PX: u32 = 640;
const KEPT_QUALITY: u8 = 90;

/// What an interface takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureLimits {
    pub min_bytes: usize,
    pub max_bytes: usize,
    pub min_side_px: u32,
    pub max_side_px: u32,
    pub kinds: &'static [Kind],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Jpeg,
    Png,
    /// The first frame.
    Gif,
    Bmp,
    WebP,
    Tiff,
}

impl Kind {
    pub const ALL: &'static [Self] = &[Self::Jpeg, Self::Png, Self::Gif, Self::Bmp, Self::WebP, Self::Tiff];

    const fn format(self) -> ImageFormat {
        match self {
            Self::Jpeg => ImageFormat::Jpeg,
            Self::Png => ImageFormat::Png,
            Self::Gif => ImageFormat::Gif,
            Self::Bmp => ImageFormat::Bmp,
            Self::WebP => ImageFormat::WebP,
            Self::Tiff => ImageFormat::Tiff,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureFault {
    #[error("the picture has {found} bytes, expected {least} to {most}")]
    Bytes { found: usize, least: usize, most: usize },
    #[error("the picture has {width}×{height} px, expected sides of {least} to {most} px")]
    Size { width: u32, height: u32, least: u32, most: u32 },
    #[error("these bytes are no picture of a kind that is taken here")]
    Unknown,
    #[error("the picture is damaged")]
    Damaged,
    #[error("decoding the picture took longer than {} s", TIME_LIMIT.as_secs())]
    Slow,
}

/// Upright RGB.
pub struct Picture(RgbImage);

impl Picture {
    pub fn decode(bytes: &[u8], limits: &PictureLimits) -> Result<Self, PictureFault> {
        Self::decode_until(bytes, limits, clock::monotonic() + TIME_LIMIT)
    }

    fn decode_until(bytes: &[u8], limits: &PictureLimits, deadline: Instant) -> Result<Self, PictureFault> {
        if !(limits.min_bytes..=limits.max_bytes).contains(&bytes.len()) {
            let (least, most) = (limits.min_bytes, limits.max_bytes);
            return Err(PictureFault::Bytes { found: bytes.len(), least, most });
        }
        let guessed = image::guess_format(bytes).map_err(|_| PictureFault::Unknown)?;
        let taken = limits.kinds.iter().any(|kind| kind.format() == guessed);
        if !taken {
            return Err(PictureFault::Unknown);
        }
        let fault = |_| if clock::monotonic() > deadline { PictureFault::Slow } else { PictureFault::Damaged };
        let mut reader = ImageReader::with_format(Timed { bytes: Cursor::new(bytes), deadline }, guessed);
        // Wider than what is taken, so that a size that is refused is refused by its own name.
        let mut allowed = Limits::default();
        allowed.max_alloc = Some(MAX_DECODED_BYTES);
        reader.limits(allowed);
        let mut decoder = reader.into_decoder().map_err(fault)?;
        let (width, height) = decoder.dimensions();
        let (least, most) = (limits.min_side_px, limits.max_side_px);
        if width.min(height) < least || width.max(height) > most {
            return Err(PictureFault::Size { width, height, least, most });
        }
        if decoder.total_bytes() > MAX_DECODED_BYTES {
            return Err(PictureFault::Size { width, height, least, most });
        }
        let orientation = decoder.orientation().map_err(fault)?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(fault)?;
        if clock::monotonic() > deadline {
            return Err(PictureFault::Slow);
        }
        picture.apply_orientation(orientation);
        Ok(Self(picture.into_rgb8()))
    }

    pub fn size(&self) -> (usize, usize) {
        (self.0.width() as usize, self.0.height() as usize)
    }

    pub fn rgb(&self) -> &[u8] {
        self.0.as_raw()
    }

    /// Brightness, a byte a pixel.
    pub fn luma(&self) -> Vec<u8> {
        let weighted = |[r, g, b]: &[u8; 3]| (77 * u32::from(*r) + 150 * u32::from(*g) + 29 * u32::from(*b) + 128) >> 8;
        self.0.as_raw().as_chunks::<3>().0.iter().map(|pixel| weighted(pixel) as u8).collect()
    }

    /// What is kept of a picture for one of its faces: the face with some room around it as JPEG, and the face in the
    /// pixels of that.
    pub fn keep(&self, face: &SeenFace) -> (Vec<u8>, SeenFace) {
        let (width, height) = (self.0.width() as f32, self.0.height() as f32);
        let region = face.bbox.grow(KEPT_MARGIN).clip(width, height);
        let (left, top) = (region.x.floor() as u32, region.y.floor() as u32);
        let right = (region.right().ceil() as u32).clamp(left + 1, self.0.width().max(left + 1));
        let bottom = (region.bottom().ceil() as u32).clamp(top + 1, self.0.height().max(top + 1));
        let mut crop = image::imageops::crop_imm(&self.0, left, top, right - left, bottom - top).to_image();
        let scale = (KEPT_SIDE_PX as f32 / crop.width().max(crop.height()) as f32).min(1.0);
        if scale < 1.0 {
            let side = |length: u32| ((length as f32 * scale).round() as u32).max(1);
            crop = image::imageops::resize(&crop, side(crop.width()), side(crop.height()), FilterType::Triangle);
        }
        let mut jpeg = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut jpeg, KEPT_QUALITY);
        crop.write_with_encoder(encoder).expect("RGB of at most 640 px a side, into memory");
        (jpeg, moved(face, (left as f32, top as f32), scale))
    }
}

fn moved(face: &SeenFace, (left, top): (f32, f32), scale: f32) -> SeenFace {
    let point = |p: Point| Point::new((p.x - left) * scale, (p.y - top) * scale);
    let Rect { x, y, w, h } = face.bbox;
    let mut face = face.clone();
    face.bbox = Rect::new((x - left) * scale, (y - top) * scale, w * scale, h * scale);
    if let Some(landmarks) = &mut face.landmarks {
        landmarks.0 = landmarks.0.map(point);
    }
    face
}

/// Bytes that can be read until a moment; a decoder that goes on reading after it is stopped.
struct Timed<'a> {
    bytes: Cursor<&'a [u8]>,
    deadline: Instant,
}

impl Timed<'_> {
    fn in_time(&self) -> std::io::Result<()> {
        if clock::monotonic() > self.deadline { Err(std::io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.in_time()?;
        self.bytes.read(buffer)
    }
}

impl BufRead for Timed<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.in_time()?;
        self.bytes.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.consume(amount);
    }
}

impl Seek for Timed<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PictureLimits =
        PictureLimits { min_bytes: 1, max_bytes: 1 << 20, min_side_px: 4, max_side_px: 500, kinds: Kind::ALL };

    fn painted(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            if x < width / 2 && y < height / 2 { [250, 10, 10] } else { [10, 10, 250] }.into()
        })
    }

    fn encoded(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        painted(width, height).write_to(&mut out, format).unwrap();
        out.into_inner()
    }

    #[test]
    fn every_kind_is_decoded() {
        for kind in Kind::ALL {
            let picture = Picture::decode(&encoded(kind.format(), 40, 20), &LIMITS)
                .unwrap_or_else(|fault| panic!("{kind:?}: {fault}"));
            assert_eq!(picture.size(), (40, 20), "{kind:?}");
            let (red, blue) = (picture.0.get_pixel(2, 2)[0], picture.0.get_pixel(38, 18)[2]);
            assert!(red > 200 && blue > 200, "{kind:?}: {red} {blue}");
        }
    }

    #[test]
    fn what_is_turned_is_put_upright() {
        let jpeg = encoded(ImageFormat::Jpeg, 40, 20);
        // An EXIF block that says: turned by 90 degrees (6).
        let tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut turned = vec![0xff, 0xd8, 0xff, 0xe1, 0, (tiff.len() + 8) as u8];
        turned.extend_from_slice(b"Exif\0\0");
        turned.extend_from_slice(tiff);
        turned.extend_from_slice(&jpeg[2..]);
        let picture = Picture::decode(&turned, &LIMITS).unwrap();
        assert_eq!(picture.size(), (20, 40));
        assert!(picture.0.get_pixel(18, 2)[0] > 200, "the red corner is at the top right now");
    }

    #[test]
    fn each_limit_is_named() {
        let decode = |bytes: &[u8]| Picture::decode(bytes, &LIMITS).err().unwrap();
        assert!(matches!(decode(&[]), PictureFault::Bytes { found: 0, .. }));
        assert!(matches!(decode(&vec![0; 2 << 20]), PictureFault::Bytes { .. }));
        assert_eq!(decode(b"GIF, but not really"), PictureFault::Unknown);
        assert!(matches!(decode(&encoded(ImageFormat::Png, 501, 20)), PictureFault::Size { width: 501, .. }));
        assert!(matches!(decode(&encoded(ImageFormat::Png, 40, 3)), PictureFault::Size { height: 3, .. }));
        let only_png = PictureLimits { kinds: &[Kind::Png], ..LIMITS };
        let refused = Picture::decode(&encoded(ImageFormat::Jpeg, 40, 20), &only_png).err();
        assert_eq!(refused, Some(PictureFault::Unknown));
    }

    #[test]
    fn a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded() {
        let mut png = encoded(ImageFormat::Png, 40, 20);
        png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let mut gif = encoded(ImageFormat::Gif, 40, 20);
        gif[6..10].copy_from_slice(&[0xff; 4]);
        let mut bmp = encoded(ImageFormat::Bmp, 40, 20);
        bmp[18..26].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
        for bomb in [png, gif, bmp] {
            let begun = clock::monotonic();
            assert!(Picture::decode(&bomb, &LIMITS).is_err());
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    }

    #[test]
    fn a_picture_cut_anywhere_is_damaged_or_decoded_and_never_worse() {
        for kind in Kind::ALL {
            let whole = encoded(kind.format(), 24, 16);
            for end in (0..whole.len()).step_by(whole.len() / 60 + 1) {
                let _ = Picture::decode(&whole[..end], &LIMITS);
            }
        }
    }

    #[test]
    fn a_decoder_that_is_late_is_stopped() {
        let past = clock::monotonic() - Duration::from_millis(1);
        let late = Picture::decode_until(&encoded(ImageFormat::Png, 40, 20), &LIMITS, past).err();
        assert_eq!(late, Some(PictureFault::Slow));
    }

    #[test]
    fn what_is_kept_shows_the_face_with_some_room() {
        let picture = Picture(painted(2000, 1000));
        let face = SeenFace {
            bbox: Rect::new(900.0, 100.0, 400.0, 400.0),
            score: 0.9,
            landmarks: None,
            quality: 0.5,
            embedding: None,
        };
        let (jpeg, kept) = picture.keep(&face);
        let size = Picture::decode(&jpeg, &PictureLimits { max_side_px: 4000, ..LIMITS }).unwrap().size();
        assert_eq!(size, (640, 560), "from 700 to 1500 and from 0 to 700, at most 640");
        assert_eq!((kept.bbox.x, kept.bbox.w), (160.0, 320.0));
    }
}
