//! `detect IMAGE…`: the faces in pictures, of every size that the model can find.

use std::path::{Path, PathBuf};

use anyhow::Context;
use image::{DynamicImage, ImageDecoder, ImageReader, Rgb, RgbImage, imageops};
use serde_json::{Value, json};

use super::{BadInput, DetectorArgs};
use crate::detect::{Detectors, RgbPicture, SizeWindow, plan_input};
use crate::domain::{Detection, Rect};
use crate::rules::{Quality, measure};

const BOX_COLOR: Rgb<u8> = Rgb([0, 230, 90]);
const LANDMARK_COLOR: Rgb<u8> = Rgb([255, 220, 0]);
/// Lines are this part of the picture's longer side.
const LINE_PART: u32 = 500;

/// Find the faces in pictures: box, score, quality, landmarks
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: face-edge detect group.jpg --draw group-faces.png")]
pub struct Args {
    /// JPEG or PNG files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Write the picture with the faces marked, as PNG or JPEG; for one picture
    #[arg(long, value_name = "FILE")]
    draw: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.draw.is_some() && args.images.len() > 1 {
        return Err(BadInput(format!("--draw takes one picture, {} were given", args.images.len())).into());
    }
    let mut detectors = args.detector.detectors()?;
    let mut reports = Vec::new();
    for path in &args.images {
        let picture = read_picture(path)?;
        let faces = faces_of_any_size(&mut detectors, &picture)?;
        let qualities = qualities(&picture, &faces);
        if let Some(target) = &args.draw {
            draw(&picture, &faces).save(target).with_context(|| format!("{} cannot be written", target.display()))?;
        }
        if args.json {
            reports.push(report(path, &picture, &faces, &qualities));
        } else {
            print_faces(path, &faces, &qualities);
        }
    }
    if args.json {
        println!("{:#}", Value::from(reports));
    }
    Ok(())
}

/// Decodes a picture, turned upright as its EXIF says.
pub fn read_picture(path: &Path) -> Result<RgbImage, BadInput> {
    let bad = |error: &dyn std::fmt::Display| BadInput(format!("{}: {error}", path.display()));
    let reader = ImageReader::open(path).map_err(|error| bad(&error))?.with_guessed_format();
    let mut decoder = reader.map_err(|error| bad(&error))?.into_decoder().map_err(|error| bad(&error))?;
    let orientation = decoder.orientation().map_err(|error| bad(&error))?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| bad(&error))?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

fn faces_of_any_size(detectors: &mut Detectors, picture: &RgbImage) -> anyhow::Result<Vec<Detection>> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let entry = &detectors.model().entry;
    let window = SizeWindow { min_px: entry.min_face_px, max_px: f32::INFINITY };
    let plan = plan_input(entry, (width, height), window);
    Ok(detectors.detect_rgb(&RgbPicture { width, height, bytes: picture.as_raw() }, &plan)?)
}

/// As the rules that choose a picture see them.
fn qualities(picture: &RgbImage, faces: &[Detection]) -> Vec<Quality> {
    let luma = imageops::grayscale(picture);
    let (width, height) = (luma.width() as usize, luma.height() as usize);
    let of = |face: &Detection| {
        let measure = measure(luma.as_raw(), width, width, height, face.bbox);
        Quality::of(face, measure, (width as f32, height as f32))
    };
    faces.iter().map(of).collect()
}

fn print_faces(path: &Path, faces: &[Detection], qualities: &[Quality]) {
    println!("{}: {} {}", path.display(), faces.len(), if faces.len() == 1 { "face" } else { "faces" });
    for (face, quality) in faces.iter().zip(qualities) {
        let Rect { x, y, w, h } = face.bbox;
        print!("  box {x:.0},{y:.0} {w:.0}x{h:.0}  score {:.2}  quality {:.2}", face.score, quality.score);
        if let Some(landmarks) = face.landmarks {
            let points: Vec<String> = landmarks.0.iter().map(|p| format!("{:.0},{:.0}", p.x, p.y)).collect();
            print!("  landmarks {}", points.join(" "));
        }
        println!();
    }
}

fn report(path: &Path, picture: &RgbImage, faces: &[Detection], qualities: &[Quality]) -> Value {
    let face = |(face, quality): (&Detection, &Quality)| {
        let Rect { x, y, w, h } = face.bbox;
        let landmarks = face.landmarks.map(|all| all.0.map(|p| [round(p.x), round(p.y)]));
        json!({
            "box": { "x": round(x), "y": round(y), "w": round(w), "h": round(h) },
            "score": four_digits(face.score),
            "landmarks": landmarks,
            "quality": {
                "score": four_digits(quality.score),
                "size": four_digits(quality.size),
                "sharpness": four_digits(quality.sharpness),
                "pose": four_digits(quality.pose),
                "exposure": four_digits(quality.exposure),
                "confidence": four_digits(quality.confidence),
                "wholeness": four_digits(quality.wholeness),
            },
        })
    };
    json!({
        "file": path.display().to_string(),
        "width": picture.width(),
        "height": picture.height(),
        "faces": faces.iter().zip(qualities).map(face).collect::<Vec<_>>(),
    })
}

fn four_digits(value: f32) -> f64 {
    (f64::from(value) * 1e4).round() / 1e4
}

/// To a hundredth of a pixel.
fn round(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

fn draw(picture: &RgbImage, faces: &[Detection]) -> RgbImage {
    let mut drawn = picture.clone();
    let line = (picture.width().max(picture.height()) / LINE_PART).max(1) as f32;
    for face in faces {
        let Rect { x, y, w, h } = face.bbox;
        for side in [
            Rect::new(x, y, w, line),
            Rect::new(x, y + h - line, w, line),
            Rect::new(x, y, line, h),
            Rect::new(x + w - line, y, line, h),
        ] {
            fill(&mut drawn, &side, BOX_COLOR);
        }
        for point in face.landmarks.iter().flat_map(|all| all.0) {
            fill(&mut drawn, &Rect::new(point.x - line, point.y - line, 2.0 * line, 2.0 * line), LANDMARK_COLOR);
        }
    }
    drawn
}

fn fill(picture: &mut RgbImage, area: &Rect, color: Rgb<u8>) {
    let inside = area.clip(picture.width() as f32, picture.height() as f32);
    for y in inside.y as u32..inside.bottom() as u32 {
        for x in inside.x as u32..inside.right() as u32 {
            picture.put_pixel(x, y, color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_drawn_on_its_edge_and_within_the_picture() {
        let face = Detection { bbox: Rect::new(2.0, 3.0, 20.0, 4.0), score: 0.9, landmarks: None };
        let drawn = draw(&RgbImage::new(10, 10), &[face]);
        assert_eq!(*drawn.get_pixel(5, 3), BOX_COLOR);
        assert_eq!(*drawn.get_pixel(9, 6), BOX_COLOR);
        assert_eq!(*drawn.get_pixel(2, 5), BOX_COLOR);
        assert_eq!(*drawn.get_pixel(5, 5), Rgb([0, 0, 0]));
        assert_eq!(*drawn.get_pixel(1, 3), Rgb([0, 0, 0]));
    }

    #[test]
    fn a_file_that_is_no_picture_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.jpg");
        std::fs::write(&path, "not a picture").unwrap();
        let text = read_picture(&path).unwrap_err().to_string();
        assert!(text.contains("notes.jpg"), "{text}");
    }
}
