//! Room on this box: a task that would push the others below the configured floor waits, and goes on by itself when
//! there is room. What is measured, and what follows from it, is in `load.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::keeper::Keeper;
use super::load::{Load, Reading};
use super::running::{Running, WaitsFor};
use super::words::no_room;
use crate::clock;
use crate::domain::{Task, TaskId};
use crate::status::TaskStatus;

pub struct Room {
    load: Load,
    /// By generation.
    playing: BTreeSet<u64>,
    changes: u64,
    /// Started before it was known what they take; may be taken back once it is.
    untried: BTreeSet<u64>,
    judged: u64,
}

impl Room {
    pub fn new(min_analyses_per_second: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let load = Load::new(cores, f64::from(min_analyses_per_second));
        Self { load, playing: BTreeSet::new(), changes: 0, untried: BTreeSet::new(), judged: 0 }
    }
}

impl Keeper {
    pub(super) fn no_room(&self, waited: bool) -> Option<TaskStatus> {
        self.room.load.refuses(self.running.len(), waited).map(|short| no_room(&short))
    }

    pub(super) fn review_room(&mut self, now: Instant) {
        let playing: BTreeSet<u64> =
            self.running.values().filter(|running| plays(running)).map(|running| running.generation).collect();
        if playing != self.room.playing {
            let room = &mut self.room;
            room.untried.extend(playing.difference(&room.playing).filter(|new| **new > room.judged));
            room.playing = playing;
            room.changes += 1;
        }
        let reading = self.reading(now);
        self.room.load.note(reading);
        self.take_back();
    }

    fn reading(&self, at: Instant) -> Reading {
        let progresses = self.running.values().filter(|running| plays(running)).map(|it| it.channel.progress());
        let (mut analysis, mut analyses) = (Duration::ZERO, 0);
        for progress in progresses {
            analysis += progress.cpu();
            analyses += progress.frames_analysed.load(Ordering::Relaxed);
        }
        let (cameras, changes) = (self.room.playing.len(), self.room.changes);
        Reading { at, process: clock::process_cpu(), analysis, analyses, cameras, changes }
    }

    /// The latest of those that started before they were measured, as long as there are too many. What has once been
    /// found to fit stays.
    fn take_back(&mut self) {
        let (playing, changes) = (self.room.playing.len(), self.room.changes);
        if !self.room.load.has_measured(changes) {
            return;
        }
        for left in (1..=playing).rev() {
            let Some(short) = self.room.load.is_short(left) else { break };
            let Some((task, id)) = self.latest_untried() else { break };
            self.end(&id);
            self.give_back(&id);
            self.let_wait(task, WaitsFor::Room, no_room(&short));
        }
        self.room.judged = self.room.playing.last().copied().unwrap_or(self.room.judged).max(self.room.judged);
        self.room.untried.clear();
    }

    fn latest_untried(&mut self) -> Option<(Arc<Task>, TaskId)> {
        let generation = self.room.untried.pop_last()?;
        let running = self.running.values().find(|running| running.generation == generation)?;
        Some((Arc::clone(&running.task), running.task.id.clone()))
    }
}

fn plays(running: &Running) -> bool {
    running.picture_size.is_some()
}
