//! Recognition with real models: our own detection and alignment, and the embedding model of ../shared, which is for tests
//! only and therefore stands in no models.toml but the one written here.

use std::path::PathBuf;
use std::sync::Arc;

use face_edge::api::Eyes;
use face_edge::detect::{Catalog, Detectors, Embedder};
use face_edge::domain::{Embedding, FaceOwner};
use face_edge::eyes::PictureEyes;
use face_edge::gallery::{Circle, Gallery};
use face_edge::picture::{Kind, Picture, PictureLimits};
use serde_json::Value;

use crate::support::vision;

/// Of ../shared/models/recognition. docs/persons.md tells how the threshold was found.
const THRESHOLD: f32 = 0.3;
const ENTRY: &str = r#"
[mobilefacenet]
file = "mobilefacenet_128.onnx"
sha256 = "e0974ec4c84ae30781e9b0a320c37c6705944d4532bfa9fb0c083755b19dde14"
size_bytes = 3981135
licence = "unclear: tests only"
decoder = "arcface"
input = { order = "rgb", mean = 127.5, scale = 0.0078125, fixed = [112, 112] }
min_face_px = 40.0
max_face_px = 100000.0
score_threshold = 0.3
nms_iou = 1.0
"#;
const PICTURES: PictureLimits =
    PictureLimits { min_bytes: 1, max_bytes: 1 << 22, min_side_px: 1, max_side_px: 4096, kinds: Kind::ALL };

/// `None`, and said so, where something is absent.
fn eyes() -> Option<(tempfile::TempDir, PictureEyes)> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("models.toml"), ENTRY).unwrap();
    let shared = vision::shared("models/recognition")?;
    let catalog = Catalog::with_folders(vec![folder.path().to_owned(), shared]).unwrap();
    let embedding = catalog.load(&catalog.embedding().expect("the entry's file is there").alias).unwrap();
    let eyes = PictureEyes::new(&vision::runtime()?, &vision::model("default")?, Some(embedding)).unwrap();
    Some((folder, eyes))
}

fn embedding(eyes: &PictureEyes, file: &PathBuf) -> Option<Embedding> {
    let picture = Picture::decode(&std::fs::read(file).unwrap(), &PICTURES).unwrap();
    let faces = eyes.look(&picture, true).unwrap();
    // The person of the picture is the largest face; others stand behind.
    let largest = faces.into_iter().max_by(|a, b| a.bbox.area().total_cmp(&b.bbox.area()))?;
    largest.embedding
}

#[test]
fn pairs_of_pictures_are_told_to_be_of_one_person_or_of_two() {
    let (Some(folder), Some((_models, eyes))) = (vision::shared("images/lfw_pairs"), eyes()) else { return };
    assert_eq!(eyes.recognition().unwrap().threshold, THRESHOLD);
    let pairs: Value = serde_json::from_slice(&std::fs::read(folder.join("pairs.json")).unwrap()).unwrap();
    let mut known = std::collections::HashMap::new();
    let mut of = |name: &Value| -> Option<Embedding> {
        let name = name.as_str().unwrap().to_owned();
        known.entry(name.clone()).or_insert_with(|| embedding(&eyes, &folder.join(name))).clone()
    };
    let (mut scored, mut faceless) = (Vec::new(), 0);
    for (same, list) in [(true, &pairs["same"]), (false, &pairs["different"])] {
        for pair in list.as_array().unwrap() {
            match (of(&pair[0]), of(&pair[1])) {
                (Some(a), Some(b)) => {
                    let cosine: f32 = a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a * b).sum();
                    scored.push((same, cosine));
                }
                _ => faceless += 1,
            }
        }
    }
    let right = |threshold: f32| scored.iter().filter(|(same, cosine)| *same == (*cosine >= threshold)).count();
    let total = scored.len() + faceless;
    assert_eq!(total, 300);
    for step in 10..=50 {
        println!("threshold {:.2}: {} of {total} right", step as f32 / 100.0, right(step as f32 / 100.0));
    }
    let share = right(THRESHOLD) as f32 / total as f32;
    println!("at {THRESHOLD}: {:.1} %, {faceless} pairs without a face", 100.0 * share);
    assert!(share >= 0.96, "{share}");
}

#[test]
fn a_search_finds_the_person_among_all() {
    let (Some(folder), Some((_models, eyes))) = (vision::shared("images/lfw_pairs"), eyes()) else { return };
    let pairs: Value = serde_json::from_slice(&std::fs::read(folder.join("pairs.json")).unwrap()).unwrap();
    let gallery = Gallery::default();
    let pairs: Vec<_> = pairs["same"].as_array().unwrap().iter().take(40).collect();
    for (number, pair) in pairs.iter().enumerate() {
        let file = folder.join(pair[0].as_str().unwrap());
        let owner = FaceOwner::Number { space: 0, number: number as i64 };
        gallery.put(&owner, "", &embedding(&eyes, &file).unwrap());
    }
    let mut right = 0;
    for (number, pair) in pairs.iter().enumerate() {
        let Some(wanted) = embedding(&eyes, &folder.join(pair[1].as_str().unwrap())) else { continue };
        let best = gallery.best(Circle::Space(0), &wanted).unwrap();
        right += usize::from(best.owner == FaceOwner::Number { space: 0, number: number as i64 });
    }
    println!("{right} of {} found first", pairs.len());
    assert!(right * 100 >= pairs.len() * 92);
}

#[test]
fn an_embedding_model_is_no_detector_and_a_detector_no_embedding_model() {
    let (Some(runtime), Some(shared)) = (vision::runtime(), vision::shared("models/recognition")) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("models.toml"), ENTRY).unwrap();
    let catalog = Catalog::with_folders(vec![folder.path().to_owned(), shared]).unwrap();
    let embedding = Arc::new(catalog.load("mobilefacenet").unwrap());
    let window = face_edge::detect::SizeWindow { min_px: 90.0, max_px: 192.0 };
    let refused = Detectors::new(&runtime, embedding).prepare((320, 192), window).err().unwrap().to_string();
    assert!(refused.contains("another shape"), "{refused}");
    // This one does not even take pictures of that size.
    let Some(detector) = vision::model("default") else { return };
    let refused = Embedder::new(&runtime, detector).err().unwrap().to_string();
    assert!(refused.contains("model default"), "{refused}");
}
