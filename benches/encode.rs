//! From planes to JPEG: a face's crop, and a whole 1080p frame.

use criterion::{Criterion, criterion_group, criterion_main};
use face_edge::domain::Rect;
use face_edge::frame::{Color, Layout, Matrix, OwnedPlanes, PixelBuffer};
use face_edge::snapshot::{self, Crop};

const COLOR: Color = Color { matrix: Matrix::Bt709, full_range: false };

/// Smooth shading with some grain, so that the encoder has about as much to do as with a camera's picture.
fn frame(width: usize, height: usize) -> OwnedPlanes {
    let grain = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) % 9;
    let y = (0..width * height).map(|i| (60 + (i % width) / 16 + (i / width) / 32 + grain(i)) as u8).collect();
    let chroma = width.div_ceil(2) * height.div_ceil(2);
    let plane = |base: usize| (0..chroma).map(|i| (base + (i / 97) % 16) as u8).collect();
    OwnedPlanes { layout: Layout::I420, width, height, y, u: plane(110), v: plane(130) }
}

fn encode(c: &mut Criterion) {
    let frame = frame(1920, 1080);
    let planes = frame.planes();
    let face = Rect::new(800.0, 400.0, 143.0, 143.0);
    c.bench_function("encode/cut a 200x200 crop", |b| b.iter(|| Crop::of_face(&planes, COLOR, &face)));
    let crop = Crop::of_face(&planes, COLOR, &face);
    c.bench_function("encode/200x200 crop, quality 90", |b| b.iter(|| crop.jpeg(90).expect("encodes")));
    c.bench_function("encode/1080p frame, quality 90", |b| {
        b.iter(|| snapshot::jpeg(&planes, COLOR, 90).expect("encodes"));
    });
}

criterion_group!(benches, encode);
criterion_main!(benches);
