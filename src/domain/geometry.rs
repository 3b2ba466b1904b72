//! Points, boxes and regions in pixels of the source frame, origin top left, y downwards.

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    pub x: f32,
    pub y: f32,
}

impl Point {
    pub const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }
}

/// An axis-parallel box by its top-left corner and its size. Sizes are never negative.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    pub x: f32,
    pub y: f32,
    pub w: f32,
    pub h: f32,
}

impl Rect {
    pub const fn new(x: f32, y: f32, w: f32, h: f32) -> Self {
        Self { x, y, w, h }
    }

    pub fn from_corners(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self::new(x1, y1, (x2 - x1).max(0.0), (y2 - y1).max(0.0))
    }

    pub fn right(&self) -> f32 {
        self.x + self.w
    }

    pub fn bottom(&self) -> f32 {
        self.y + self.h
    }

    pub fn center(&self) -> Point {
        Point::new(self.x + self.w / 2.0, self.y + self.h / 2.0)
    }

    pub fn area(&self) -> f32 {
        self.w * self.h
    }

    pub fn shorter_side(&self) -> f32 {
        self.w.min(self.h)
    }

    pub fn longer_side(&self) -> f32 {
        self.w.max(self.h)
    }

    /// The common part; an empty box (zero size) where there is none.
    pub fn intersect(&self, other: &Self) -> Self {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        Self::from_corners(x, y, self.right().min(other.right()).max(x), self.bottom().min(other.bottom()).max(y))
    }

    /// Intersection over union, 0..1; 0 for empty boxes.
    pub fn iou(&self, other: &Self) -> f32 {
        let common = self.intersect(other).area();
        let union = self.area() + other.area() - common;
        if union > 0.0 { common / union } else { 0.0 }
    }

    /// The part inside a frame of `width` × `height`.
    pub fn clip(&self, width: f32, height: f32) -> Self {
        self.intersect(&Self::new(0.0, 0.0, width, height))
    }

    /// Grown by `margin` of its own width and height on each side.
    pub fn grow(&self, margin: f32) -> Self {
        let (dx, dy) = (self.w * margin, self.h * margin);
        Self::new(self.x - dx, self.y - dy, self.w + 2.0 * dx, self.h + 2.0 * dy)
    }
}

/// A simple polygon (no edge crosses another) of at least three points; the ring closes itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    points: Vec<Point>,
}

/// Why a ring of points is no polygon. Indices count the given points from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolygonError {
    TooFewPoints {
        given: usize,
    },
    /// Edge `first` (from point `first` to the next) meets edge `second`.
    CrossesItself {
        first: usize,
        second: usize,
    },
    NotFinite {
        index: usize,
    },
}

impl Polygon {
    /// A ring whose last point repeats its first is taken without the repetition.
    pub fn new(mut points: Vec<Point>) -> Result<Self, PolygonError> {
        if let Some(index) = points.iter().position(|p| !p.x.is_finite() || !p.y.is_finite()) {
            return Err(PolygonError::NotFinite { index });
        }
        if points.len() > 3 && points.first() == points.last() {
            points.pop();
        }
        if points.len() < 3 {
            return Err(PolygonError::TooFewPoints { given: points.len() });
        }
        let polygon = Self { points };
        match polygon.crossing() {
            Some((first, second)) => Err(PolygonError::CrossesItself { first, second }),
            None => Ok(polygon),
        }
    }

    pub fn points(&self) -> &[Point] {
        &self.points
    }

    fn edge(&self, index: usize) -> (Point, Point) {
        (self.points[index], self.points[(index + 1) % self.points.len()])
    }

    /// The first pair of edges that touch without being neighbours, or neighbours that fold back on each other.
    fn crossing(&self) -> Option<(usize, usize)> {
        let n = self.points.len();
        for first in 0..n {
            for second in first + 1..n {
                let (a, b) = self.edge(first);
                let (c, d) = self.edge(second);
                let meets = if second == first + 1 {
                    folds_back(a, b, d)
                } else if first == 0 && second == n - 1 {
                    folds_back(c, d, b)
                } else {
                    segments_meet(a, b, c, d)
                };
                if meets {
                    return Some((first, second));
                }
            }
        }
        None
    }

    /// Even-odd test; a point on an edge is inside.
    pub fn contains(&self, p: Point) -> bool {
        let mut inside = false;
        for index in 0..self.points.len() {
            let (a, b) = self.edge(index);
            if on_segment(a, b, p) {
                return true;
            }
            if (a.y > p.y) != (b.y > p.y) {
                let x = f64::from(b.x - a.x) * f64::from(p.y - a.y) / f64::from(b.y - a.y) + f64::from(a.x);
                inside ^= f64::from(p.x) < x;
            }
        }
        inside
    }

    /// By the shoelace formula, in square pixels.
    pub fn area(&self) -> f64 {
        let doubled: f64 = (0..self.points.len())
            .map(|i| {
                let (a, b) = self.edge(i);
                f64::from(a.x) * f64::from(b.y) - f64::from(b.x) * f64::from(a.y)
            })
            .sum();
        doubled.abs() / 2.0
    }

    /// The smallest box around it.
    pub fn bounds(&self) -> Rect {
        let fold =
            |f: fn(f32, f32) -> f32, get: fn(&Point) -> f32| self.points.iter().map(get).reduce(f).unwrap_or(0.0);
        Rect::from_corners(
            fold(f32::min, |p| p.x),
            fold(f32::min, |p| p.y),
            fold(f32::max, |p| p.x),
            fold(f32::max, |p| p.y),
        )
    }
}

/// Twice the signed area of the triangle a b c.
fn cross(a: Point, b: Point, c: Point) -> f64 {
    (f64::from(b.x) - f64::from(a.x)) * (f64::from(c.y) - f64::from(a.y))
        - (f64::from(b.y) - f64::from(a.y)) * (f64::from(c.x) - f64::from(a.x))
}

fn on_segment(a: Point, b: Point, p: Point) -> bool {
    cross(a, b, p) == 0.0 && p.x >= a.x.min(b.x) && p.x <= a.x.max(b.x) && p.y >= a.y.min(b.y) && p.y <= a.y.max(b.y)
}

/// Edges a→b and b→d share b by right; they overlap when d lies back along a→b.
fn folds_back(a: Point, b: Point, d: Point) -> bool {
    a == b || b == d || (cross(a, b, d) == 0.0 && (on_segment(a, b, d) || on_segment(b, d, a)))
}

fn segments_meet(a: Point, b: Point, c: Point, d: Point) -> bool {
    let sides = |p, q, r, s| cross(p, q, r).signum() * cross(p, q, s).signum();
    let proper = cross(a, b, c) != 0.0 && cross(a, b, d) != 0.0 && cross(c, d, a) != 0.0 && cross(c, d, b) != 0.0;
    (proper && sides(a, b, c, d) < 0.0 && sides(c, d, a, b) < 0.0)
        || on_segment(a, b, c)
        || on_segment(a, b, d)
        || on_segment(c, d, a)
        || on_segment(c, d, b)
}

/// The target region: the union of its polygons, or the whole frame when there are none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roi {
    pub polygons: Vec<Polygon>,
}

impl Roi {
    pub fn whole_frame() -> Self {
        Self::default()
    }

    pub fn contains(&self, p: Point) -> bool {
        self.polygons.is_empty() || self.polygons.iter().any(|polygon| polygon.contains(p))
    }

    /// The same region of a picture that is so many times as wide and as high.
    pub fn stretched(&self, across: f32, down: f32) -> Self {
        let stretch = |polygon: &Polygon| Polygon {
            points: polygon.points.iter().map(|p| Point::new(p.x * across, p.y * down)).collect(),
        };
        Self { polygons: self.polygons.iter().map(stretch).collect() }
    }
}
