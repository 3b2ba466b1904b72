//! From a model's raw outputs to detections in pixels of its input. Pure; cells below the threshold cost a
//! multiplication and a comparison.

use super::catalog::Decoder;
use crate::domain::{Detection, Landmarks, Point, Rect};

/// YuNet's three levels.
pub const STRIDES: [usize; 3] = [8, 16, 32];
/// Ultra-Light's four.
const ULTRALIGHT_STRIDES: [(usize, usize); 4] = [(8, 3), (16, 2), (32, 2), (64, 3)];
/// exp(x)·stride beyond this is no face but a broken model; keeps boxes finite.
const MAX_LOG_SIZE: f32 = 9.0;

/// One output that a decoder reads: its name and its shape for a given input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    pub name: String,
    pub shape: [usize; 3],
}

/// What a decoder reads, in the order in which [`decode`] wants it.
pub fn outputs(decoder: Decoder, width: usize, height: usize) -> Vec<OutputSpec> {
    match decoder {
        // As no model has it: an embedding model is refused where a detector is wanted.
        Decoder::Arcface => vec![OutputSpec { name: "faces".to_owned(), shape: [1, 0, 0] }],
        Decoder::Yunet => [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)]
            .into_iter()
            .flat_map(|(name, numbers)| {
                STRIDES.map(|stride| OutputSpec {
                    name: format!("{name}_{stride}"),
                    shape: [1, (width / stride) * (height / stride), numbers],
                })
            })
            .collect(),
        Decoder::Ultralight => {
            let priors = ULTRALIGHT_STRIDES
                .iter()
                .map(|&(stride, per_cell)| width.div_ceil(stride) * height.div_ceil(stride) * per_cell)
                .sum();
            [("scores", 2), ("boxes", 4)]
                .into_iter()
                .map(|(name, numbers)| OutputSpec { name: name.to_owned(), shape: [1, priors, numbers] })
                .collect()
        }
    }
}

/// Appends every detection of at least `threshold`, before any suppression. `outputs` are the tensors that
/// [`outputs`] names, in that order and of those shapes.
pub fn decode(
    decoder: Decoder,
    outputs: &[&[f32]],
    (width, height): (usize, usize),
    threshold: f32,
    found: &mut Vec<Detection>,
) {
    match decoder {
        Decoder::Yunet => {
            for (level, stride) in STRIDES.into_iter().enumerate() {
                let [cls, obj, bbox, kps] = [0, 3, 6, 9].map(|kind| outputs[kind + level]);
                yunet_level(&Level { stride, columns: width / stride, cls, obj, bbox, kps }, threshold, found);
            }
        }
        Decoder::Arcface => {}
        Decoder::Ultralight => ultralight(outputs[0], outputs[1], (width as f32, height as f32), threshold, found),
    }
}

struct Level<'a> {
    stride: usize,
    columns: usize,
    cls: &'a [f32],
    obj: &'a [f32],
    bbox: &'a [f32],
    kps: &'a [f32],
}

/// score = √(cls·obj), each clipped to 0..1; centre = (cell + d)·stride, size = exp(d)·stride,
/// landmarks = (cell + k)·stride.
fn yunet_level(level: &Level<'_>, threshold: f32, found: &mut Vec<Detection>) {
    let squared_threshold = threshold * threshold;
    for (index, (&cls, &obj)) in level.cls.iter().zip(level.obj).enumerate() {
        let squared = cls.clamp(0.0, 1.0) * obj.clamp(0.0, 1.0);
        if squared >= squared_threshold {
            found.extend(yunet_cell(level, index, squared.sqrt()));
        }
    }
}

fn yunet_cell(level: &Level<'_>, index: usize, score: f32) -> Option<Detection> {
    let stride = level.stride as f32;
    let (column, row) = ((index % level.columns) as f32, (index / level.columns) as f32);
    let point = |dx: f32, dy: f32| Point::new((column + dx) * stride, (row + dy) * stride);
    let &[dx, dy, log_w, log_h] = level.bbox.get(index * 4..)?.first_chunk()?;
    let kps: &[f32; 10] = level.kps.get(index * 10..)?.first_chunk()?;
    let center = point(dx, dy);
    let (w, h) = (log_w.min(MAX_LOG_SIZE).exp() * stride, log_h.min(MAX_LOG_SIZE).exp() * stride);
    finite(Detection {
        bbox: Rect::new(center.x - w / 2.0, center.y - h / 2.0, w, h),
        score,
        landmarks: Some(Landmarks(std::array::from_fn(|i| point(kps[2 * i], kps[2 * i + 1])))),
    })
}

fn ultralight(scores: &[f32], boxes: &[f32], (width, height): (f32, f32), threshold: f32, found: &mut Vec<Detection>) {
    for (score, corners) in scores.as_chunks::<2>().0.iter().zip(boxes.as_chunks::<4>().0) {
        let [_background, face] = *score;
        if face >= threshold {
            let [x1, y1, x2, y2] = *corners;
            let bbox = Rect::from_corners(x1 * width, y1 * height, x2 * width, y2 * height);
            found.extend(finite(Detection { bbox, score: face.min(1.0), landmarks: None }));
        }
    }
}

/// Drops what a broken model may produce, so that nothing behind has to think of it.
fn finite(detection: Detection) -> Option<Detection> {
    let Rect { x, y, w, h } = detection.bbox;
    let landmarks = detection.landmarks.iter().flat_map(|all| all.0).flat_map(|p| [p.x, p.y]);
    [x, y, w, h].into_iter().chain(landmarks).all(f32::is_finite).then_some(detection)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs of a 64×32 input in which nothing is a face.
    fn empty_yunet() -> Vec<Vec<f32>> {
        outputs(Decoder::Yunet, 64, 32).iter().map(|spec| vec![0.0; spec.shape.iter().product()]).collect()
    }

    fn decode_yunet(tensors: &[Vec<f32>], threshold: f32) -> Vec<Detection> {
        let views: Vec<&[f32]> = tensors.iter().map(Vec::as_slice).collect();
        let mut found = Vec::new();
        decode(Decoder::Yunet, &views, (64, 32), threshold, &mut found);
        found
    }

    #[test]
    fn yunet_known_answer() {
        let mut tensors = empty_yunet();
        // Stride 16 has 4×2 cells; cell 6 is column 2, row 1.
        tensors[1][6] = 0.81;
        tensors[4][6] = 1.5;
        tensors[7][24..28].copy_from_slice(&[0.5, 0.25, 2f32.ln(), 3f32.ln()]);
        for i in 0..10 {
            tensors[10][60 + i] = i as f32 / 8.0;
        }
        let found = decode_yunet(&tensors, 0.6);
        assert_eq!(found.len(), 1);
        assert!((found[0].score - 0.9).abs() < 1e-6);
        let bbox = found[0].bbox;
        for (value, expected) in [(bbox.x, 24.0), (bbox.y, -4.0), (bbox.w, 32.0), (bbox.h, 48.0)] {
            assert!((value - expected).abs() < 1e-4, "{bbox:?}");
        }
        let landmarks = found[0].landmarks.unwrap().0;
        assert_eq!(landmarks[0], Point::new(32.0, 18.0));
        assert_eq!(landmarks[4], Point::new(48.0, 34.0));
    }

    #[test]
    fn the_threshold_is_inclusive_and_broken_numbers_are_dropped() {
        let mut tensors = empty_yunet();
        (tensors[0][3], tensors[3][3]) = (0.25, 1.0);
        assert_eq!(decode_yunet(&tensors, 0.5).len(), 1);
        assert_eq!(decode_yunet(&tensors, 0.51).len(), 0);
        tensors[6][12] = f32::NAN;
        assert_eq!(decode_yunet(&tensors, 0.5).len(), 0);
        tensors[0][3] = f32::NAN;
        assert_eq!(decode_yunet(&tensors, 0.0).len(), 32 + 8 + 2 - 1);
    }

    #[test]
    fn ultralight_known_answer() {
        let (scores, boxes) = ([0.9, 0.1, 0.25, 0.75], [0.0, 0.0, 0.1, 0.1, 0.25, 0.5, 0.75, 1.0]);
        let mut found = Vec::new();
        decode(Decoder::Ultralight, &[&scores, &boxes], (320, 240), 0.7, &mut found);
        assert_eq!(found, [Detection { bbox: Rect::new(80.0, 120.0, 160.0, 120.0), score: 0.75, landmarks: None }]);
    }

    #[test]
    fn ultralight_counts_its_priors() {
        assert_eq!(outputs(Decoder::Ultralight, 320, 240)[0].shape, [1, 4420, 2]);
        assert_eq!(outputs(Decoder::Ultralight, 640, 480)[1].shape, [1, 17640, 4]);
    }
}
