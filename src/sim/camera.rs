//! A simulated RTSP camera: plays videos round and round without a seam and without encoding them anew, and fails
//! on demand.
//!
//! The first video is at `/cam0`, the second at `/cam1`. Each client sees the same pictures at the same time; the
//! pictures run while somebody looks.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use gst::glib;

pub use super::fault::{FaultKind, TimedFault};
use super::reports::Reports;
use super::stage::Stage;

#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("GStreamer: {0}")]
    Gst(#[from] glib::Error),
    #[error("{path}: {problem}; expected a video file with H.264 or H.265")]
    Video { path: PathBuf, problem: String },
    #[error("cannot listen on {listen}: is another program there? Choose another port with --listen")]
    Listen { listen: SocketAddr },
    #[error("--fault {given}: expected KIND@SECONDS, for example drop@10; KIND is one of {}", FaultKind::names())]
    Fault { given: String },
    #[error("cannot record the drawn scene to {path}: {problem}")]
    Recording { path: PathBuf, problem: String },
    #[error("the simulated camera: {0}")]
    Io(#[from] std::io::Error),
}

#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub password: String,
}

pub struct SimSpec {
    pub videos: Vec<PathBuf>,
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// What clients must give; anybody may look where it is absent.
    pub login: Option<Login>,
    pub faults: Vec<TimedFault>,
    /// What the camera tells of its clock.
    pub reports: Reports,
    /// Each path begins at a whole multiple of its clip's length, so that clips of one length show the same moment.
    pub in_step: bool,
}

impl SimSpec {
    /// On loopback, at a free port, for everybody, without faults.
    pub fn new(videos: Vec<PathBuf>) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { videos, listen, login: None, faults: Vec::new(), reports: Reports::default(), in_step: false }
    }
}

/// Stops when dropped.
pub struct SimCamera {
    address: SocketAddr,
    stage: Arc<Stage>,
    thread: Option<JoinHandle<()>>,
}

impl SimCamera {
    /// Plays from now on; returns once it listens.
    pub fn start(spec: SimSpec) -> Result<Self, SimError> {
        gst::init()?;
        let stage = Arc::new(Stage::build(&spec)?);
        let (listening, bound) = sync_channel(1);
        let (own, faults) = (Arc::clone(&stage), spec.faults);
        let thread =
            std::thread::Builder::new().name("sim-camera".into()).spawn(move || own.run(&faults, &listening))?;
        let port = bound.recv().ok().flatten().ok_or(SimError::Listen { listen: spec.listen })?;
        Ok(Self { address: SocketAddr::new(spec.listen.ip(), port), stage, thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Of video number `index`, without user and password.
    pub fn url(&self, index: usize) -> String {
        format!("rtsp://{}/cam{index}", self.address)
    }

    /// Returns when it has happened.
    pub fn fail(&self, kind: FaultKind) {
        let (done, happened) = sync_channel(1);
        self.stage.in_its_thread(move |stage| {
            stage.act(kind);
            // The one who asked waits for it.
            let _ = done.send(());
        });
        happened.recv().expect("the camera runs as long as it is not dropped");
    }

    /// Returns once the port is free again.
    pub fn stop(self) {
        drop(self);
    }

    /// Until the process is ended from outside.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported by then.
            let _ = thread.join();
        }
    }
}

impl Drop for SimCamera {
    fn drop(&mut self) {
        self.stage.quit();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported by then.
            let _ = thread.join();
        }
    }
}
