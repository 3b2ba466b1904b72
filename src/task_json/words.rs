//! What a task would do, in words, for `check`. Addresses are shown without credentials.

use url::Url;

use crate::domain::{Category, Repeat, Roi, Rules, Source};

use super::{TaskSpec, check_roi_in_frame};

/// The frame that areas are compared with while the stream's own size is not known.
const FRAME: (u32, u32) = (1920, 1080);

/// One line a subject. `input_size` is the detector's input as already chosen, such as `640×384`.
pub fn describe(spec: &TaskSpec, input_size: Option<&str>) -> Vec<String> {
    let rules = &spec.rules;
    let mut lines = vec![format!("{}: {} stream(s)", spec.name, spec.inputs.len())];
    lines.extend(spec.inputs.iter().map(|input| format!("  input {}: {}", input.index, source(&input.source))));
    lines.push(format!("  faces: {}", size_window(rules)));
    lines.push(format!("  region: {}", region(&rules.roi)));
    lines.push(format!("  first picture: {}", first_picture(rules)));
    lines.push(format!("  further pictures: {}", further_pictures(&rules.repeat)));
    lines.extend(persons(rules));
    lines.push(format!("  analysed: {}", analysed(rules.frame_skip)));
    if let Some(size) = input_size {
        lines.push(format!("  detector input: {size}"));
    }
    lines.push(format!("  pictures: JPEG of quality {}; {}", rules.jpeg_quality, origin_images(spec)));
    lines.extend(outputs(spec));
    lines
}

fn source(source: &Source) -> String {
    match source {
        Source::Url { url } => format!("stream at {}", place(url)),
        Source::Camera { id } => format!("camera {id} of the registry"),
        Source::Restful { url, .. } => format!("address asked of {}", place(url)),
        Source::Vcn { ip, port, device_id, stream_type, .. } => {
            format!("device {device_id}, stream {stream_type}, of the platform at {ip}:{port}")
        }
    }
}

/// An address without account and query.
fn place(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return "an address".to_owned() };
    url.set_query(None);
    let unmasked = url.set_username("").and(url.set_password(None));
    if unmasked.is_err() && url.has_authority() && url.username() != "" {
        "an address".to_owned()
    } else {
        url.to_string()
    }
}

fn size_window(rules: &Rules) -> String {
    let (min, max) = (rules.min_size_px, rules.max_size_px);
    format!("shorter side of at least {min} px and longer side of at most {max} px")
}

fn region(roi: &Roi) -> String {
    if roi.polygons.is_empty() {
        return "the whole frame".to_owned();
    }
    let (width, height) = FRAME;
    let area = area_in_frame(roi, width, height);
    let share = 100.0 * area / (f64::from(width) * f64::from(height));
    let mut text =
        format!("{} polygon(s), {area:.0} px², {share:.1} % of a {width}×{height} frame", roi.polygons.len());
    if let Some(fault) = check_roi_in_frame(roi, width, height) {
        text.push_str(&format!(" (careful: {})", fault.message));
    }
    text
}

/// Of the union, row by row: the parts of each pixel row's middle line that lie in any polygon.
fn area_in_frame(roi: &Roi, width: u32, height: u32) -> f64 {
    (0..height).map(|row| covered(roi, f64::from(row) + 0.5, f64::from(width))).sum()
}

fn covered(roi: &Roi, y: f64, width: f64) -> f64 {
    let mut spans: Vec<(f64, f64)> = roi
        .polygons
        .iter()
        .flat_map(|polygon| {
            let mut crossings = crossings(polygon.points(), y);
            crossings.sort_by(f64::total_cmp);
            crossings
                .chunks_exact(2)
                .map(|pair| (pair[0].clamp(0.0, width), pair[1].clamp(0.0, width)))
                .collect::<Vec<_>>()
        })
        .collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut reached = 0.0;
    let mut sum = 0.0;
    for (from, to) in spans {
        sum += (to - from.max(reached)).max(0.0);
        reached = to.max(reached);
    }
    sum
}

/// Where a ring's edges cross the horizontal line at `y`: an even number of places.
fn crossings(points: &[crate::domain::Point], y: f64) -> Vec<f64> {
    let next = points.iter().cycle().skip(1);
    let edges = points.iter().zip(next).map(|(a, b)| (f64::from(a.x), f64::from(a.y), f64::from(b.x), f64::from(b.y)));
    edges.filter(|e| (e.1 > y) != (e.3 > y)).map(|(ax, ay, bx, by)| ax + (y - ay) / (by - ay) * (bx - ax)).collect()
}

fn first_picture(rules: &Rules) -> String {
    if rules.first_send_after.is_zero() {
        return "at once, when the face is first seen".to_owned();
    }
    let seconds = rules.first_send_after.as_secs_f64();
    let leaver = if rules.must_send { "is sent once, when it leaves" } else { "is not sent" };
    format!("the best of the first {seconds} s; a face that leaves earlier {leaver}")
}

fn further_pictures(repeat: &Repeat) -> String {
    match repeat {
        Repeat::Off => "none, one picture for each tracked face".to_owned(),
        Repeat::Period { interval } => format!("the best of each further {} s", interval.as_secs_f64()),
        Repeat::QualityStep { step } => format!("whenever the quality is above {step} times the quality last sent"),
    }
}

fn analysed(frame_skip: u32) -> String {
    match frame_skip {
        0 => "every frame".to_owned(),
        n => format!("one frame in {} ({n} left out between two)", u64::from(n) + 1),
    }
}

fn persons(rules: &Rules) -> Option<String> {
    let quiet = rules.same_person_quiet.as_secs_f64();
    let again = (quiet > 0.0).then(|| format!("not sent again by another track within {quiet} s"));
    let named = rules.recognize_person.then(|| "named where the directory knows them".to_owned());
    let both: Vec<String> = named.into_iter().chain(again).collect();
    (!both.is_empty()).then(|| format!("  persons: {}", both.join("; ")))
}

fn origin_images(spec: &TaskSpec) -> &'static str {
    let named = spec.outputs.want(Category::OriginImage);
    match (spec.rules.send_origin_image, named) {
        (true, true) => "whole frames are sent too",
        (true, false) => "no whole frames: origin_image_send_sw is 1 but no data_category names OriginImage",
        (false, true) => "no whole frames: a data_category names OriginImage but origin_image_send_sw is 0",
        (false, false) => "no whole frames",
    }
}

fn outputs(spec: &TaskSpec) -> Vec<String> {
    let names = |kinds: &[Category]| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" and ");
    let webhook = spec.outputs.webhook.as_ref();
    let localpath = spec.outputs.localpath.as_ref();
    let webhook = webhook.map(|to| format!("  output: {} to the webhook {}", names(&to.categories), place(&to.url)));
    let localpath =
        localpath.map(|to| format!("  output: {} as files under {}", names(&to.categories), to.mount_source_path));
    let mqtt = spec.outputs.mqtt.as_ref();
    let mqtt = mqtt
        .map(|to| format!("  output: {} to the broker {} below {}", names(&to.categories), place(&to.url), to.topic));
    let enrolled = spec.outputs.gate_buffer.as_ref().map(|to| {
        let gates = if to.gates.is_empty() { "all gates".to_owned() } else { format!("gates {}", to.gates.join(", ")) };
        format!("  output: each face as a sample for {gates}, valid for {} h", to.valid_hours)
    });
    webhook.into_iter().chain(localpath).chain(mqtt).chain(enrolled).collect()
}
