//! `models eval DIR`: average precision of a model on labelled pictures, each brought to a long side of 640 pixels.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use super::wider::{self, Picture, Scored, Subset};
use crate::cli::DetectorArgs;
use crate::cli::detect::read_picture;
use crate::detect::{Detectors, RgbPicture, Thresholds, plan_long_side};

/// The whole curve is wanted, down to the least sure detections.
const THRESHOLDS: Thresholds = Thresholds { score: 0.02, nms_iou: 0.45 };

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// Folder with labels.json, the pictures that it names, and official_gt/ with WIDER FACE's lists
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &EvalArgs) -> anyhow::Result<()> {
    let pictures = wider::load(&args.folder)?;
    let detectors = args.detector.detectors()?;
    let figures = measure(&mut detectors.with_thresholds(THRESHOLDS), &pictures)?;
    if args.json {
        println!("{}", Value::from(figures));
    } else {
        println!("{} pictures, average precision in per cent", pictures.len());
        figures.iter().for_each(|(name, value)| println!("{name:<7} {value}"));
    }
    Ok(())
}

/// By subset's name, in per cent with two decimals; null where no face counts.
fn measure(detectors: &mut Detectors, pictures: &[Picture]) -> anyhow::Result<Map<String, Value>> {
    let bar = ProgressBar::new(pictures.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} pictures, {eta} left")?);
    let mut found = Vec::with_capacity(pictures.len());
    for picture in pictures {
        found.push(faces(detectors, picture)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let figure = |subset| {
        let precision = wider::average_precision(pictures, &found, subset);
        Value::from(precision.map(|value| (value * 1e4).round() / 1e2))
    };
    Ok(Subset::ALL.into_iter().map(|subset| (subset.name().to_owned(), figure(subset))).collect())
}

fn faces(detectors: &mut Detectors, picture: &Picture) -> anyhow::Result<Vec<Scored>> {
    let pixels = read_picture(&picture.path)?;
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let plan = plan_long_side(&detectors.model().entry, (width, height), wider::LONG_SIDE);
    let found = detectors.detect_rgb(&RgbPicture { width, height, bytes: pixels.as_raw() }, &plan)?;
    Ok(found.into_iter().map(|face| (face.bbox, face.score)).collect())
}
