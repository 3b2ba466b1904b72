//! Keeps the outbox moving: claims what is due, carries it out in parallel, records what came of it.
//!
//! It wakes when a message was enqueued, when a delivery has ended and when the next one is due. Per-track order is
//! the outbox's, which hands out one delivery of a track at a time. A store that fails is asked again; meanwhile the
//! service stays up, and a delivery whose result could not be recorded is delivered once more after a restart.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::couriers::Couriers;
use super::{Verdict, retry};
use crate::domain::UnixMs;
use crate::store::{Attempt, Claimed, Moment, Outcome, OutputRow, Store};

/// Between looks at the totals and at what has grown old; also the longest sleep.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// After the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
pub struct DispatcherSettings {
    /// Deliveries to one output at the same time.
    pub per_output: usize,
    /// How long `stop` waits for those in hand.
    pub grace: Duration,
}

impl Default for DispatcherSettings {
    fn default() -> Self {
        Self { per_output: 4, grace: Duration::from_secs(5) }
    }
}

/// Runs until it is stopped.
pub struct Dispatcher {
    waker: Waker,
    stopping: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Tells the dispatcher that there is something new. Cheap, from any thread, never waits.
#[derive(Clone, Default)]
pub struct Waker(Arc<Notify>);

impl Waker {
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

impl Dispatcher {
    /// On the runtime that this is called in.
    pub fn start(store: Store, couriers: Couriers, settings: DispatcherSettings) -> Self {
        let waker = Waker::default();
        let (stopping, stopped) = watch::channel(false);
        let run = Run { store, couriers: Arc::new(couriers), settings, waker: waker.clone(), stopped };
        Self { waker, stopping, task: tokio::spawn(run.run()) }
    }

    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Takes nothing new, waits for what is in hand as long as the grace allows, and leaves the rest to the next start.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        if self.task.await.is_err() {
            tracing::error!("the dispatcher ended by a panic");
        }
    }
}

struct Run {
    store: Store,
    couriers: Arc<Couriers>,
    settings: DispatcherSettings,
    waker: Waker,
    stopped: watch::Receiver<bool>,
}

impl Run {
    async fn run(self) {
        let mut stopped = self.stopped.clone();
        let mut in_hand = JoinSet::new();
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pause = self.claim(&mut in_hand).await;
        loop {
            tokio::select! {
                () = stop_asked(&mut stopped) => break,
                _ = housekeeping.tick() => self.keep_house().await,
                () = self.waker.0.notified() => {}
                Some(_) = in_hand.join_next(), if !in_hand.is_empty() => while in_hand.try_join_next().is_some() {},
                () = tokio::time::sleep(pause) => {}
            }
            pause = self.claim(&mut in_hand).await;
        }
        let rest = async { while in_hand.join_next().await.is_some() {} };
        if tokio::time::timeout(self.settings.grace, rest).await.is_err() {
            tracing::info!("some deliveries were cut off: they are made again at the next start");
        }
    }

    /// Starts what is due; answers how long to sleep if nothing else happens.
    async fn claim(&self, in_hand: &mut JoinSet<()>) -> Duration {
        let now = self.store.now();
        let claim = match self.store.claim_due(now, self.settings.per_output).await {
            Ok(claim) => claim,
            Err(error) => {
                tracing::warn!(%error, "nothing could be claimed from the outbox");
                return STORE_PAUSE;
            }
        };
        for claimed in claim.deliveries {
            let (store, couriers, stopped) = (self.store.clone(), Arc::clone(&self.couriers), self.stopped.clone());
            in_hand.spawn(async move { carry_out(&store, &couriers, claimed, stopped).await });
        }
        claim.next_due.map_or(HOUSEKEEPING, |due| due.since(now.up)).min(HOUSEKEEPING)
    }

    async fn keep_house(&self) {
        match self.store.totals().await {
            Ok(totals) => {
                metrics::gauge!("face_edge_outbox_pending").set((totals.pending + totals.claimed) as f64);
                metrics::gauge!("face_edge_outbox_dead").set(totals.dead as f64);
                metrics::gauge!("face_edge_outbox_picture_bytes").set(totals.picture_bytes() as f64);
            }
            Err(error) => tracing::warn!(%error, "the outbox could not be counted"),
        }
        match self.store.outputs(None).await {
            Ok(outputs) => outputs.iter().for_each(publish),
            Err(error) => tracing::warn!(%error, "the outputs could not be looked at"),
        }
        if let Err(error) = self.store.trim(self.store.now()).await {
            tracing::warn!(%error, "the outbox could not be trimmed");
        }
    }
}

/// What waits for one output, and for how long.
fn publish(output: &OutputRow) {
    let labels = [("task", output.task_id.clone()), ("output", output.kind.to_owned())];
    let oldest_s = output.oldest_waits_ms.unwrap_or(0) as f64 / 1000.0;
    metrics::gauge!("face_edge_output_waiting", &labels).set(output.waiting as f64);
    metrics::gauge!("face_edge_output_oldest_waiting_seconds", &labels).set(oldest_s);
    metrics::gauge!("face_edge_output_disabled", &labels).set(f64::from(u8::from(output.disabled.is_some())));
}

/// Returns when the dispatcher is to stop, or is gone.
async fn stop_asked(stopped: &mut watch::Receiver<bool>) {
    stopped.wait_for(|stop| *stop).await.ok();
}

fn until(due: UnixMs, now: UnixMs) -> Duration {
    Duration::from_millis(u64::try_from(due.0 - now.0).unwrap_or(0))
}

async fn carry_out(store: &Store, couriers: &Couriers, claimed: Claimed, mut stopped: watch::Receiver<bool>) {
    let verdict = couriers.deliver(&claimed).await;
    let now = store.now();
    let outcome = outcome(verdict, &claimed, now);
    note(&claimed, &outcome, now.wall);
    let attempt = Attempt { delivery: claimed.delivery, at: now.wall, outcome };
    while let Err(error) = store.record(attempt.clone()).await {
        tracing::warn!(%error, delivery = claimed.delivery.0, "the result of a delivery could not be recorded");
        tokio::select! {
            () = stop_asked(&mut stopped) => return,
            () = tokio::time::sleep(STORE_PAUSE) => {}
        }
    }
}

fn outcome(verdict: Verdict, claimed: &Claimed, now: Moment) -> Outcome {
    match verdict {
        Verdict::Delivered => Outcome::Delivered,
        Verdict::Dead { reason } => Outcome::Dead { reason },
        Verdict::Gone { reason } => Outcome::Disabled { reason },
        Verdict::Retry { after, reason } => {
            let waited = now.up.since(claimed.waiting_since);
            match retry::delay(claimed.attempt, waited, after, rand::random()) {
                Some(wait) => Outcome::Retry { due_at: now.up + wait, reason },
                None => Outcome::Dead { reason: format!("given up after {} tries: {reason}", claimed.attempt) },
            }
        }
    }
}

fn note(claimed: &Claimed, outcome: &Outcome, now: UnixMs) {
    let output = claimed.target.kind();
    let result = match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Retry { .. } => "retry",
        Outcome::Dead { .. } | Outcome::Disabled { .. } => "dead",
    };
    let task = claimed.message.task_id().to_string();
    metrics::counter!("face_edge_deliveries_total", "task" => task.clone(), "output" => output, "result" => result)
        .increment(1);
    let (delivery, attempt) = (claimed.delivery.0, claimed.attempt);
    match outcome {
        Outcome::Delivered => {
            let lag = until(now, claimed.message.taken_at());
            let bytes = claimed.message.jpeg().len() as u64;
            metrics::counter!("face_edge_delivered_picture_bytes_total", "task" => task.clone(), "output" => output)
                .increment(bytes);
            metrics::histogram!("face_edge_delivery_lag_seconds", "task" => task, "output" => output)
                .record(lag.as_secs_f64());
            tracing::debug!(output, delivery, attempt, "delivered");
        }
        Outcome::Retry { reason, .. } => tracing::info!(output, delivery, attempt, reason, "not delivered yet"),
        Outcome::Dead { reason } => tracing::warn!(output, delivery, attempt, reason, "a delivery is dead"),
        Outcome::Disabled { reason } => tracing::warn!(
            output,
            delivery,
            reason,
            "an output is switched off: its receiver wants nothing more; `outbox enable` switches it on"
        ),
    }
}
