//! Who is in the scene, and where at which time. The paths are the ground truth.

use super::portrait::{Hair, Look};

/// Where a head is: the middle of its face, and how wide it is from ear to ear, in pixels of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub x: f32,
    pub y: f32,
    pub width: f32,
}

/// At a time in seconds; between two of them a person moves evenly.
pub struct Step {
    pub at_s: f32,
    pub place: Place,
}

pub struct Person {
    pub name: &'static str,
    pub look: Look,
    /// Not there before the first and after the last step.
    pub path: &'static [Step],
}

/// A board that is carried past in front of everybody, full height.
pub struct Board {
    pub from_s: f32,
    /// Left edge at `from_s`.
    pub x: f32,
    pub width: f32,
    pub speed_px_s: f32,
}

const fn step(at_s: f32, x: f32, y: f32, width: f32) -> Step {
    Step { at_s, place: Place { x, y, width } }
}

/// In the order in which they enter.
pub const CAST: [Person; 6] = [
    Person {
        name: "crosses to the right",
        look: Look {
            skin: [0.86, 0.67, 0.56],
            hair_color: [0.22, 0.14, 0.09],
            hair: Hair::Short,
            clothes: [0.20, 0.30, 0.48],
            iris: [0.30, 0.22, 0.14],
            glasses: false,
            smile: 0.35,
            seed: 11,
        },
        path: &[step(2.0, -420.0, 330.0, 164.0), step(13.0, 2340.0, 330.0, 164.0)],
    },
    Person {
        name: "crosses to the left",
        look: Look {
            skin: [0.92, 0.75, 0.65],
            hair_color: [0.48, 0.30, 0.15],
            hair: Hair::Long,
            clothes: [0.52, 0.18, 0.22],
            iris: [0.25, 0.36, 0.40],
            glasses: false,
            smile: 0.8,
            seed: 23,
        },
        path: &[step(3.0, 2440.0, 700.0, 216.0), step(15.0, -520.0, 700.0, 216.0)],
    },
    Person {
        name: "stays small",
        look: Look {
            skin: [0.72, 0.52, 0.40],
            hair_color: [0.08, 0.07, 0.07],
            hair: Hair::Short,
            clothes: [0.35, 0.42, 0.30],
            iris: [0.16, 0.11, 0.08],
            glasses: false,
            smile: 0.3,
            seed: 37,
        },
        path: &[step(17.0, -200.0, 210.0, 72.0), step(31.0, 2120.0, 210.0, 72.0)],
    },
    Person {
        name: "comes near",
        look: Look {
            skin: [0.58, 0.40, 0.30],
            hair_color: [0.07, 0.06, 0.06],
            hair: Hair::Bearded,
            clothes: [0.68, 0.62, 0.52],
            iris: [0.18, 0.11, 0.07],
            glasses: false,
            smile: 0.4,
            seed: 41,
        },
        path: &[
            step(18.0, 2080.0, 400.0, 64.0),
            step(21.0, 1420.0, 400.0, 70.0),
            step(28.0, 1060.0, 560.0, 300.0),
            step(29.0, 1040.0, 560.0, 300.0),
            step(34.0, -700.0, 560.0, 300.0),
        ],
    },
    Person {
        name: "is hidden for a moment",
        look: Look {
            skin: [0.88, 0.70, 0.58],
            hair_color: [0.12, 0.10, 0.10],
            hair: Hair::Short,
            clothes: [0.26, 0.26, 0.30],
            iris: [0.20, 0.15, 0.11],
            glasses: true,
            smile: 0.45,
            seed: 53,
        },
        path: &[
            step(36.0, -400.0, 500.0, 168.0),
            step(40.0, 760.0, 500.0, 168.0),
            step(46.0, 800.0, 500.0, 168.0),
            step(50.0, -400.0, 500.0, 168.0),
        ],
    },
    Person {
        name: "stands at the edge",
        look: Look {
            skin: [0.94, 0.79, 0.70],
            hair_color: [0.70, 0.52, 0.28],
            hair: Hair::Long,
            clothes: [0.24, 0.42, 0.42],
            iris: [0.30, 0.42, 0.50],
            glasses: false,
            smile: 0.5,
            seed: 67,
        },
        path: &[
            step(50.0, 2280.0, 560.0, 150.0),
            step(52.0, 1838.0, 560.0, 150.0),
            step(56.0, 1834.0, 560.0, 150.0),
            step(58.0, 2280.0, 560.0, 150.0),
        ],
    },
];

/// Hides the face of width 168 at x = 760..800 wholly for 0.8 s: its width less the face's, over its speed.
pub const BOARD: Board = Board { from_s: 39.5, x: -500.0, width: 488.0, speed_px_s: 400.0 };

impl Person {
    pub fn place_at(&self, time_s: f32) -> Option<Place> {
        let after = self.path.iter().position(|step| step.at_s > time_s)?;
        let (from, to) = (self.path.get(after.checked_sub(1)?)?, &self.path[after]);
        let share = (time_s - from.at_s) / (to.at_s - from.at_s);
        let between = |a: f32, b: f32| a + (b - a) * share;
        let width = between(from.place.width, to.place.width);
        // A walker's head goes up and down a little.
        let bob = 0.02 * width * (time_s * 11.0).sin();
        Some(Place { x: between(from.place.x, to.place.x), y: between(from.place.y, to.place.y) + bob, width })
    }
}

impl Board {
    /// Left and right edge.
    pub fn span_at(&self, time_s: f32) -> Option<(f32, f32)> {
        let left = self.x + (time_s - self.from_s) * self.speed_px_s;
        (time_s >= self.from_s && left < super::scene::WIDTH as f32).then_some((left, left + self.width))
    }
}
