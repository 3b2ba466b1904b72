//! A channel's figures for `/metrics`, and word to the supervisor when its analysis has nothing left.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use metrics::Histogram;
use uuid::Uuid;

use super::inbox::Inbox;
use super::journal::Journal;
use crate::channel::Channel;
use crate::domain::TaskId;
use crate::figures::LATENCIES;
use crate::media::CameraState;
use crate::rules::{Outcome, Tally};
use crate::worker::{Latency, Observer, Picture, Seen};

pub struct Telemetry {
    task: TaskId,
    generation: u64,
    inbox: Arc<Inbox>,
    /// Track ids are made of it.
    session: Uuid,
    journal: Journal,
    told: Tally,
    /// The frame before had faces.
    saw_faces: bool,
    /// In the order of `LATENCIES`.
    latencies: [Histogram; 3],
}

impl Telemetry {
    pub fn new(task: TaskId, generation: u64, inbox: Arc<Inbox>, session: Uuid, journal: Journal) -> Self {
        let latencies = LATENCIES.map(|name| metrics::histogram!(name, "task" => task.to_string()));
        Self { task, generation, inbox, session, journal, told: Tally::default(), saw_faces: false, latencies }
    }
}

impl Observer for Telemetry {
    fn decided(&mut self, outcome: &Outcome<Arc<Picture>>, tally: &Tally) {
        self.journal.note(&self.task, self.session, outcome);
        let task = self.task.as_str();
        for sending in &outcome.sendings {
            let reason = sending.reason.as_str();
            metrics::counter!("face_edge_pictures_total", "task" => task.to_owned(), "reason" => reason).increment(1);
        }
        for ((verdict, count), (_, told)) in tally.iter().zip(self.told.iter()) {
            if count > told {
                metrics::counter!("face_edge_verdicts_total", "task" => task.to_owned(), "verdict" => verdict)
                    .increment(count - told);
            }
        }
        self.told = *tally;
    }

    /// Of frames without faces only the first: it says when they were gone.
    fn seen(&mut self, seen: &Seen<'_>) {
        let has_faces = !seen.faces.is_empty();
        if has_faces || self.saw_faces {
            self.journal.seen(&self.task, self.session, seen);
        }
        self.saw_faces = has_faces;
    }

    fn keeps_what_is_seen(&self) -> bool {
        true
    }

    fn timed(&mut self, latency: &Latency) {
        for (histogram, took) in self.latencies.iter().zip([latency.decode, latency.detect, latency.whole]) {
            histogram.record(took);
        }
    }

    fn drained(&mut self) {
        self.inbox.drained(self.generation);
    }
}

pub fn count_fault(task: &TaskId, state: &CameraState) {
    if let CameraState::Recovering { fault, .. } | CameraState::Still { fault } = state {
        let kind = fault.kind.as_str();
        metrics::counter!("face_edge_camera_faults_total", "task" => task.to_string(), "kind" => kind).increment(1);
    }
}

/// The counts that the channel's own parts keep.
pub fn publish(task: &TaskId, channel: &Channel) {
    let gauge = |name: &'static str, value: f64| metrics::gauge!(name, "task" => task.to_string()).set(value);
    gauge("face_edge_last_frame_age_seconds", channel.last_frame_age().as_secs_f64());
    gauge("face_edge_still_seconds", channel.still_for().as_secs_f64());
    let (counters, progress) = (channel.counters(), channel.progress());
    let set = |name: &'static str, value: u64| metrics::counter!(name, "task" => task.to_string()).absolute(value);
    set("face_edge_frames_decoded_total", channel.frames_decoded());
    set("face_edge_frames_left_out_total", channel.frames_left_out());
    set("face_edge_frames_offered_total", counters.offered.load(Ordering::Relaxed));
    set("face_edge_frames_overwritten_total", counters.overwritten.load(Ordering::Relaxed));
    set("face_edge_frames_analysed_total", progress.frames_analysed.load(Ordering::Relaxed));
    set("face_edge_frames_still_total", progress.frames_still.load(Ordering::Relaxed));
    set("face_edge_frames_failed_total", progress.frames_failed.load(Ordering::Relaxed));
    set("face_edge_faces_detected_total", progress.faces_detected.load(Ordering::Relaxed));
    set("face_edge_frames_unsized_total", progress.frames_unsized.load(Ordering::Relaxed));
    set("face_edge_pictures_main_stream_total", progress.pictures_main.load(Ordering::Relaxed));
    set("face_edge_pictures_small_stream_total", progress.pictures_small.load(Ordering::Relaxed));
    set("face_edge_main_stream_decode_nanoseconds_total", progress.main_decode_ns.load(Ordering::Relaxed));
    let ns = |stage: &std::sync::atomic::AtomicU64| stage.load(Ordering::Relaxed);
    let stages = [
        ("decode", channel.decode_cpu().as_nanos() as u64),
        ("detect", ns(&progress.detect_cpu_ns)),
        ("rules", ns(&progress.rules_cpu_ns)),
        ("encode", ns(&progress.encode_cpu_ns)),
    ];
    for (stage, spent_ns) in stages {
        let counter =
            metrics::counter!("face_edge_cpu_microseconds_total", "task" => task.to_string(), "stage" => stage);
        counter.absolute(spent_ns / 1000);
    }
}
