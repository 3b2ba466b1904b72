//! What the rules cost for one frame: observing 10 and 50 walking faces, and measuring one face's pixels.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use face_edge::domain::{Detection, Rect, Repeat, Rules, StreamTime};
use face_edge::rules::{Engine, Measure, View, measure};

/// Leaves the pixels out: their price is `measure`'s and the snapshot's.
struct NoPixels;

impl View for NoPixels {
    type Picture = ();

    fn frame_size(&self) -> (f32, f32) {
        (1920.0, 1080.0)
    }

    fn measure(&mut self, _: &Detection) -> Measure {
        Measure { sharpness: 0.5, exposure: 0.5 }
    }

    fn cut(&mut self, _: &Detection) {}
}

/// Frame `number` of a crowd that walks to and fro on its lanes.
fn crowd(faces: usize, number: u64) -> Vec<Detection> {
    let face = |i: usize| {
        let along = ((number as f32 + i as f32 * 17.0) / 40.0).sin();
        let (x, y) = (960.0 + along * 800.0, 20.0 + i as f32 * 1000.0 / faces as f32);
        Detection { bbox: Rect::new(x, y, 60.0, 70.0), score: 0.7, landmarks: None }
    };
    (0..faces).map(face).collect()
}

fn observe(c: &mut Criterion) {
    let mut group = c.benchmark_group("rules/observe");
    for faces in [10, 50] {
        let repeat = Repeat::Period { interval: Duration::from_secs(1) };
        let mut engine = Engine::new(Arc::new(Rules { min_size_px: 50.0, repeat, ..Rules::default() }), 0.6);
        let film: Vec<_> = (0..500).map(|number| crowd(faces, number)).collect();
        let mut number = 0;
        group.bench_function(BenchmarkId::from_parameter(faces), |b| {
            b.iter(|| {
                let now = StreamTime::from_millis(number * 40);
                number += 1;
                black_box(engine.observe(now, &film[(number % 500) as usize], &mut NoPixels))
            });
        });
    }
    group.finish();
}

fn pixels(c: &mut Criterion) {
    let (width, height) = (1920, 1080);
    let plane: Vec<u8> = (0..width * height).map(|i| ((i * 31) ^ (i / 7)) as u8).collect();
    let mut group = c.benchmark_group("rules/measure");
    for side in [60.0, 400.0] {
        group.bench_function(BenchmarkId::from_parameter(side), |b| {
            b.iter(|| black_box(measure(&plane, width, width, height, Rect::new(300.0, 300.0, side, side))));
        });
    }
    group.finish();
}

criterion_group!(benches, observe, pixels);
criterion_main!(benches);
