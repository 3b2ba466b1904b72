//! The scenario language. One scenario is a title and a few lines; `README.txt` beside this file explains them.

use std::sync::Arc;
use std::time::Duration;

use face_edge::domain::{Detection, Point, Polygon, Rect, Repeat, Roi, Rules, StreamTime};

/// Times closer than this are the same.
pub const SAME_S: f64 = 1e-6;

pub struct Script {
    pub title: String,
    /// From when on, which rules; the first from 0.
    pub rules: Vec<(f64, Arc<Rules>)>,
    pub frames: Vec<f64>,
    pub faces: Vec<Face>,
    pub expect: Vec<String>,
    pub why: Vec<(u64, String)>,
    pub says: Vec<(u64, String)>,
    pub tally: Vec<(String, u64)>,
    pub tracks: Option<usize>,
}

pub struct Face {
    pub name: String,
    from: f64,
    to: f64,
    gone: Vec<(f64, f64)>,
    position: Track<(f64, f64)>,
    size: Track<(f64, f64)>,
    quality: Track<f64>,
    score: Track<f64>,
    noise: f64,
    /// Who it is, for those who look; 0 when nobody does.
    pub look: u32,
}

/// Values at moments, in the order of time.
type Track<T> = Vec<(f64, T)>;

impl Face {
    pub fn quality(&self, at: f64) -> f32 {
        held(&self.quality, at) as f32
    }

    /// The box in the frame of this moment, if the face can be seen in it.
    pub fn detection(&self, at: f64) -> Option<Detection> {
        let visible = at >= self.from - SAME_S && at <= self.to + SAME_S;
        let gone = self.gone.iter().any(|(from, to)| at >= from - SAME_S && at < to - SAME_S);
        if !visible || gone {
            return None;
        }
        let ((x, y), (w, h)) = (between(&self.position, at), between(&self.size, at));
        let wobble = |phase: f64| self.noise * w.min(h) * (at * 37.0 + phase).sin();
        let (x, y) = (x + wobble(0.0), y + wobble(2.0));
        let bbox = Rect::new((x - w / 2.0) as f32, (y - h / 2.0) as f32, w as f32, h as f32);
        Some(Detection { bbox, score: held(&self.score, at) as f32, landmarks: None })
    }
}

/// The last value set at or before `at`.
fn held(track: &Track<f64>, at: f64) -> f64 {
    track.iter().rev().find(|(t, _)| *t <= at + SAME_S).unwrap_or(&track[0]).1
}

fn between(track: &Track<(f64, f64)>, at: f64) -> (f64, f64) {
    let after = track.iter().position(|(t, _)| *t > at).unwrap_or(track.len());
    if after == 0 || after == track.len() {
        return track[after.saturating_sub(1)].1;
    }
    let ((t0, a), (t1, b)) = (track[after - 1], track[after]);
    let part = (at - t0) / (t1 - t0);
    (a.0 + (b.0 - a.0) * part, a.1 + (b.1 - a.1) * part)
}

pub fn time(secs: f64) -> StreamTime {
    StreamTime::from_secs_f64(secs)
}

/// All scenarios of a file. Panics with the line that is wrong: scenarios are written by hand.
pub fn parse(text: &str) -> Vec<Script> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
    let mut scripts: Vec<Vec<&str>> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        if line.starts_with("scenario ") {
            scripts.push(Vec::new());
        }
        scripts.last_mut().unwrap_or_else(|| panic!("before the first scenario: {line}")).push(line);
    }
    scripts.into_iter().map(|lines| Script::parse(&lines)).collect()
}

impl Script {
    fn parse(lines: &[&str]) -> Self {
        let first = Rules { min_size_px: 40.0, ..Rules::default() };
        let mut script = Self {
            title: String::new(),
            rules: vec![(0.0, Arc::new(first))],
            frames: Vec::new(),
            faces: Vec::new(),
            expect: Vec::new(),
            why: Vec::new(),
            says: Vec::new(),
            tally: Vec::new(),
            tracks: None,
        };
        let mut frames = "10fps".to_owned();
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "scenario" => script.title = rest.to_owned(),
                "rules" => script.rules[0].1 = changed(&script.rules[0].1, rest),
                "frames" => frames = rest.to_owned(),
                "face" => script.faces.push(face(rest)),
                "expect" if rest == "none" => {}
                "expect" => script.expect.extend(rest.split('|').map(|each| each.trim().to_owned())),
                "why" => script.why.push(numbered(rest)),
                "says" => script.says.push(numbered(rest)),
                "tally" => script.tally.extend(rest.split(' ').map(|each| {
                    let (label, count) = each.split_once('=').unwrap_or_else(|| panic!("tally: {line}"));
                    (label.to_owned(), number(count) as u64)
                })),
                "tracks" => script.tracks = Some(number(rest) as usize),
                _ => match word.strip_prefix("rules@") {
                    Some(at) => {
                        let before = &script.rules.last().expect("never empty").1;
                        let rules = changed(before, rest);
                        script.rules.push((number(at), rules));
                    }
                    None => panic!("{}: not understood: {line}", script.title),
                },
            }
        }
        assert!(lines.iter().any(|line| line.starts_with("expect ")), "{}: nothing is expected", script.title);
        let end = script.faces.iter().map(|face| face.to).fold(0.0, f64::max);
        script.frames = moments(&frames, end + 2.0);
        script
    }
}

/// `10fps until 5 without 2..3 shift 4 by 3600`, or `at 0 0.5 1`.
fn moments(text: &str, end: f64) -> Vec<f64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words[0] == "at" {
        return words[1..].iter().map(|word| number(word)).collect();
    }
    let fps = number(words[0].strip_suffix("fps").unwrap_or_else(|| panic!("frames: {text}")));
    let until = words.iter().position(|w| *w == "until").map_or(end, |i| number(words[i + 1]));
    let mut moments: Vec<f64> = (0..).map(|i| f64::from(i) / fps).take_while(|t| *t <= until + SAME_S).collect();
    for (i, word) in words.iter().enumerate() {
        match *word {
            "without" => {
                let (from, to) = span(words[i + 1]);
                moments.retain(|t| *t < from - SAME_S || *t >= to - SAME_S);
            }
            "shift" => {
                let (from, by) = (number(words[i + 1]), number(words[i + 3]));
                moments.iter_mut().filter(|t| **t >= from - SAME_S).for_each(|t| *t += by);
            }
            _ => {}
        }
    }
    moments
}

/// `a 0..5 at 200,200 size 150 q 0.5; 1.2 q 0.9; gone 2..3`
fn face(text: &str) -> Face {
    let mut parts = text.split(';').map(str::trim);
    let mut head = parts.next().unwrap_or_default().splitn(3, ' ');
    let name = head.next().unwrap_or_default().to_owned();
    let (from, to) = span(head.next().unwrap_or_else(|| panic!("face: {text}")));
    let mut face = Face {
        name,
        from,
        to,
        gone: Vec::new(),
        position: vec![(from, (500.0, 500.0))],
        size: vec![(from, (100.0, 100.0))],
        quality: vec![(from, 0.5)],
        score: vec![(from, 0.9)],
        noise: 0.0,
        look: 0,
    };
    let mut first = face_values(&mut face, from, head.next().unwrap_or_default(), true);
    for part in parts {
        let (at, values) = part.split_once(' ').unwrap_or_else(|| panic!("face: {part}"));
        if at == "gone" {
            face.gone.push(span(values));
        } else {
            first = face_values(&mut face, number(at), values, first);
        }
    }
    face
}

/// Sets values from a moment on; `first` replaces the defaults. Returns false, for the next call.
fn face_values(face: &mut Face, at: f64, text: &str, first: bool) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    for pair in words.chunks(2) {
        let [key, value] = pair else { panic!("face {}: {text}", face.name) };
        match *key {
            "at" => set(&mut face.position, at, pair_of(value, ','), first),
            "size" => set(&mut face.size, at, pair_of(value, 'x'), first),
            "q" => set(&mut face.quality, at, number(value), first),
            "score" => set(&mut face.score, at, number(value), first),
            "noise" => face.noise = number(value),
            "look" => face.look = number(value) as u32,
            _ => panic!("face {}: {key}?", face.name),
        }
    }
    false
}

fn set<T>(track: &mut Track<T>, at: f64, value: T, first: bool) {
    if first {
        track.clear();
    }
    track.push((at, value));
}

/// `200,300`, or one number for both.
fn pair_of(text: &str, by: char) -> (f64, f64) {
    let (a, b) = text.split_once(by).unwrap_or((text, text));
    (number(a), number(b))
}

fn span(text: &str) -> (f64, f64) {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    (number(from), number(to))
}

fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn numbered(text: &str) -> (u64, String) {
    let (track, rest) = text.split_once(' ').unwrap_or_else(|| panic!("#track and text: {text}"));
    (number(track.trim_start_matches('#')) as u64, rest.to_owned())
}

fn changed(before: &Rules, text: &str) -> Arc<Rules> {
    let mut rules = before.clone();
    let (mut interval, mut step) = (Duration::from_secs(1), 1.2);
    for pair in text.split_whitespace() {
        let (key, value) = pair.split_once('=').unwrap_or_else(|| panic!("rules: {pair}"));
        match key {
            "min" => rules.min_size_px = number(value) as f32,
            "max" => rules.max_size_px = number(value) as f32,
            "roi" if value == "all" => rules.roi = Roi::whole_frame(),
            "roi" => rules.roi = Roi { polygons: value.split('+').map(polygon).collect() },
            "first_send" => rules.first_send_after = Duration::from_secs_f64(number(value)),
            "must_send" => rules.must_send = value == "1",
            "interval" => interval = Duration::from_secs_f64(number(value)),
            "step" => step = number(value) as f32,
            "repeat" => {}
            _ => panic!("rules: {key}?"),
        }
    }
    match text.split_whitespace().find_map(|pair| pair.strip_prefix("repeat=")) {
        Some("off") => rules.repeat = Repeat::Off,
        Some("period") => rules.repeat = Repeat::Period { interval },
        Some("step") => rules.repeat = Repeat::QualityStep { step },
        Some(other) => panic!("repeat: {other}?"),
        None => {}
    }
    Arc::new(rules)
}

/// `0,0:100,0:100,100`
fn polygon(text: &str) -> Polygon {
    let points = text.split(':').map(|point| {
        let (x, y) = pair_of(point, ',');
        Point::new(x as f32, y as f32)
    });
    Polygon::new(points.collect()).unwrap_or_else(|error| panic!("roi {text}: {error:?}"))
}
