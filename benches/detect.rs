//! A whole detection of a 1080p frame, one thread: sampling, model, decoding, suppression. Needs ONNX Runtime; models that
//! are absent are left out.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use face_edge::detect::{Catalog, Detectors, Runtime, plan_long_side};
use face_edge::frame::{Color, Matrix, OwnedPlanes, PixelBuffer};

const COLOR: Color = Color { matrix: Matrix::Bt709, full_range: false };

fn detect(criterion: &mut Criterion) {
    let runtime = Runtime::load(None).expect("ONNX Runtime: run scripts/runtime.sh");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = vec![root.join("models"), root.join("../shared/models")];
    let catalog = Catalog::with_folders(folders).expect("models.toml is valid");
    let frame = OwnedPlanes::black(1920, 1080);
    let mut group = criterion.benchmark_group("detect 1080p");
    group.sample_size(30);
    for alias in ["default", "yunet_n", "yunet_s", "rfb_320", "rfb_640"] {
        let Ok(model) = catalog.load(alias) else { continue };
        let model = Arc::new(model);
        let long_sides: &[usize] = if model.entry.input.fixed.is_some() { &[0] } else { &[320, 640] };
        for &long_side in long_sides {
            let plan = plan_long_side(&model.entry, (1920, 1080), long_side);
            let mut detectors = Detectors::new(&runtime, Arc::clone(&model));
            let input = plan.passes[0];
            group.bench_function(format!("{alias} {}x{}", input.width, input.height), |bencher| {
                bencher.iter(|| detectors.detect_planes(&black_box(&frame).planes(), COLOR, &plan).expect("it runs"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, detect);
criterion_main!(benches);
