//! `target_roi`: a string that holds JSON, or that JSON as an object; `{"polygons":[{"data":[[x,y],…]}],"lines":[…]}`
//! in pixels of the source frame. Given back always as a string.

use serde_json::Value;

use crate::domain::geometry::PolygonError;
use crate::domain::{Invalid, Point, Polygon, Roi};

use super::fields::{Fields, Findings, kind};

const FIELD: &str = "service_config.common.target_roi";
const MAX_POLYGONS: usize = 64;
const MAX_POINTS: usize = 256;

/// Says which polygon, if any, lies wholly outside a frame of that size; to be called once a stream's size is known.
pub fn check_roi_in_frame(roi: &Roi, width: u32, height: u32) -> Option<Invalid> {
    let index = roi.polygons.iter().position(|polygon| !touches_frame(polygon, width, height))?;
    let bounds = roi.polygons[index].bounds();
    Some(Invalid::new(
        FIELD,
        format!(
            "polygon {index} lies wholly outside the frame of {width}×{height}: it reaches from ({}, {}) to ({}, {})",
            bounds.x,
            bounds.y,
            bounds.right(),
            bounds.bottom()
        ),
    ))
}

/// Whether polygon and frame have a point in common: what is left after cutting at each of the frame's four edges.
fn touches_frame(polygon: &Polygon, width: u32, height: u32) -> bool {
    let ring: Vec<(f64, f64)> = polygon.points().iter().map(|p| (f64::from(p.x), f64::from(p.y))).collect();
    let (w, h) = (f64::from(width), f64::from(height));
    let ring = cut(&ring, |p| p.0);
    let ring = cut(&ring, |p| w - p.0);
    let ring = cut(&ring, |p| p.1);
    !cut(&ring, |p| h - p.1).is_empty()
}

/// Sutherland and Hodgman's cut of a ring at a line: keeps the part where `inside` is not negative.
fn cut(ring: &[(f64, f64)], inside: impl Fn((f64, f64)) -> f64) -> Vec<(f64, f64)> {
    let mut kept = Vec::with_capacity(ring.len() + 4);
    for (index, &b) in ring.iter().enumerate() {
        let a = ring[(index + ring.len() - 1) % ring.len()];
        let (da, db) = (inside(a), inside(b));
        if (da < 0.0) != (db < 0.0) {
            let t = da / (da - db);
            kept.push((a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1)));
        }
        if db >= 0.0 {
            kept.push(b);
        }
    }
    kept
}

pub(super) fn read(common: &Fields, findings: &mut Findings) -> Roi {
    let Some(value) = common.get("target_roi") else { return Roi::whole_frame() };
    let parsed;
    let value = match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner) => {
                parsed = inner;
                &parsed
            }
            Err(error) => {
                let message = format!("is a string whose content is not JSON: {error} of the string");
                findings.invalid(FIELD, message);
                return Roi::whole_frame();
            }
        },
        other => other,
    };
    let Value::Object(_) = value else {
        let message = format!("is {}, expected JSON like {SAMPLE} as a string or as an object", kind(value));
        findings.invalid(FIELD, message);
        return Roi::whole_frame();
    };
    Fields::of(value, FIELD, findings).map(|fields| polygons(&fields, findings)).unwrap_or_default()
}

const SAMPLE: &str = r#"{"polygons":[{"data":[[0,0],[100,0],[100,100]]}]}"#;

fn polygons(roi: &Fields, findings: &mut Findings) -> Roi {
    let entries = roi.array("polygons", findings).unwrap_or_default();
    if entries.len() > MAX_POLYGONS {
        findings.over(roi.path("polygons"), format!("holds {} polygons, at most {MAX_POLYGONS}", entries.len()));
        return Roi::whole_frame();
    }
    let polygon = |(index, entry)| read_polygon(entry, &format!("{FIELD}.polygons[{index}]"), findings);
    Roi { polygons: entries.iter().enumerate().filter_map(polygon).collect() }
}

fn read_polygon(entry: &Value, path: &str, findings: &mut Findings) -> Option<Polygon> {
    let fields = Fields::of(entry, path, findings)?;
    let path = fields.path("data");
    let Some(data) = fields.array("data", findings) else {
        if fields.get("data").is_none() {
            findings.invalid(path, "is required, expected an array of at least 3 points [x,y]");
        }
        return None;
    };
    if data.len() > MAX_POINTS {
        findings.over(path, format!("holds {} points, at most {MAX_POINTS}", data.len()));
        return None;
    }
    let mut points = Vec::with_capacity(data.len());
    for (index, value) in data.iter().enumerate() {
        match read_point(value) {
            Some(point) => points.push(point),
            None => findings.invalid(format!("{path}[{index}]"), "is no point, expected two numbers [x,y]"),
        }
    }
    if points.len() < data.len() {
        return None;
    }
    let count = points.len();
    Polygon::new(points).map_err(|error| findings.invalid(&path, explain(&error, count))).ok()
}

fn read_point(value: &Value) -> Option<Point> {
    let [x, y] = value.as_array()?.as_slice() else { return None };
    Some(Point::new(x.as_f64()? as f32, y.as_f64()? as f32))
}

fn explain(error: &PolygonError, count: usize) -> String {
    let edge = |from: usize| format!("the edge from point {from} to point {}", (from + 1) % count);
    match error {
        PolygonError::TooFewPoints { given } => format!("has {given} points, expected at least 3"),
        PolygonError::CrossesItself { first, second } => {
            format!("crosses itself: {} meets {} (points count from 0)", edge(*first), edge(*second))
        }
        PolygonError::NotFinite { index } => format!("has a point {index} that is too far away to be a pixel"),
    }
}

/// Puts the string in place of an object.
pub(super) fn write_as_text(body: &mut Value) {
    if let Some(roi) = body.pointer_mut("/service_config/common/target_roi")
        && roi.is_object()
    {
        *roi = Value::String(roi.to_string());
    }
}
