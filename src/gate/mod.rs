//! The nightly expiry scan: for every gate, here and, where one is configured, at a remote gate server; and giving a new
//! gate what was there before it. How far each came is in the store, so that a scan goes on where it was killed.

mod remote;
mod schedule;

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock;
use crate::store::{ScanStep, Store, StoreError};
pub use remote::{RemoteError, RemoteServer, RemoteSettings};
pub use schedule::Schedule;

/// The clock is looked at this often: it may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Runs until dropped; every step is one transaction, so it may end anywhere.
pub struct NightlyScan(JoinHandle<()>);

impl NightlyScan {
    pub fn start(store: Store, schedule: Schedule, remote: Option<RemoteServer>) -> Self {
        Self(tokio::spawn(async move {
            loop {
                if let Err(error) = look(&store, &schedule, remote.as_ref()).await {
                    tracing::error!(%error, "the nightly scan could not go on; it is tried again");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }))
    }
}

impl Drop for NightlyScan {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins what is due and carries out all that is under way, of this night or of one that was cut short.
pub async fn look(store: &Store, schedule: &Schedule, remote: Option<&RemoteServer>) -> Result<(), StoreError> {
    for gate in store.gates().await?.into_iter().filter(|gate| gate.filling) {
        while store.fill_gate(&gate.gatenum, clock::unix_ms()).await? {}
    }
    let night = schedule.night(clock::unix_ms());
    if store.begin_night(&night, remote.is_some()).await? {
        tracing::info!(night, "the nightly scan begins");
        store.trim_gate_events(clock::unix_ms()).await?;
    }
    let totals = scan(store, None, &mut |_| {}).await?;
    if totals.looked_at > 0 {
        let Totals { looked_at, deleted, erased, .. } = totals;
        tracing::info!(looked_at, deleted, erased, "the nightly scan is done");
    }
    match remote {
        Some(remote) => scan_remote(store, remote, &mut |_| {}).await,
        None => Ok(()),
    }
}

/// What a scan came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub pages: usize,
    pub looked_at: usize,
    pub deleted: usize,
    pub erased: usize,
}

/// Carries out the scans that are under way, of one gate or of all; `each` is told of every page.
pub async fn scan(
    store: &Store,
    gatenum: Option<&str>,
    each: &mut (dyn FnMut(&ScanStep) + Send),
) -> Result<Totals, StoreError> {
    let mut totals = Totals::default();
    while let Some(step) = store.scan_step(gatenum, clock::unix_ms()).await? {
        totals.pages += 1;
        totals.looked_at += step.page.looked_at;
        totals.deleted += step.page.deleted;
        totals.erased += step.page.erased;
        each(&step);
    }
    if totals.erased > 0 {
        store.flush_erased().await?;
    }
    Ok(totals)
}

/// Carries out the remote scans that are under way; one that fails in spite of its retries stays under way.
pub async fn scan_remote(
    store: &Store,
    remote: &RemoteServer,
    each: &mut (dyn FnMut(&str) + Send),
) -> Result<(), StoreError> {
    while let Some(place) = store.remote_scan().await? {
        match remote.page(&place.gatenum, &place.after).await {
            Ok(next) => store.remote_scan_reached(&place.gatenum, next.as_deref()).await?,
            Err(error) if error.is_final() => {
                tracing::error!(gate = place.gatenum, %error, "the remote gate server does not scan this gate");
                store.remote_scan_reached(&place.gatenum, None).await?;
            }
            Err(error) => {
                tracing::warn!(gate = place.gatenum, %error, "the remote scan waits for the gate server");
                return Ok(());
            }
        }
        each(&place.gatenum);
    }
    Ok(())
}
