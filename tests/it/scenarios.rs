//! Runs every scenario of tests/it/scenarios/*.txt, at full speed and as a live stream would arrive.

mod script;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use face_edge::domain::{Detection, Rect, StreamTime};
use face_edge::rules::{Appearance, Engine, Measure, Note, Outcome, Tally, View, What};
use script::{SAME_S, Script, parse, time};

const NEW_TRACK_SCORE: f32 = 0.6;

/// Which face a picture shows, and when it was taken.
type Picture = (String, f64);

/// One frame as the detector would see it.
struct Frame {
    at: f64,
    boxes: Vec<(Detection, String, f32)>,
    looks: Vec<(Detection, u32)>,
}

impl View for &Frame {
    type Picture = Picture;

    fn frame_size(&self) -> (f32, f32) {
        (1920.0, 1080.0)
    }

    /// A pattern that is the same for the same look, and for no other.
    fn appearance(&mut self, face: &Detection) -> Option<Appearance> {
        let look = self.looks.iter().find(|(detection, look)| detection == face && *look > 0)?.1;
        let wave =
            |i: u32| ((i % 64) as f32 / (3.0 + look as f32)).sin() + ((i / 64) as f32 / (9.0 - look as f32)).cos();
        let plane: Vec<u8> = (0..64 * 64).map(|i| (128.0 + 50.0 * wave(i)) as u8).collect();
        Appearance::of(&plane, 64, 64, 64, Rect::new(20.0, 4.0, 16.0, 16.0))
    }

    /// Such that the score is in proportion to the scenario's q: sharpness enters by its square root.
    fn measure(&mut self, face: &Detection) -> Measure {
        Measure { sharpness: self.shown(face).2.powi(2), exposure: 1.0 }
    }

    fn cut(&mut self, face: &Detection) -> Picture {
        (self.shown(face).1.clone(), self.at)
    }
}

impl Frame {
    fn shown(&self, face: &Detection) -> &(Detection, String, f32) {
        self.boxes.iter().find(|(detection, ..)| detection == face).expect("a face of this frame")
    }

    fn detections(&self) -> Vec<Detection> {
        self.boxes.iter().map(|(detection, ..)| *detection).collect()
    }
}

/// All that came out of a run.
#[derive(PartialEq, Debug, Default)]
struct Log {
    outcomes: Vec<(StreamTime, Outcome<Picture>)>,
    tally: Tally,
}

impl Script {
    /// Presence and looks follow the scenario's time, of which shifted frames show a later moment.
    fn film(&self) -> Vec<Frame> {
        let shows = |at: f64| {
            let seen = self.faces.iter().filter_map(move |face| {
                face.detection(at).map(|detection| (detection, face.name.clone(), face.quality(at)))
            });
            let looks = self.faces.iter().filter_map(|face| Some((face.detection(at)?, face.look))).collect();
            Frame { at, boxes: seen.collect(), looks }
        };
        self.frames.iter().map(|&at| shows(at)).collect()
    }
}

/// Feeds frames as they come and closes with the last one's time.
fn play(script: &Script, film: impl Iterator<Item = Frame>) -> Log {
    let mut changes = script.rules.iter().peekable();
    let mut engine = Engine::new(changes.next().expect("has first rules").1.clone(), NEW_TRACK_SCORE);
    let mut log = Log::default();
    let mut last = 0.0;
    for frame in film {
        while let Some((_, rules)) = changes.next_if(|(from, _)| *from <= frame.at + SAME_S) {
            engine.set_rules(rules.clone());
        }
        let outcome = engine.observe(time(frame.at), &frame.detections(), &mut &frame);
        log.outcomes.push((time(frame.at), outcome));
        last = frame.at;
    }
    log.outcomes.push((time(last), engine.finish(time(last))));
    log.tally = *engine.tally();
    log
}

/// The same frames through a thread and a narrow channel, held up now and then: what a live stream does to them.
fn play_live(script: &Script) -> Log {
    let film = script.film();
    let (sender, receiver) = sync_channel(3);
    std::thread::scope(|scope| {
        let camera = std::thread::Builder::new().name("camera".into());
        let sending = camera.spawn_scoped(scope, move || {
            for (i, frame) in film.into_iter().enumerate() {
                (0..(i * 7919) % 13).for_each(|_| std::thread::yield_now());
                sender.send(frame).expect("the receiver outlives the film");
            }
        });
        sending.expect("a thread can be started");
        play(script, bursts(receiver))
    })
}

/// Waits for one frame, then takes what else has come by then.
fn bursts(receiver: Receiver<Frame>) -> impl Iterator<Item = Frame> {
    std::iter::from_fn(move || receiver.recv().ok().map(|first| (first, receiver.try_iter().collect::<Vec<_>>())))
        .flat_map(|(first, more)| std::iter::once(first).chain(more))
}

fn play_with_boxes_reversed(script: &Script) -> Log {
    play(
        script,
        script.film().into_iter().map(|mut frame| {
            frame.boxes.reverse();
            frame
        }),
    )
}

impl Log {
    /// One line a sending, in the scenario's own words.
    fn sendings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (now, outcome) in &self.outcomes {
            for sending in &outcome.sendings {
                let (face, taken) = &sending.shot.picture;
                assert_eq!(time(*taken), sending.shot.at, "the picture is of its own moment");
                lines.push(format!(
                    "{face}@{} {} p{} #{}",
                    seconds(now.as_secs_f64()),
                    sending.reason.as_str(),
                    seconds(*taken),
                    sending.track
                ));
            }
        }
        lines
    }

    fn notes(&self) -> impl Iterator<Item = &Note> {
        self.outcomes.iter().flat_map(|(_, outcome)| &outcome.verdicts)
    }

    /// The labels of a track's verdicts in order, and the one it ended with.
    fn why(&self, track: u64) -> String {
        let mut text = String::new();
        for note in self.notes().filter(|note| note.track == track) {
            match note.what {
                What::Verdict(verdict) => write!(text, "{} ", verdict.label()),
                What::Ended { sent, last } => write!(text, "-> {} sent {sent}", last.label()),
            }
            .expect("strings take all");
        }
        text
    }

    fn last_words(&self, track: u64) -> String {
        let ended = self.notes().find_map(|note| match note.what {
            What::Ended { last, .. } if note.track == track => Some(last.explain()),
            _ => None,
        });
        ended.unwrap_or_else(|| "(no such track)".into())
    }

    fn tracks(&self) -> usize {
        self.notes().filter(|note| matches!(note.what, What::Ended { .. })).count()
    }
}

/// Without needless digits.
fn seconds(secs: f64) -> String {
    format!("{}", (secs * 1000.0).round() / 1000.0)
}

/// Whether a sending is as expected: all words of the expectation occur in it.
fn fits(expected: &str, got: &str) -> bool {
    let got: Vec<&str> = got.split(' ').collect();
    expected.split_whitespace().all(|word| got.contains(&word))
}

/// What is wrong with this log, in words.
fn complaints(script: &Script, log: &Log) -> String {
    let mut text = String::new();
    let got = log.sendings();
    if got.len() != script.expect.len() || script.expect.iter().zip(&got).any(|(want, got)| !fits(want, got)) {
        let _ = writeln!(text, "  expected {}\n  got      {}", script.expect.join(" | "), got.join(" | "));
    }
    for (track, want) in &script.why {
        let got = log.why(*track);
        if *want != got {
            let _ = writeln!(text, "  expected why #{track} {want}\n  got      why #{track} {got}");
        }
    }
    for (track, want) in &script.says {
        let got = log.last_words(*track);
        if *want != got {
            let _ = writeln!(text, "  expected says #{track} {want}\n  got      says #{track} {got}");
        }
    }
    for (label, want) in &script.tally {
        let got = log.tally.of(label);
        if *want != got {
            let _ = writeln!(text, "  expected tally {label}={want}\n  got      tally {label}={got}");
        }
    }
    if let Some(want) = script.tracks.filter(|want| *want != log.tracks()) {
        let _ = writeln!(text, "  expected tracks {want}\n  got      tracks {}", log.tracks());
    }
    text
}

fn scripts() -> Vec<(String, Script)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("is there").map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "txt") && !path.ends_with("README.txt"));
    files.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let all = files.iter().flat_map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        parse(&text).into_iter().map(|script| (name(path), script)).collect::<Vec<_>>()
    });
    all.collect()
}

#[test]
fn every_scenario_comes_out_as_written() {
    let all = scripts();
    let mut wrong = String::new();
    for (file, script) in &all {
        let complaints = complaints(script, &play(script, script.film().into_iter()));
        if !complaints.is_empty() {
            let _ = writeln!(wrong, "{file}: {}\n{complaints}", script.title);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(all.len() >= 45, "only {} scenarios", all.len());
}

#[test]
fn live_pace_gives_the_same_as_full_speed() {
    for (file, script) in scripts() {
        let at_full_speed = play(&script, script.film().into_iter());
        assert_eq!(play_live(&script), at_full_speed, "{file}: {}", script.title);
    }
}

#[test]
fn the_order_of_boxes_in_a_frame_does_not_matter() {
    for (file, script) in scripts() {
        let sorted = |log: Log| {
            let mut lines: Vec<String> =
                log.sendings().iter().map(|line| line.split(" #").next().unwrap().to_owned()).collect();
            lines.sort();
            lines
        };
        let as_given = sorted(play(&script, script.film().into_iter()));
        assert_eq!(sorted(play_with_boxes_reversed(&script)), as_given, "{file}: {}", script.title);
    }
}

#[test]
fn every_track_ends_once_with_a_reason_and_counts_its_pictures() {
    for (file, script) in scripts() {
        let log = play(&script, script.film().into_iter());
        let all: Vec<_> = log.outcomes.iter().flat_map(|(_, outcome)| &outcome.sendings).collect();
        for note in log.notes() {
            let What::Ended { sent, .. } = note.what else { continue };
            let seqs: Vec<u32> = all.iter().filter(|s| s.track == note.track).map(|s| s.seq).collect();
            assert_eq!(seqs, (1..=sent).collect::<Vec<_>>(), "{file}: {}", script.title);
        }
        let ended = log.tracks();
        let begun: std::collections::BTreeSet<u64> = log.notes().map(|note| note.track).collect();
        assert_eq!(ended, begun.len(), "{file}: {}", script.title);
    }
}
