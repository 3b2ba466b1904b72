//! The figures behind `/metrics`. Those of a task go when the task does, so that a box whose tasks come and go does not
//! collect them for ever; those of the box stay.
//!
//! A figure with the label `task` belongs to that task, and its name to tasks only. What is told of a task after it was
//! forgotten, by a delivery that was still under way, goes when nothing has been told of it for two minutes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SetRecorderError, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use parking_lot::Mutex;

use crate::clock;

const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);
/// What a task that was forgotten still records comes within this time.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);
const TASK: &str = "task";

/// How long each frame of a task took: to decode, to find faces in, and in all until what it brought was safe.
pub const LATENCIES: [&str; 3] = ["face_edge_decode_seconds", "face_edge_detect_seconds", "face_edge_frame_seconds"];
const LATENCY_BUCKETS_SECONDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

#[derive(Clone)]
pub struct Figures(Arc<Shelf>);

struct Shelf {
    of_box: PrometheusRecorder,
    of_tasks: Mutex<HashMap<String, OfTask>>,
    /// Forgotten, and not read any more: the analysis that ends may still hold a histogram of theirs.
    leaving: Mutex<Vec<OfTask>>,
}

struct OfTask {
    recorder: PrometheusRecorder,
    told_at: Instant,
}

impl OfTask {
    /// Whether it stays. Before it goes its histograms are emptied: they never free what they hold (metrics-util,
    /// `AtomicBucket`).
    fn keep_up(&self, unless_told_for: Duration) -> bool {
        self.recorder.handle().run_upkeep();
        clock::monotonic().saturating_duration_since(self.told_at) < unless_told_for
    }
}

impl Figures {
    /// For the whole process, once.
    pub fn install() -> Result<Self, SetRecorderError<Self>> {
        let figures = Self::new();
        metrics::set_global_recorder(figures.clone()).map(|()| figures)
    }

    /// Of a recorder that is not installed.
    pub fn new() -> Self {
        Self(Arc::new(Shelf { of_box: recorder(), of_tasks: Mutex::default(), leaving: Mutex::default() }))
    }

    /// In Prometheus' text form, each name once.
    pub fn render(&self) -> String {
        let mut names = BTreeMap::new();
        collect(&mut names, &self.0.of_box.handle().render());
        for task in self.0.of_tasks.lock().values() {
            collect(&mut names, &task.recorder.handle().render());
        }
        names.into_iter().map(|(kind, samples)| format!("{kind}\n{samples}\n")).collect()
    }

    pub fn forget(&self, task: &str) {
        if let Some(of_task) = self.0.of_tasks.lock().remove(task) {
            self.0.leaving.lock().push(OfTask { told_at: clock::monotonic(), ..of_task });
        }
    }

    /// To be called now and then, whether or not anybody reads.
    pub fn run_upkeep(&self) {
        self.0.of_box.handle().run_upkeep();
        self.0.of_tasks.lock().retain(|_, task| task.keep_up(FORGOTTEN_AFTER));
        self.0.leaving.lock().retain(|task| task.keep_up(LEAVES_WITHIN));
    }

    fn of<T>(&self, key: &Key, register: impl FnOnce(&PrometheusRecorder) -> T) -> T {
        let Some(task) = key.labels().find(|label| label.key() == TASK).map(metrics::Label::value) else {
            return register(&self.0.of_box);
        };
        let (mut tasks, told_at) = (self.0.of_tasks.lock(), clock::monotonic());
        if let Some(known) = tasks.get_mut(task) {
            known.told_at = told_at;
            return register(&known.recorder);
        }
        let new = OfTask { recorder: recorder(), told_at };
        register(&tasks.entry(task.to_owned()).or_insert(new).recorder)
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self::new()
    }
}

fn recorder() -> PrometheusRecorder {
    let with_buckets = |builder: PrometheusBuilder, name: &&str| {
        builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), &LATENCY_BUCKETS_SECONDS)
    };
    let builder = LATENCIES.iter().try_fold(PrometheusBuilder::new(), with_buckets);
    builder.expect("there are buckets").build_recorder()
}

/// Takes a text apart into the samples of each name, under the line that tells their kind.
fn collect(names: &mut BTreeMap<String, String>, text: &str) {
    let mut samples = &mut String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("# TYPE ") {
            samples = names.entry(line.to_owned()).or_default();
        } else {
            samples.push_str(line);
            samples.push('\n');
        }
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.of(key, |recorder| recorder.register_counter(key, metadata))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.of(key, |recorder| recorder.register_gauge(key, metadata))
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.of(key, |recorder| recorder.register_histogram(key, metadata))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_figures_go_with_it_and_the_boxs_stay() {
        let figures = Figures::new();
        metrics::with_local_recorder(&figures, || {
            metrics::counter!("box_total").increment(1);
            for task in ["goes", "stays"] {
                metrics::counter!("task_total", "task" => task, "kind" => "a").increment(1);
                metrics::histogram!("task_seconds", "task" => task).record(0.1);
            }
        });
        let all = figures.render();
        assert_eq!(all.matches("# TYPE task_total counter").count(), 1, "{all}");
        for figure in ["box_total 1", "task_total{task=\"goes\",kind=\"a\"} 1", "task_seconds_count{task=\"goes\"} 1"] {
            assert!(all.contains(figure), "{figure} in {all}");
        }
        figures.forget("goes");
        figures.run_upkeep();
        let rest = figures.render();
        assert!(rest.contains("box_total 1") && rest.contains("task_total{task=\"stays\",kind=\"a\"} 1"), "{rest}");
        assert!(!rest.contains("goes"), "{rest}");
    }

    #[test]
    fn what_a_forgotten_task_still_records_is_taken_away() {
        let figures = Figures::new();
        let late = metrics::with_local_recorder(&figures, || metrics::histogram!("late_seconds", "task" => "gone"));
        figures.forget("gone");
        late.record(0.1);
        figures.run_upkeep();
        assert_eq!(figures.render(), "");
        let mut leaving = figures.0.leaving.lock();
        assert!(leaving[0].recorder.handle().render().contains("late_seconds_count{task=\"gone\"} 1"));
        leaving[0].told_at -= LEAVES_WITHIN;
        drop(leaving);
        figures.run_upkeep();
        assert!(figures.0.leaving.lock().is_empty());
    }

    #[test]
    fn what_is_told_of_a_task_that_is_gone_goes_in_time() {
        let figures = Figures::new();
        metrics::with_local_recorder(&figures, || metrics::gauge!("late", "task" => "gone").set(1.0));
        figures.run_upkeep();
        assert!(figures.render().contains("late"));
        figures.0.of_tasks.lock().values_mut().for_each(|task| task.told_at -= FORGOTTEN_AFTER);
        figures.run_upkeep();
        assert_eq!(figures.render(), "");
    }
}
