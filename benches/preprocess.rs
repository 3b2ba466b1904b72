//! From planes to the input tensor, one core. The sizes are those that plans choose for 1080p.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use face_edge::detect::preprocess::{Geometry, Pixels, Sampler};
use face_edge::detect::{InputRule, InputSize, PixelOrder};
use face_edge::frame::{Color, Layout, Matrix, OwnedPlanes, PixelBuffer};

const RULE: InputRule = InputRule { order: PixelOrder::Bgr, mean: 0.0, scale: 1.0, multiple_of: Some(32), fixed: None };
const COLOR: Color = Color { matrix: Matrix::Bt709, full_range: false };

/// Name, input, of 1080p.
const CASES: [(&str, InputSize); 5] = [
    ("box 6x6 to 320x180", InputSize { width: 320, height: 192, content: (320, 180) }),
    ("box 3x3 to 640x360", InputSize { width: 640, height: 384, content: (640, 360) }),
    ("box 4.3 to 448x252", InputSize { width: 448, height: 256, content: (448, 252) }),
    ("box 2x2 to 960x540", InputSize { width: 960, height: 544, content: (960, 540) }),
    ("bilinear 1.5 to 1280x720", InputSize { width: 1280, height: 736, content: (1280, 720) }),
];

fn frame(layout: Layout) -> OwnedPlanes {
    let (width, height) = (1920, 1080);
    let ramp = |len: usize, step: usize| (0..len).map(|i| (i * step % 251) as u8).collect::<Vec<u8>>();
    let chroma = width / 2 * (height / 2);
    let (u, v) = match layout {
        Layout::I420 => (ramp(chroma, 3), ramp(chroma, 5)),
        Layout::Nv12 => (ramp(2 * chroma, 3), Vec::new()),
    };
    OwnedPlanes { layout, width, height, y: ramp(width * height, 7), u, v }
}

fn preprocess(criterion: &mut Criterion) {
    for (layout, name) in [(Layout::I420, "i420"), (Layout::Nv12, "nv12")] {
        let frame = frame(layout);
        let mut group = criterion.benchmark_group(format!("preprocess 1080p {name}"));
        for (case, input) in CASES {
            let mut sampler = Sampler::new(Geometry::whole_frame((1920, 1080), Pixels::Yuv(layout), input));
            let mut tensor = vec![0.0; 3 * input.width * input.height];
            group.bench_function(case, |bencher| {
                bencher.iter(|| sampler.sample(&black_box(&frame).planes(), COLOR, &RULE, black_box(&mut tensor)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
