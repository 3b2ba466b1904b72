//! Privacy of whole frames, proved by the detector: what is not reported cannot be found in them any more.

use face_edge::detect::{Detectors, SizeWindow, plan_input};
use face_edge::domain::{Detection, Point, Polygon, Rect, Roi};
use face_edge::frame::{Color, Matrix, OwnedPlanes, PixelBuffer};
use face_edge::sim::scene::{self, Scene};
use face_edge::veil::veil;

use crate::support::vision;

const WINDOW: SizeWindow = SizeWindow { min_px: 30.0, max_px: 1000.0 };

fn find(detectors: &mut Detectors, picture: &OwnedPlanes) -> Vec<Detection> {
    let color = Color { matrix: Matrix::Bt709, full_range: false };
    let plan = plan_input(&detectors.model().entry, (picture.width, picture.height), WINDOW);
    let threshold = detectors.model().entry.score_threshold;
    let mut found = detectors.detect_planes(&picture.planes(), color, &plan).expect("the model runs");
    found.retain(|face| face.score >= threshold);
    found
}

fn boxes(found: &[Detection]) -> Vec<Rect> {
    found.iter().map(|face| face.bbox).collect()
}

/// Moments of the drawn scene with at least two faces that the detector finds.
fn moments(detectors: &mut Detectors) -> Vec<(OwnedPlanes, Vec<Rect>)> {
    let mut drawn = Scene::new();
    let crowded = (0..scene::FRAMES).step_by(scene::FPS).filter(|number| scene::truth(*number).len() >= 2);
    let frames: Vec<_> = crowded.take(8).map(|number| drawn.frame(number)).collect();
    let seen = frames.into_iter().map(|frame| {
        let found = boxes(&find(detectors, &frame));
        (frame, found)
    });
    let moments: Vec<_> = seen.filter(|(_, found)| found.len() >= 2).collect();
    assert!(moments.len() >= 3, "the scene has faces");
    moments
}

#[test]
fn a_detector_finds_the_reported_face_and_no_other() {
    let (Some(runtime), Some(model)) = (vision::runtime(), vision::model("default")) else { return };
    let mut detectors = Detectors::new(&runtime, model);
    for (frame, found) in moments(&mut detectors) {
        let (keep, hide) = (&found[..1], &found[1..]);
        let veiled = veil(&frame.planes(), hide, keep, &Roi::whole_frame());
        let left = boxes(&find(&mut detectors, &veiled));
        assert_eq!(left.len(), 1, "hidden {hide:?}, found {left:?}");
        assert!(left[0].iou(&keep[0]) > 0.7, "the reported one is as it was");
        let nothing = veil(&frame.planes(), &found, &[], &Roi::whole_frame());
        assert_eq!(find(&mut detectors, &nothing), []);
    }
}

#[test]
fn outside_the_region_nothing_can_be_found() {
    let (Some(runtime), Some(model)) = (vision::runtime(), vision::model("default")) else { return };
    let mut detectors = Detectors::new(&runtime, model);
    for (frame, found) in moments(&mut detectors) {
        let corners = [(0.0, 0.0), (40.0, 0.0), (40.0, 40.0), (0.0, 40.0)].map(|(x, y)| Point::new(x, y));
        let roi = Roi { polygons: vec![Polygon::new(corners.to_vec()).unwrap()] };
        let small = found.iter().all(|face| face.longer_side() < 300.0);
        let veiled = veil(&frame.planes(), &[], &[], &roi);
        if small {
            assert_eq!(find(&mut detectors, &veiled), [], "although no box said where they are");
        }
        let left = boxes(&find(&mut detectors, &veil(&frame.planes(), &[], &found[..1], &roi)));
        assert!(left.len() == 1 && left[0].iou(&found[0]) > 0.6, "a reported face stays: {left:?}");
        assert_eq!(veiled.y[..8], frame.y[..8], "and so does the region");
    }
}
