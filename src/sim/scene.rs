//! The drawn scene: a minute of people who walk through a room, and the truth about where their faces are.
//!
//! Always the same pictures, sample by sample. A drawing is made once a person and scaled once a size; a frame is
//! then the background with a few drawings laid over it.

use std::collections::HashMap;

use super::cast::{BOARD, CAST, Place};
use super::paint::{Canvas, Rgb, mixed, noise, scaled};
use super::portrait::{self, CANVAS, FACE, LANDMARKS};
use crate::domain::{Landmarks, Point, Rect};
use crate::frame::{Layout, OwnedPlanes};

pub const WIDTH: usize = 1920;
pub const HEIGHT: usize = 1080;
pub const FPS: usize = 25;
pub const FRAMES: usize = 60 * FPS;
/// Pixels a unit of the master drawings: about the largest that is shown.
const MASTER_SCALE: f32 = 152.0;
/// Points along each side of a face that are looked at to tell how much of it shows.
const PROBES: usize = 16;

#[derive(Debug, Clone, PartialEq)]
pub struct TruthFace {
    /// Index into the cast.
    pub person: usize,
    /// Of the whole face, also where it is hidden or outside the picture.
    pub bbox: Rect,
    pub landmarks: Landmarks,
    /// 0..1, the part of `bbox` that is inside the picture and not hidden.
    pub visible: f32,
}

/// The names of the people, by their index.
pub fn people() -> [&'static str; CAST.len()] {
    std::array::from_fn(|person| CAST[person].name)
}

/// Where the faces of frame `number` are, those just outside the picture included.
pub fn truth(number: usize) -> Vec<TruthFace> {
    let time_s = time_of(number);
    let places = places_at(time_s);
    let faces = places.iter().map(|&(person, place)| {
        let bbox = face_box(place);
        let visible = visible_part(&bbox, place, &places, time_s);
        TruthFace { person, bbox, landmarks: landmarks(place), visible }
    });
    faces.collect()
}

pub struct Scene {
    background: OwnedPlanes,
    /// By person, of those who were seen: the drawing, and halves of it.
    masters: HashMap<usize, Vec<Canvas>>,
    /// By person: the size made last.
    sprites: HashMap<usize, Sprite>,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    pub fn new() -> Self {
        Self { background: background(), masters: HashMap::new(), sprites: HashMap::new() }
    }

    /// Frame `number`, 0..[`FRAMES`]; I420, BT.709, limited range.
    pub fn frame(&mut self, number: usize) -> OwnedPlanes {
        let time_s = time_of(number);
        let mut picture = copy(&self.background);
        for (person, place) in places_at(time_s) {
            if reaches_picture(place) {
                self.sprite(person, place.width).lay_over(&mut picture, place);
            }
        }
        if let Some((left, right)) = BOARD.span_at(time_s) {
            draw_board(&mut picture, left, right);
        }
        picture
    }

    fn sprite(&mut self, person: usize, face_width: f32) -> &Sprite {
        let master =
            self.masters.entry(person).or_insert_with(|| halves(portrait::draw(&CAST[person].look, MASTER_SCALE)));
        let sprite = self.sprites.entry(person).or_insert_with(|| Sprite::scaled(master, face_width));
        if sprite.face_width != face_width {
            *sprite = Sprite::scaled(master, face_width);
        }
        sprite
    }
}

fn reaches_picture(place: Place) -> bool {
    let unit = place.width / 2.0;
    place.x + CANVAS[2] * unit > 0.0 && place.x + CANVAS[0] * unit < WIDTH as f32
}

fn time_of(number: usize) -> f32 {
    (number % FRAMES) as f32 / FPS as f32
}

/// Everybody who is there, the farthest first; on even pixels, so that chroma moves along.
fn places_at(time_s: f32) -> Vec<(usize, Place)> {
    let even = |value: f32| (value / 2.0).round() * 2.0;
    let mut places: Vec<(usize, Place)> = CAST
        .iter()
        .enumerate()
        .filter_map(|(index, person)| Some((index, person.place_at(time_s)?)))
        .map(|(index, at)| (index, Place { x: even(at.x), y: even(at.y), width: even(at.width) }))
        .collect();
    places.sort_by(|a, b| a.1.width.total_cmp(&b.1.width));
    places
}

fn face_box(place: Place) -> Rect {
    let unit = place.width / 2.0;
    let [left, top, right, bottom] = FACE.map(|edge| edge * unit);
    Rect::from_corners(place.x + left, place.y + top, place.x + right, place.y + bottom)
}

fn landmarks(place: Place) -> Landmarks {
    let unit = place.width / 2.0;
    Landmarks(LANDMARKS.map(|(x, y)| Point::new(place.x + x * unit, place.y + y * unit)))
}

fn visible_part(bbox: &Rect, place: Place, places: &[(usize, Place)], time_s: f32) -> f32 {
    let board = BOARD.span_at(time_s);
    let shows = |x: f32, y: f32| {
        let inside = (0.0..WIDTH as f32).contains(&x) && (0.0..HEIGHT as f32).contains(&y);
        let hidden = board.is_some_and(|(left, right)| (left..right).contains(&x))
            || places.iter().any(|(_, other)| other.width > place.width && covers(*other, x, y));
        inside && !hidden
    };
    let at = |index: usize| (index as f32 + 0.5) / PROBES as f32;
    let seen =
        (0..PROBES * PROBES).filter(|i| shows(bbox.x + bbox.w * at(i % PROBES), bbox.y + bbox.h * at(i / PROBES)));
    seen.count() as f32 / (PROBES * PROBES) as f32
}

/// Whether a person hides what is behind a point: by head and hair, or by shoulders and what is below.
fn covers(place: Place, x: f32, y: f32) -> bool {
    let (u, v) = ((x - place.x) * 2.0 / place.width, (y - place.y) * 2.0 / place.width);
    (u / 1.25).hypot(v / 1.48) < 1.0 || (v > 1.6 && u.abs() < 2.2)
}

/// The drawing and its halves, largest first, down to where the smallest face is.
fn halves(master: Canvas) -> Vec<Canvas> {
    let mut all = vec![master];
    while all.last().is_some_and(|smallest| smallest.scale > 24.0) {
        let next = all[all.len() - 1].half();
        all.push(next);
    }
    all
}

/// One person at one size, ready to be laid over a picture: samples times cover, and what is left of the ground.
struct Sprite {
    face_width: f32,
    width: usize,
    height: usize,
    /// Where the face's middle is in it.
    origin: (i32, i32),
    luma: Layer,
    u: Layer,
    v: Layer,
}

#[derive(Default)]
struct Layer {
    samples: Vec<u8>,
    /// 255 where the ground shows wholly.
    ground: Vec<u8>,
}

impl Sprite {
    fn scaled(halves: &[Canvas], face_width: f32) -> Self {
        let unit = face_width / 2.0;
        let source = halves.iter().rev().find(|half| half.scale >= unit).unwrap_or(&halves[0]);
        let even = |value: f32| (value / 2.0).ceil() as usize * 2;
        let origin = (even(-CANVAS[0] * unit), even(-CANVAS[1] * unit));
        let (width, height) = (origin.0 + even(CANVAS[2] * unit), origin.1 + even(CANVAS[3] * unit) - 4);
        let at = |column: f32, row: f32| {
            source.sample((column - origin.0 as f32) / unit, ((row - origin.1 as f32) / unit).min(CANVAS[3] - 0.02))
        };
        let mut luma = Layer::with_capacity(width * height);
        let (mut u, mut v) = (Layer::with_capacity(width * height / 4), Layer::with_capacity(width * height / 4));
        for row in 0..height {
            for column in 0..width {
                luma.push(yuv(at(column as f32 + 0.5, row as f32 + 0.5)).0);
            }
        }
        for row in (0..height).step_by(2) {
            for column in (0..width).step_by(2) {
                let (_, blue, red) = yuv(at(column as f32 + 1.0, row as f32 + 1.0));
                u.push(blue);
                v.push(red);
            }
        }
        Self { face_width, width, height, origin: (origin.0 as i32, origin.1 as i32), luma, u, v }
    }

    /// The lowest row goes on to the bottom of the picture.
    fn lay_over(&self, picture: &mut OwnedPlanes, place: Place) {
        let (left, top) = (place.x as i32 - self.origin.0, place.y as i32 - self.origin.1);
        let size = (self.width, self.height);
        let half = (self.width / 2, self.height / 2);
        self.luma.lay_over(size, &mut picture.y, WIDTH, left, top);
        self.u.lay_over(half, &mut picture.u, WIDTH / 2, left / 2, top / 2);
        self.v.lay_over(half, &mut picture.v, WIDTH / 2, left / 2, top / 2);
    }
}

impl Layer {
    fn with_capacity(count: usize) -> Self {
        Self { samples: Vec::with_capacity(count), ground: Vec::with_capacity(count) }
    }

    fn push(&mut self, (sample, ground): (u8, u8)) {
        self.samples.push(sample);
        self.ground.push(ground);
    }

    fn lay_over(&self, size: (usize, usize), plane: &mut [u8], stride: usize, left: i32, top: i32) {
        let first = left.clamp(0, stride as i32) as usize;
        let last = (left + size.0 as i32).clamp(0, stride as i32) as usize;
        if first == last {
            return;
        }
        let skipped = first as i32 - left;
        for (row, line) in plane.chunks_exact_mut(stride).enumerate().skip(top.max(0) as usize) {
            let own_row = ((row as i32 - top) as usize).min(size.1 - 1);
            let start = own_row * size.0 + skipped as usize;
            let samples = &self.samples[start..];
            let ground = &self.ground[start..];
            for ((target, &sample), &ground) in line[first..last].iter_mut().zip(samples).zip(ground) {
                *target = sample.saturating_add(((u32::from(*target) * u32::from(ground) + 127) / 255) as u8);
            }
        }
    }
}

/// Y, U and V, each times cover with the ground's share, of a colour that is times cover already. BT.709, limited range.
fn yuv([r, g, b, cover]: [f32; 4]) -> ((u8, u8), (u8, u8), (u8, u8)) {
    let luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let ground = ((1.0 - cover) * 255.0).round() as u8;
    let byte = |offset: f32, value: f32| ((offset * cover + value).round().clamp(0.0, 255.0) as u8, ground);
    (byte(16.0, 219.0 * luma), byte(128.0, 224.0 * (b - luma) / 1.8556), byte(128.0, 224.0 * (r - luma) / 1.5748))
}

fn copy(picture: &OwnedPlanes) -> OwnedPlanes {
    let OwnedPlanes { width, height, y, u, v, .. } = picture;
    OwnedPlanes { layout: Layout::I420, width: *width, height: *height, y: y.clone(), u: u.clone(), v: v.clone() }
}

fn draw_board(picture: &mut OwnedPlanes, left: f32, right: f32) {
    let fill = |plane: &mut [u8], stride: usize, half: f32, value: u8, edge: u8| {
        let cut = |x: f32| (x / half).clamp(0.0, stride as f32) as usize;
        let (from, to) = (cut(left), cut(right));
        for line in plane.chunks_exact_mut(stride) {
            line[from..to].fill(value);
            line[from..cut(left + 12.0)].fill(edge);
            line[cut(right - 12.0)..to].fill(edge);
        }
    };
    fill(&mut picture.y, WIDTH, 1.0, 120, 70);
    fill(&mut picture.u, WIDTH / 2, 2.0, 122, 122);
    fill(&mut picture.v, WIDTH / 2, 2.0, 134, 134);
}

/// A calm room: a wall with panels, a skirting board, a floor.
fn background() -> OwnedPlanes {
    let mut picture = OwnedPlanes::black(WIDTH, HEIGHT);
    for row in 0..HEIGHT {
        for column in 0..WIDTH {
            let [r, g, b] = room(column as f32, row as f32);
            let (y, u, v) = yuv([r, g, b, 1.0]);
            picture.y[row * WIDTH + column] = y.0;
            if row % 2 == 0 && column % 2 == 0 {
                let at = row / 2 * (WIDTH / 2) + column / 2;
                (picture.u[at], picture.v[at]) = (u.0, v.0);
            }
        }
    }
    picture
}

fn room(x: f32, y: f32) -> Rgb {
    const WALL: Rgb = [0.66, 0.67, 0.65];
    const FLOOR: Rgb = [0.44, 0.38, 0.33];
    const SKIRTING: f32 = 900.0;
    let grain = 1.0 + 0.012 * noise(x / 3.0, y / 3.0, 1) + 0.015 * noise(x / 160.0, y / 160.0, 2);
    if y > SKIRTING {
        return scaled(FLOOR, grain * (0.85 + 0.25 * (y - SKIRTING) / 180.0));
    }
    if y > SKIRTING - 24.0 {
        return scaled([0.82, 0.81, 0.78], grain);
    }
    let lit = mixed(WALL, [0.80, 0.78, 0.72], 1.0 - (x - 500.0).hypot(y - 150.0) / 1300.0);
    let joint = if x.rem_euclid(480.0) < 3.0 { 0.88 } else { 1.0 };
    scaled(lit, grain * joint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scene_holds_what_it_is_for() {
        let all: Vec<Vec<TruthFace>> = (0..FRAMES).map(truth).collect();
        let of = |person: usize| all.iter().flatten().filter(move |face| face.person == person);
        let whole = |face: &&TruthFace| face.visible > 0.99;
        assert!(of(2).all(|face| face.bbox.shorter_side() < 120.0), "one stays small");
        assert!(
            of(3).any(|face| face.bbox.shorter_side() < 80.0) && of(3).any(|face| face.bbox.shorter_side() > 260.0)
        );
        let hidden = of(4).filter(|face| face.visible == 0.0 && face.bbox.x > 0.0).count();
        assert!((18..=22).contains(&hidden), "hidden for {hidden} frames");
        assert!(of(5).filter(whole).all(|face| face.bbox.center().x > 1800.0 && face.bbox.shorter_side() > 120.0));
        assert!(of(5).filter(whole).count() > 3 * FPS, "one stands outside the region");
        let both = all.iter().filter(|faces| faces.iter().filter(|face| face.visible > 0.99).count() == 2).count();
        assert!(both > 4 * FPS, "two people are seen together");
        let nobody = all.iter().filter(|faces| faces.iter().all(|face| face.visible == 0.0)).count();
        assert!(nobody > 4 * FPS, "nobody is seen for {nobody} frames");
    }

    #[test]
    fn the_same_frame_twice_is_the_same() {
        let (mut one, mut other) = (Scene::new(), Scene::new());
        other.frame(90);
        let (a, b) = (one.frame(100), other.frame(100));
        assert!(a.y == b.y && a.u == b.u && a.v == b.v);
        assert!(a.y != one.frame(0).y, "somebody is in it");
    }
}
