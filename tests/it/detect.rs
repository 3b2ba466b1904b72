//! The detectors as a worker uses them.

use face_edge::detect::{Detectors, SizeWindow, plan_input};
use face_edge::frame::{Color, Matrix, OwnedPlanes, PixelBuffer};

use crate::support::vision;

const WINDOW: SizeWindow = SizeWindow { min_px: 60.0, max_px: 800.0 };

#[test]
fn black_frames_of_any_size_hold_no_face() {
    let Some(runtime) = vision::runtime() else { return };
    let color = Color { matrix: Matrix::Bt601, full_range: false };
    for alias in ["default", "yunet_n", "yunet_s", "yunet_2023mar", "rfb_320", "slim_320"] {
        let Some(model) = vision::model(alias) else { continue };
        let mut detectors = Detectors::new(&runtime, model);
        for (width, height) in [(1920, 1080), (1, 1), (33, 997), (641, 361)] {
            let picture = OwnedPlanes::black(width, height);
            let plan = plan_input(&detectors.model().entry, (width, height), WINDOW);
            let found = detectors.detect_planes(&picture.planes(), color, &plan).expect("the model runs");
            assert_eq!(found, [], "{alias} at {width}×{height}");
        }
    }
}
