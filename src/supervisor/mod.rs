//! Makes what runs agree with what is wanted. The control plane changes desired state only; cameras start and stop
//! here and nowhere else.
//!
//! One thread owns all channels. It wakes when the API or a camera has something to say, and at every tick looks
//! into the folder of task files and at the licences.

mod address;
mod folder;
mod inbox;
mod journal;
mod keeper;
mod launch;
mod licence;
mod load;
mod plan;
mod room;
mod running;
mod telemetry;
mod words;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Handle;

use crate::api::Control;
use crate::channel::Site;
use crate::domain::TaskId;
use crate::status::Status;
use crate::store::Store;
use inbox::Inbox;
use journal::Journal;
use keeper::Keeper;

pub struct Supervisor {
    inbox: Arc<Inbox>,
    thread: JoinHandle<()>,
}

/// Which tasks are this box's.
pub struct Duties {
    pub edge_pool_id: String,
    /// A folder of task files; those are this box's whatever pool they name.
    pub task_files: Option<PathBuf>,
    /// A camera that would push the others below it is not started.
    pub min_analyses_per_second: u32,
}

/// The API's end of it.
pub struct Remote(Arc<Inbox>);

impl Control for Remote {
    fn wake(&self) {
        self.0.wake();
    }

    fn released(&self, id: &TaskId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let released = self.0.release(id.clone());
        // An error means that the supervisor is gone, and with it every camera.
        Box::pin(async move { released.await.unwrap_or_default() })
    }
}

impl Supervisor {
    /// `network` carries out what has to be asked of other servers.
    pub fn start(
        site: Site,
        store: Store,
        status: Arc<Status>,
        duties: Duties,
        network: Handle,
    ) -> std::io::Result<Self> {
        let inbox = Arc::new(Inbox::default());
        inbox.wake();
        let journal = Journal::start(store.clone())?;
        let keeper = Keeper::new(site, store, status, duties, network, Arc::clone(&inbox), journal);
        let thread = std::thread::Builder::new().name("supervisor".to_owned()).spawn(move || keeper.run())?;
        Ok(Self { inbox, thread })
    }

    pub fn remote(&self) -> Arc<dyn Control> {
        Arc::new(Remote(Arc::clone(&self.inbox)))
    }

    /// Ends every channel and returns when what they held has been sent.
    pub fn stop(self) {
        self.inbox.stop();
        if self.thread.join().is_err() {
            tracing::error!("the supervisor had panicked");
        }
    }
}
