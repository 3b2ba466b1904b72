//! One face in one frame, in pixels of that frame.

use super::geometry::{Point, Rect};

/// Right eye, left eye, nose tip, right mouth corner, left mouth corner: right and left are the person's own,
/// so that in an upright frontal face the right eye has the smaller x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Landmarks(pub [Point; 5]);

impl Landmarks {
    pub const RIGHT_EYE: usize = 0;
    pub const LEFT_EYE: usize = 1;
    pub const NOSE: usize = 2;
    pub const RIGHT_MOUTH: usize = 3;
    pub const LEFT_MOUTH: usize = 4;
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    pub bbox: Rect,
    /// The model's confidence, 0..1.
    pub score: f32,
    /// Absent where the model gives none.
    pub landmarks: Option<Landmarks>,
}
