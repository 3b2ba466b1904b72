//! Which input sizes a frame is analysed at. Pure.
//!
//! The rule: the smallest input in which the smallest wanted face still has the size that the model finds reliably
//! (`min_face_px`). Cost grows with the input's area, and a face that is larger than needed gains little. Bounds: never
//! larger than the frame, long side at most 1280; and at least 320, below which time is no longer saved but
//! recall is lost. When the largest wanted face would exceed what the model knows (`max_face_px`) there, a second,
//! smaller pass is added in which it fits. A model of fixed size has one pass, at that size.

use super::catalog::ModelEntry;

/// Long side below which a smaller input saves next to nothing.
const MIN_LONG_SIDE: usize = 320;
/// Long side above which one pass takes too long on the boxes this is made for.
const MAX_LONG_SIDE: usize = 1280;

/// The sizes of faces that are wanted, in pixels of the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SizeWindow {
    /// Of the shorter side.
    pub min_px: f32,
    /// Of the longer side.
    pub max_px: f32,
}

/// One input: the whole frame, reduced to `content`, in the top left corner of a tensor of `width` × `height`.
/// The rest is black.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InputSize {
    pub width: usize,
    pub height: usize,
    pub content: (usize, usize),
}

impl InputSize {
    /// Input pixels per frame pixel, horizontally and vertically (they differ by rounding only).
    pub fn scale(&self, frame: (usize, usize)) -> (f32, f32) {
        (self.content.0 as f32 / frame.0 as f32, self.content.1 as f32 / frame.1 as f32)
    }
}

/// The passes over one frame, largest input first; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub passes: Vec<InputSize>,
}

/// By the rule atop this module. `frame` is width and height, neither zero.
pub fn plan_input(entry: &ModelEntry, frame: (usize, usize), window: SizeWindow) -> Plan {
    let Some(step) = entry.input.multiple_of else {
        return Plan { passes: vec![fixed_input(entry, frame)] };
    };
    let long = frame.0.max(frame.1);
    let wanted = entry.min_face_px / window.min_px.max(1.0) * long as f32;
    let bounds = Bounds { step, cap: MAX_LONG_SIDE.min(long) };
    let first = bounds.long_side(wanted.max(MIN_LONG_SIDE as f32));
    let mut passes = vec![input_with_long_side(frame, first, step)];

    // No face is larger than the frame's shorter side, give or take.
    let largest = window.max_px.min(frame.0.min(frame.1) as f32);
    if largest * first as f32 / long as f32 > entry.max_face_px {
        let fits = (entry.max_face_px / largest * long as f32) as usize / step * step;
        let second = fits.max(step);
        if second < first {
            passes.push(input_with_long_side(frame, second, step));
        }
    }
    Plan { passes }
}

/// One pass with the given long side, whatever the sizes wanted; enlarges smaller pictures. For measuring models.
pub fn plan_long_side(entry: &ModelEntry, frame: (usize, usize), long_side: usize) -> Plan {
    let pass = match entry.input.multiple_of {
        Some(step) => input_with_long_side(frame, long_side.max(1), step),
        None => fixed_input(entry, frame),
    };
    Plan { passes: vec![pass] }
}

struct Bounds {
    step: usize,
    cap: usize,
}

impl Bounds {
    /// The next multiple of the step, or the cap itself where that would exceed it.
    fn long_side(&self, wanted: f32) -> usize {
        let rounded_up = (wanted / self.step as f32).ceil() as usize * self.step;
        rounded_up.clamp(1, self.cap)
    }
}

/// The frame's aspect at that long side, then sides rounded up to the step by black rows or columns.
fn input_with_long_side(frame: (usize, usize), long_side: usize, step: usize) -> InputSize {
    let long = frame.0.max(frame.1);
    let reduce = |side: usize| ((side * long_side + long / 2) / long).max(1);
    let content = (reduce(frame.0), reduce(frame.1));
    InputSize { width: content.0.next_multiple_of(step), height: content.1.next_multiple_of(step), content }
}

fn fixed_input(entry: &ModelEntry, frame: (usize, usize)) -> InputSize {
    let (width, height) = entry.input.fixed.expect("the catalog lets no entry through with neither size rule");
    // The tighter side decides; integers, so that the other never spills over.
    let content = if frame.0 * height > frame.1 * width {
        (width, (frame.1 * width / frame.0).max(1))
    } else {
        ((frame.0 * height / frame.1).max(1), height)
    };
    InputSize { width, height, content }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::catalog::Catalog;

    fn entry(alias: &str) -> ModelEntry {
        Catalog::with_folders(Vec::new()).unwrap().entry(alias).unwrap().clone()
    }

    fn sizes(alias: &str, frame: (usize, usize), min_px: f32, max_px: f32) -> Vec<(usize, usize)> {
        let plan = plan_input(&entry(alias), frame, SizeWindow { min_px, max_px });
        plan.passes.iter().map(|pass| (pass.width, pass.height)).collect()
    }

    #[test]
    fn large_wanted_faces_need_a_small_input() {
        for alias in ["default", "yunet_n"] {
            assert_eq!(sizes(alias, (1920, 1080), 120.0, 800.0), [(320, 192)]);
        }
        assert_eq!(sizes("yunet_n", (1920, 1080), 36.0, 800.0), [(640, 384)]);
        assert_eq!(sizes("yunet_n", (1080, 1920), 36.0, 800.0), [(384, 640)]);
    }

    #[test]
    fn a_wide_window_takes_two_passes() {
        assert_eq!(sizes("yunet_n", (1920, 1080), 18.0, 1080.0), [(1280, 736), (512, 288)]);
    }

    #[test]
    fn nothing_is_enlarged_or_larger_than_the_cap() {
        assert_eq!(sizes("yunet_n", (200, 100), 1.0, 100.0), [(224, 128)]);
        assert_eq!(sizes("yunet_n", (3840, 2160), 1.0, 100.0), [(1280, 736)]);
    }

    #[test]
    fn a_fixed_model_keeps_its_size_and_the_aspect() {
        let plan = plan_input(&entry("rfb_320"), (1920, 1080), SizeWindow { min_px: 10.0, max_px: 900.0 });
        assert_eq!(plan.passes, [InputSize { width: 320, height: 240, content: (320, 180) }]);
        let plan = plan_input(&entry("rfb_320"), (1080, 1920), SizeWindow { min_px: 10.0, max_px: 900.0 });
        assert_eq!(plan.passes, [InputSize { width: 320, height: 240, content: (135, 240) }]);
    }

    proptest! {
        #[test]
        fn every_plan_can_be_run(
            width in 1usize..5000, height in 1usize..5000,
            min_px in 0.0f32..4096.0, more_px in 0.0f32..4096.0,
            alias in prop::sample::select(vec!["default", "rfb_320", "yunet_2023mar"]),
        ) {
            let entry = entry(alias);
            let window = SizeWindow { min_px, max_px: min_px + more_px };
            let plan = plan_input(&entry, (width, height), window);
            prop_assert!((1..=2).contains(&plan.passes.len()));
            for pass in &plan.passes {
                prop_assert!(pass.content.0 >= 1 && pass.content.0 <= pass.width);
                prop_assert!(pass.content.1 >= 1 && pass.content.1 <= pass.height);
                prop_assert_eq!(pass.width % 16, 0);
                if entry.input.multiple_of.is_some() {
                    prop_assert!(pass.width % 32 == 0 && pass.height % 32 == 0);
                    prop_assert!(pass.content.0 <= width && pass.content.1 <= height);
                    prop_assert!(pass.width.max(pass.height) <= MAX_LONG_SIDE);
                }
            }
        }

        #[test]
        fn the_smallest_wanted_face_is_large_enough_where_the_bounds_allow(
            width in 640usize..1920, height in 360usize..1080, min_px in 20.0f32..300.0,
        ) {
            let entry = entry("yunet_n");
            let plan = plan_input(&entry, (width, height), SizeWindow { min_px, max_px: 4096.0 });
            let pass = plan.passes[0];
            let scale = pass.content.0.max(pass.content.1) as f32 / width.max(height) as f32;
            let at_cap = pass.content.0.max(pass.content.1) == MAX_LONG_SIDE.min(width.max(height));
            prop_assert!(at_cap || min_px * scale >= entry.min_face_px * 0.999);
        }
    }
}
