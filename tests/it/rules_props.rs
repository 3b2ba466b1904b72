//! The rules against plain models of them, on random input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use face_edge::domain::{Detection, Point, Polygon, Reason, Rect, Repeat, Roi, Rules, StreamTime};
use face_edge::rules::assign::{Costs, assign};
use face_edge::rules::{Engine, Measure, Note, Quality, Sending, View, What};
use proptest::prelude::*;

const FRAME: (f32, f32) = (1920.0, 1080.0);

/// A frame in which every face is as sharp as told.
struct Still {
    sharpness: f32,
    at: StreamTime,
}

impl View for Still {
    type Picture = StreamTime;

    fn frame_size(&self) -> (f32, f32) {
        FRAME
    }

    fn measure(&mut self, _: &Detection) -> Measure {
        Measure { sharpness: self.sharpness, exposure: 1.0 }
    }

    fn cut(&mut self, _: &Detection) -> StreamTime {
        self.at
    }
}

fn detection(bbox: Rect) -> Detection {
    Detection { bbox, score: 0.9, landmarks: None }
}

/// One moment of the one face of a stream.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at_ms: u64,
    side: f32,
    sharpness: f32,
    visible: bool,
}

/// A face that never stays away for long and never changes much from one frame to the next.
fn history() -> impl Strategy<Value = Vec<Moment>> {
    let step = (1_u64..400, -4_f32..4.0, 0.05_f32..1.0, prop::bool::weighted(0.85));
    (0_u64..3000, 85_f32..115.0, prop::collection::vec(step, 1..120)).prop_map(|(start, side, steps)| {
        let (mut at_ms, mut side, mut unseen_ms) = (start, side, 0);
        let mut moments = Vec::new();
        for (dt, change, sharpness, visible) in steps {
            unseen_ms += dt;
            let visible = visible || moments.is_empty() || unseen_ms > 1000;
            moments.push(Moment { at_ms, side, sharpness, visible });
            if visible {
                unseen_ms = 0;
            }
            at_ms += dt;
            side = (side + change).clamp(85.0, 115.0);
        }
        moments
    })
}

fn repeat() -> impl Strategy<Value = Repeat> {
    prop_oneof![
        Just(Repeat::Off),
        (1_u64..5000).prop_map(|ms| Repeat::Period { interval: Duration::from_millis(ms) }),
        (1_f32..2.0).prop_map(|step| Repeat::QualityStep { step }),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    (90_f32..110.0, 90_f32..110.0, 0_u64..4000, any::<bool>(), repeat()).prop_map(
        |(a, b, first_ms, must_send, repeat)| Rules {
            min_size_px: a.min(b),
            max_size_px: a.max(b),
            first_send_after: Duration::from_millis(first_ms),
            must_send,
            repeat,
            ..Rules::default()
        },
    )
}

impl Moment {
    fn bbox(&self) -> Rect {
        Rect::new(500.0, 400.0, self.side, self.side)
    }

    fn view(&self) -> Still {
        Still { sharpness: self.sharpness, at: StreamTime::from_millis(self.at_ms) }
    }

    fn score(&self) -> f32 {
        Quality::of(&detection(self.bbox()), self.view().measure(&detection(self.bbox())), FRAME).score
    }
}

fn play(rules: &Rules, history: &[Moment]) -> (Vec<Sending<StreamTime>>, Vec<Note>) {
    let mut engine = Engine::new(Arc::new(rules.clone()), 0.6);
    let (mut sendings, mut notes) = (Vec::new(), Vec::new());
    let mut add = |outcome: face_edge::rules::Outcome<StreamTime>| {
        sendings.extend(outcome.sendings);
        notes.extend(outcome.verdicts);
    };
    for moment in history {
        let seen: Vec<Detection> = moment.visible.then(|| detection(moment.bbox())).into_iter().collect();
        add(engine.observe(StreamTime::from_millis(moment.at_ms), &seen, &mut moment.view()));
    }
    add(engine.finish(StreamTime::from_millis(history.last().expect("has moments").at_ms)));
    (sendings, notes)
}

/// The whole history at hand, said straight: which pictures (by their millisecond) are sent, and why.
fn model(rules: &Rules, history: &[Moment]) -> Vec<(u64, Reason)> {
    let fits = |m: &&Moment| m.visible && m.side >= rules.min_size_px && m.side <= rules.max_size_px;
    let pictures: Vec<&Moment> = history.iter().filter(fits).collect();
    let Some(first) = pictures.first() else { return Vec::new() };
    let end = history.last().expect("has moments").at_ms;
    let due = first.at_ms + rules.first_send_after.as_millis() as u64;
    // The earliest of the best taken after `from` and until `to`.
    let best = |from: Option<u64>, to: u64| {
        let inside = pictures.iter().filter(|m| from.is_none_or(|from| m.at_ms > from) && m.at_ms <= to);
        inside.copied().reduce(|best, m| if m.score() > best.score() { m } else { best })
    };
    if due > end {
        let picture = best(None, end).filter(|_| rules.must_send);
        return picture.into_iter().map(|m| (m.at_ms, Reason::Must)).collect();
    }
    let opening = best(None, due).expect("the first one is in it");
    let mut sent = vec![(opening.at_ms, Reason::First)];
    match rules.repeat {
        Repeat::Off => {}
        Repeat::Period { interval } => {
            let interval = interval.as_millis() as u64;
            for start in (0..(end - due) / interval).map(|k| due + k * interval) {
                sent.extend(best(Some(start), start + interval).map(|m| (m.at_ms, Reason::Period)));
            }
        }
        Repeat::QualityStep { step } => {
            let mut bar = opening.score();
            for m in pictures.iter().filter(|m| m.at_ms > due) {
                if m.score() > step * bar {
                    bar = m.score();
                    sent.push((m.at_ms, Reason::QualityStep));
                }
            }
        }
    }
    sent
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_face_is_sent_as_the_plain_model_says(rules in rules(), history in history()) {
        let (sendings, _) = play(&rules, &history);
        let got: Vec<(u64, Reason)> = sendings.iter().map(|s| (s.shot.at.as_millis(), s.reason)).collect();
        prop_assert_eq!(got, model(&rules, &history));
    }

    #[test]
    fn every_sending_and_every_ending_is_in_order(
        mut rules in rules(),
        corners in (0_f32..900.0, 0_f32..500.0),
        frames in prop::collection::vec((1_u64..700, prop::collection::vec(any_box(), 0..7), 0.05_f32..1.0), 1..60),
    ) {
        let (x, y) = corners;
        let ring = [(x, y), (x + 900.0, y), (x + 900.0, y + 500.0), (x, y + 500.0)].map(|(x, y)| Point::new(x, y));
        rules.roi = Roi { polygons: vec![Polygon::new(ring.to_vec()).unwrap()] };
        rules.min_size_px = 60.0;
        let mut engine = Engine::new(Arc::new(rules.clone()), 0.6);
        let (mut now, mut sendings, mut notes) = (0, Vec::new(), Vec::new());
        for (dt, boxes, sharpness) in frames {
            now += dt;
            let at = StreamTime::from_millis(now);
            let outcome = engine.observe(at, &boxes, &mut Still { sharpness, at });
            sendings.extend(outcome.sendings);
            notes.extend(outcome.verdicts);
        }
        let outcome = engine.finish(StreamTime::from_millis(now));
        sendings.extend(outcome.sendings);
        notes.extend(outcome.verdicts);
        in_order(&rules, &sendings, &notes)?;
        prop_assert_eq!(engine.tracks(), 0);
    }

    #[test]
    fn the_filter_is_what_it_says(rules in rules(), w in 60_f32..140.0, h in 60_f32..140.0) {
        let bbox = Rect::new(300.0, 300.0, w, h);
        let rules = Rules { first_send_after: Duration::ZERO, ..rules };
        let mut engine = Engine::new(Arc::new(rules.clone()), 0.6);
        let mut view = Still { sharpness: 1.0, at: StreamTime::ZERO };
        let sent = !engine.observe(StreamTime::ZERO, &[detection(bbox)], &mut view).sendings.is_empty();
        let (min, max) = (f32::min(w, h), f32::max(w, h));
        prop_assert_eq!(sent, min >= rules.min_size_px && max <= rules.max_size_px);
    }

    #[test]
    fn no_assignment_is_cheaper(
        rows in 1_usize..7,
        columns in 1_usize..7,
        cells in prop::collection::vec(prop_oneof![0_f32..1.0, Just(1.0_f32)], 49),
    ) {
        let costs = Costs::new(rows, columns, |r, c| cells[r * 7 + c]);
        let chosen = assign(&costs);
        let mut columns_taken: Vec<usize> = chosen.iter().flatten().copied().collect();
        columns_taken.sort_unstable();
        columns_taken.dedup();
        prop_assert_eq!(columns_taken.len(), rows.min(columns));
        let sum: f32 = chosen.iter().enumerate().filter_map(|(r, c)| c.map(|c| costs.at(r, c))).sum();
        let least = cheapest(&costs, rows, columns, 0, &mut vec![false; columns], rows.saturating_sub(columns));
        prop_assert!((sum - least).abs() < 1e-4, "{} against {}", sum, least);
    }

    #[test]
    fn a_polygon_contains_what_it_winds_around(
        radii in prop::collection::vec(20_f32..400.0, 3..12),
        probes in prop::collection::vec((0_f32..1000.0, 0_f32..1000.0), 60),
    ) {
        let corner = |(i, r): (usize, &f32)| {
            let angle = i as f32 / radii.len() as f32 * std::f32::consts::TAU;
            Point::new((500.0 + r * angle.cos()).round(), (500.0 + r * angle.sin()).round())
        };
        let ring: Vec<Point> = radii.iter().enumerate().map(corner).collect();
        // A star seen from its middle crosses itself only where rounding made it.
        let Ok(polygon) = Polygon::new(ring.clone()) else { return Ok(()) };
        for (x, y) in probes {
            let probe = Point::new(x, y);
            let turns = turns_around(&ring, probe).round();
            prop_assert_eq!(polygon.contains(probe), turns != 0.0, "{:?} in {:?}", probe, ring);
        }
        for corner in &ring {
            prop_assert!(polygon.contains(*corner), "a corner belongs to it");
        }
    }
}

fn any_box() -> impl Strategy<Value = Detection> {
    (0_f32..1800.0, 0_f32..1000.0, 20_f32..300.0, 0.3_f32..1.0).prop_map(|(x, y, side, score)| Detection {
        bbox: Rect::new(x, y, side, side),
        score,
        landmarks: None,
    })
}

/// What holds for any stream whatever.
fn in_order(rules: &Rules, sendings: &[Sending<StreamTime>], notes: &[Note]) -> Result<(), TestCaseError> {
    let mut by_track: BTreeMap<u64, Vec<&Sending<StreamTime>>> = BTreeMap::new();
    for sending in sendings {
        let bbox = sending.shot.detection.bbox;
        prop_assert!(bbox.shorter_side() >= rules.min_size_px && bbox.longer_side() <= rules.max_size_px);
        prop_assert!(rules.roi.contains(bbox.center()));
        prop_assert_eq!(sending.shot.picture, sending.shot.at);
        by_track.entry(sending.track).or_default().push(sending);
    }
    for sent in by_track.values() {
        prop_assert!(sent.iter().map(|s| s.seq).eq(1..=sent.len() as u32), "counted without holes");
        prop_assert!(sent.windows(2).all(|pair| pair[0].shot.at < pair[1].shot.at), "no picture twice");
        for (i, sending) in sent.iter().enumerate() {
            let opening = matches!(sending.reason, Reason::First | Reason::Must);
            prop_assert_eq!(opening, i == 0, "one opening, at the beginning");
        }
        prop_assert!(sent[0].reason != Reason::Must || (rules.must_send && sent.len() == 1));
    }
    let mut ended = BTreeMap::new();
    for note in notes {
        prop_assert!(!ended.contains_key(&note.track), "nothing comes after the end");
        if let What::Ended { sent, last } = note.what {
            prop_assert_eq!(sent as usize, by_track.get(&note.track).map_or(0, Vec::len));
            prop_assert!(!last.explain().is_empty());
            ended.insert(note.track, sent);
        }
    }
    prop_assert!(by_track.keys().all(|track| ended.contains_key(track)));
    prop_assert!(notes.iter().all(|note| ended.contains_key(&note.track)), "every track ends");
    Ok(())
}

/// The least sum over all ways to pair rows with columns, `idle` rows staying alone.
fn cheapest(costs: &Costs, rows: usize, columns: usize, row: usize, taken: &mut Vec<bool>, idle: usize) -> f32 {
    if row == rows {
        return 0.0;
    }
    let mut least = f32::INFINITY;
    if idle > 0 {
        least = cheapest(costs, rows, columns, row + 1, taken, idle - 1);
    }
    for column in 0..columns {
        if !taken[column] {
            taken[column] = true;
            least = least.min(costs.at(row, column) + cheapest(costs, rows, columns, row + 1, taken, idle));
            taken[column] = false;
        }
    }
    least
}

/// How often the ring goes around the point: the sum of the angles under which its edges are seen.
fn turns_around(ring: &[Point], from: Point) -> f64 {
    let direction = |p: &Point| f64::from(p.y - from.y).atan2(f64::from(p.x - from.x));
    let angle = |a: &Point, b: &Point| {
        let turned = direction(b) - direction(a);
        (turned + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU) - std::f64::consts::PI
    };
    (0..ring.len()).map(|i| angle(&ring[i], &ring[(i + 1) % ring.len()])).sum::<f64>() / std::f64::consts::TAU
}
