//! Between the pixels of two pictures of one scene: a camera's small stream and its large one. They may differ in
//! shape, as a camera squeezes its small picture.

use super::detection::{Detection, Landmarks};
use super::geometry::{Point, Rect, Roi};

/// Factors by which coordinates grow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    x: f32,
    y: f32,
}

impl Scale {
    pub const ONE: Self = Self { x: 1.0, y: 1.0 };

    /// From a picture of one width and height, neither zero, to one of another.
    pub fn between(from: (f32, f32), to: (f32, f32)) -> Self {
        Self { x: to.0 / from.0, y: to.1 / from.1 }
    }

    pub fn back(self) -> Self {
        Self { x: 1.0 / self.x, y: 1.0 / self.y }
    }

    pub fn point(self, point: Point) -> Point {
        Point::new(point.x * self.x, point.y * self.y)
    }

    pub fn rect(self, rect: &Rect) -> Rect {
        Rect::new(rect.x * self.x, rect.y * self.y, rect.w * self.x, rect.h * self.y)
    }

    pub fn landmarks(self, landmarks: &Landmarks) -> Landmarks {
        Landmarks(landmarks.0.map(|point| self.point(point)))
    }

    pub fn detection(self, face: &Detection) -> Detection {
        let landmarks = face.landmarks.as_ref().map(|landmarks| self.landmarks(landmarks));
        Detection { bbox: self.rect(&face.bbox), landmarks, ..*face }
    }

    /// A window of face sizes, so wide that no face inside it falls out.
    pub fn window(self, (min_px, max_px): (f32, f32)) -> (f32, f32) {
        (min_px * self.x.min(self.y), max_px * self.x.max(self.y))
    }

    /// The same region.
    pub fn roi(self, roi: &Roi) -> Roi {
        roi.stretched(self.x, self.y)
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Polygon;
    use super::*;

    #[test]
    fn a_squeezed_picture_is_stretched_by_side() {
        let scale = Scale::between((704.0, 576.0), (1408.0, 1728.0));
        assert_eq!(scale.rect(&Rect::new(10.0, 20.0, 30.0, 40.0)), Rect::new(20.0, 60.0, 60.0, 120.0));
        let there = scale.point(Point::new(5.0, 7.0));
        assert_eq!(scale.back().point(there), Point::new(5.0, 7.0));
        assert_eq!(scale.window((90.0, 400.0)), (180.0, 1200.0));
        assert_eq!(Scale::ONE.rect(&Rect::new(1.0, 2.0, 3.0, 4.0)), Rect::new(1.0, 2.0, 3.0, 4.0));
    }

    #[test]
    fn a_region_moves_with_its_points() {
        let square = [(0.0, 0.0), (100.0, 0.0), (100.0, 100.0), (0.0, 100.0)].map(|(x, y)| Point::new(x, y));
        let roi = Roi { polygons: vec![Polygon::new(square.to_vec()).unwrap()] };
        let small = Scale::between((1920.0, 1080.0), (640.0, 360.0)).roi(&roi);
        assert!(small.contains(Point::new(33.0, 33.0)) && !small.contains(Point::new(34.0, 34.0)));
    }
}
