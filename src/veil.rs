//! Makes unrecognisable, in a whole frame, what nobody asked for: faces that are not reported, and everything outside
//! the target region. Pure: planes in, planes out.
//!
//! Each block of pixels becomes its mean. A block is as large as the face that it hides: a detector still found faces in
//! blocks of a quarter. What is reported stays as it is, also where it overlaps.

use crate::domain::{Point, Rect, Roi};
use crate::frame::{OwnedPlanes, Planes};
use crate::snapshot::{CROP_MARGIN, copy_of};

/// Of a face's size, on each side of its box: hair and chin go with it.
const MARGIN: f32 = 0.3;
const SMALLEST_BLOCK_PX: usize = 16;
/// Outside the region.
const OUTSIDE_BLOCK_PX: usize = 64;

/// `hide`, `keep`: boxes of faces that are not, and that are reported.
pub fn veil(planes: &Planes<'_>, hide: &[Rect], keep: &[Rect], roi: &Roi) -> OwnedPlanes {
    let (width, height) = (planes.width, planes.height);
    let mut picture = copy_of(planes, 0, 0, width, height);
    let keep: Vec<_> = keep.iter().map(|face| face.grow(CROP_MARGIN)).collect();
    let kept = |p: Point| keep.iter().any(|face| within(face, p));
    let whole = Rect::new(0.0, 0.0, width as f32, height as f32);
    if !roi.polygons.is_empty() {
        flatten(&mut picture, &whole, OUTSIDE_BLOCK_PX, |p| !roi.contains(p) && !kept(p));
    }
    for face in hide {
        let block = face.longer_side() as usize;
        let area = face.grow(MARGIN).clip(width as f32, height as f32);
        flatten(&mut picture, &area, block.max(SMALLEST_BLOCK_PX), |p| !kept(p));
    }
    picture
}

fn within(area: &Rect, p: Point) -> bool {
    p.x >= area.x && p.x < area.right() && p.y >= area.y && p.y < area.bottom()
}

/// Gives each block of the area its mean, in those squares of two by two pixels whose centre is to be hidden.
fn flatten(picture: &mut OwnedPlanes, area: &Rect, block_px: usize, hidden: impl Fn(Point) -> bool) {
    let squares = |px: f32| px.max(0.0) as usize / 2;
    let (chroma_width, chroma_height) = (picture.width.div_ceil(2), picture.height.div_ceil(2));
    let (left, top) = (squares(area.x), squares(area.y));
    let right = (area.right().max(0.0).ceil() as usize).div_ceil(2).min(chroma_width);
    let bottom = (area.bottom().max(0.0).ceil() as usize).div_ceil(2).min(chroma_height);
    let step = block_px.div_ceil(2).max(1);
    for block_top in (top..bottom).step_by(step) {
        for block_left in (left..right).step_by(step) {
            let rows = block_top..(block_top + step).min(bottom);
            let columns = block_left..(block_left + step).min(right);
            let mean = mean(picture, rows.clone(), columns.clone());
            for cy in rows {
                for cx in columns.clone() {
                    if hidden(Point::new(2.0 * cx as f32 + 1.0, 2.0 * cy as f32 + 1.0)) {
                        paint(picture, cx, cy, mean);
                    }
                }
            }
        }
    }
}

/// Of Y, U and V, by chroma samples.
fn mean(picture: &OwnedPlanes, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> [u8; 3] {
    let (mut sums, mut count) = ([0_u64; 3], 0);
    let chroma_width = picture.width.div_ceil(2);
    for cy in rows {
        for cx in columns.clone() {
            let luma = picture.y[2 * cy * picture.width + 2 * cx];
            let at = cy * chroma_width + cx;
            for (sum, sample) in sums.iter_mut().zip([luma, picture.u[at], picture.v[at]]) {
                *sum += u64::from(sample);
            }
            count += 1;
        }
    }
    sums.map(|sum| (sum / count.max(1)) as u8)
}

fn paint(picture: &mut OwnedPlanes, cx: usize, cy: usize, [y, u, v]: [u8; 3]) {
    let at = cy * picture.width.div_ceil(2) + cx;
    (picture.u[at], picture.v[at]) = (u, v);
    for row in 2 * cy..(2 * cy + 2).min(picture.height) {
        let start = row * picture.width + 2 * cx;
        let end = (start + 2).min((row + 1) * picture.width);
        picture.y[start..end].fill(y);
    }
}
