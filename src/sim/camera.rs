//! A simulated RTSP camera: plays videos round and round without a seam and without encoding them anew, and fails
//! on demand.
//!
//! The first video is at `/cam0`, the second at `/cam1`. Each client sees the same pictures at the same time; the
//! pictures run while somebody looks.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst_rtsp_server::gst_rtsp::RTSPAuthMethod;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPAuth, RTSPFilterResult, RTSPMedia, RTSPMediaFactory, RTSPServer, RTSPToken};

use super::clip::{Clip, Codec};
use super::reports::{self, Reports};

const ROLE: &str = "viewer";
/// Clients that went without a word are forgotten this often.
const CLEANUP: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("GStreamer: {0}")]
    Gst(#[from] glib::Error),
    #[error("{path}: {problem}; expected a video file with H.264 or H.265")]
    Video { path: PathBuf, problem: String },
    #[error("cannot listen on {listen}: is another program there? Choose another port with --listen")]
    Listen { listen: SocketAddr },
    #[error(
        "--fault {given}: expected KIND@SECONDS, where KIND is drop, freeze, refuse or change; for example drop@10"
    )]
    Fault { given: String },
    #[error("cannot record the drawn scene to {path}: {problem}")]
    Recording { path: PathBuf, problem: String },
    #[error("the simulated camera: {0}")]
    Io(#[from] std::io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// All connections are cut, once; clients may come again.
    Drop,
    /// Connections stay, but no picture comes any more.
    Freeze,
    /// All connections are cut and no new one is taken.
    Refuse,
    /// In the middle of the stream each path goes on with the next video, whatever its resolution.
    Change,
}

/// Happens `after` the camera's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedFault {
    pub kind: FaultKind,
    pub after: Duration,
}

impl FromStr for TimedFault {
    type Err = SimError;

    fn from_str(text: &str) -> Result<Self, SimError> {
        let fail = || SimError::Fault { given: text.to_owned() };
        let (kind, secs) = text.split_once('@').ok_or_else(fail)?;
        let kind = match kind {
            "drop" => FaultKind::Drop,
            "freeze" => FaultKind::Freeze,
            "refuse" => FaultKind::Refuse,
            "change" => FaultKind::Change,
            _ => return Err(fail()),
        };
        let secs: f64 = secs.parse().map_err(|_| fail())?;
        Ok(Self { kind, after: Duration::try_from_secs_f64(secs).map_err(|_| fail())? })
    }
}

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

/// What the server's thread and the camera's owner both act on.
struct Stage {
    context: glib::MainContext,
    main_loop: glib::MainLoop,
    server: RTSPServer,
    faults: Arc<Switches>,
}

/// What goes wrong inside the streams.
#[derive(Default)]
struct Switches {
    frozen: AtomicBool,
    changed: AtomicBool,
}

impl SimCamera {
    /// Plays from now on; returns once it listens.
    pub fn start(spec: SimSpec) -> Result<Self, SimError> {
        gst::init()?;
        let switches = Arc::new(Switches::default());
        let server = build_server(&spec, &switches)?;
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let stage = Arc::new(Stage { context, main_loop, server, faults: switches });
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

    /// Cuts all connections; clients may come again.
    pub fn drop_clients(&self) {
        self.stage.drop_clients();
    }

    /// From now on no picture comes, while connections stay.
    pub fn freeze(&self) {
        self.stage.faults.frozen.store(true, Ordering::Release);
    }

    /// From now on each path plays the next video.
    pub fn change(&self) {
        self.stage.faults.changed.store(true, Ordering::Release);
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
        let main_loop = self.stage.main_loop.clone();
        // In the loop's own thread, so that a quit before the loop runs is not lost.
        self.stage.context.invoke(move || main_loop.quit());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported by then.
            let _ = thread.join();
        }
    }
}

impl Stage {
    fn run(self: &Arc<Self>, faults: &[TimedFault], listening: &SyncSender<Option<u16>>) {
        let served = self.context.with_thread_default(|| {
            let Ok(source) = self.server.attach(Some(&self.context)) else {
                // The starter has gone only where the whole process ends.
                let _ = listening.send(None);
                return;
            };
            let source = self.context.find_source_by_id(&source);
            for fault in faults {
                self.plan(*fault, source.clone());
            }
            self.forget_lost_clients();
            let _ = listening.send(u16::try_from(self.server.bound_port()).ok());
            self.main_loop.run();
            source.inspect(glib::Source::destroy);
            self.drop_clients();
        });
        served.expect("the context is this thread's own");
    }

    fn plan(self: &Arc<Self>, fault: TimedFault, listener: Option<glib::Source>) {
        let stage = Arc::clone(self);
        let act = move || {
            match fault.kind {
                FaultKind::Freeze => stage.faults.frozen.store(true, Ordering::Release),
                FaultKind::Change => stage.faults.changed.store(true, Ordering::Release),
                FaultKind::Drop => stage.drop_clients(),
                FaultKind::Refuse => {
                    listener.iter().for_each(glib::Source::destroy);
                    stage.drop_clients();
                }
            }
            glib::ControlFlow::Break
        };
        let timer = glib::source::timeout_source_new(fault.after, None, glib::Priority::DEFAULT, act);
        timer.attach(Some(&self.context));
    }

    fn forget_lost_clients(&self) {
        let pool = self.server.session_pool();
        let sweep = move || {
            pool.as_ref().map(RTSPSessionPoolExt::cleanup);
            glib::ControlFlow::Continue
        };
        glib::source::timeout_source_new(CLEANUP, None, glib::Priority::DEFAULT, sweep).attach(Some(&self.context));
    }

    fn drop_clients(&self) {
        self.server.client_filter(Some(&mut |_, client| {
            client.close();
            RTSPFilterResult::Remove
        }));
    }
}

fn build_server(spec: &SimSpec, faults: &Arc<Switches>) -> Result<RTSPServer, SimError> {
    let server = RTSPServer::new();
    server.set_address(&spec.listen.ip().to_string());
    server.set_service(&spec.listen.port().to_string());
    let mounts = server.mount_points().expect("a new server has mount points");
    let clips = spec.videos.iter().map(|video| Clip::load(video).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    for (index, clip) in clips.iter().enumerate() {
        // A payloader stays with its codec.
        let after = clips.iter().cycle().skip(index + 1).take(clips.len()).find(|other| other.codec == clip.codec);
        let reel = Reel { clip: Arc::clone(clip), after: Arc::clone(after.unwrap_or(clip)), in_step: spec.in_step };
        let factory = factory(reel, faults, spec.login.is_some());
        let reports = spec.reports;
        factory.connect_media_configure(move |_, media| reports::install(media, reports));
        mounts.add_factory(&format!("/cam{index}"), factory);
    }
    server.set_auth(spec.login.as_ref().map(auth).as_ref());
    Ok(server)
}

fn auth(login: &Login) -> RTSPAuth {
    let auth = RTSPAuth::new();
    let token = RTSPToken::builder().field("media.factory.role", ROLE).build();
    auth.add_digest(&login.user, &login.password, &token);
    auth.set_supported_methods(RTSPAuthMethod::Digest);
    auth
}

/// What a path plays: one clip round and round, and the other after a change.
#[derive(Clone)]
struct Reel {
    clip: Arc<Clip>,
    after: Arc<Clip>,
    in_step: bool,
}

fn factory(reel: Reel, faults: &Arc<Switches>, is_locked: bool) -> RTSPMediaFactory {
    let factory = RTSPMediaFactory::new();
    factory.set_shared(true);
    factory.set_launch(match reel.clip.codec {
        Codec::H264 => "( appsrc name=feed is-live=true format=time ! rtph264pay name=pay0 pt=96 )",
        Codec::H265 => "( appsrc name=feed is-live=true format=time ! rtph265pay name=pay0 pt=96 )",
    });
    if is_locked {
        let role = gst::Structure::builder(ROLE)
            .field("media.factory.access", true)
            .field("media.factory.construct", true)
            .build();
        factory.add_role_from_structure(&role);
    }
    let faults = Arc::clone(faults);
    factory.connect_media_configure(move |_, media| feed(media, reel.clone(), Arc::clone(&faults)));
    factory
}

/// Gives the media one packet whenever it asks, no sooner than it is due.
fn feed(media: &RTSPMedia, mut reel: Reel, faults: Arc<Switches>) {
    let bin = media.element().downcast::<gst::Bin>().expect("the factory makes a bin");
    let source = bin.by_name("feed").and_downcast::<gst_app::AppSrc>().expect("named in the launch text");
    source.set_caps(Some(&reel.clip.caps));
    let mut next = 0;
    let mut round_start = None;
    let mut changed = false;
    let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |source, _| {
        if faults.frozen.load(Ordering::Acquire) {
            return;
        }
        let mut start = *round_start.get_or_insert_with(|| match reel.in_step {
            true => next_round(source, reel.clip.duration),
            false => source.current_running_time().unwrap_or_default(),
        });
        let change = !changed && faults.changed.load(Ordering::Acquire);
        if change || next == reel.clip.packets.len() {
            let due = reel.clip.packets.get(next).map(|packet| packet.decode_at);
            start += due.unwrap_or(reel.clip.duration);
            round_start = Some(start);
            next = 0;
        }
        if change {
            changed = true;
            reel.clip = Arc::clone(&reel.after);
            source.set_caps(Some(&reel.clip.caps));
        }
        let packet = &reel.clip.packets[next];
        next += 1;
        wait_until(source, start + packet.decode_at);
        let mut buffer = packet.buffer.copy();
        let stamped = buffer.make_mut();
        stamped.set_pts(start + packet.show_at);
        stamped.set_dts(start + packet.decode_at);
        // Refused only while the media is being torn down.
        let _ = source.push_buffer(buffer);
    });
    source.set_callbacks(callbacks.build());
}

/// When the clock's time is next a multiple of a clip's length; all media have the same clock.
fn next_round(source: &gst_app::AppSrc, length: gst::ClockTime) -> gst::ClockTime {
    let now = source.current_running_time().unwrap_or_default();
    let clock_time = source.base_time().unwrap_or_default() + now;
    let length_ns = length.nseconds().max(1);
    now + gst::ClockTime::from_nseconds(length_ns - clock_time.nseconds() % length_ns)
}

fn wait_until(source: &gst_app::AppSrc, running_time: gst::ClockTime) {
    if let (Some(clock), Some(base)) = (source.clock(), source.base_time()) {
        // Too late is as good as in time.
        let _ = clock.new_single_shot_id(base + running_time).wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_kind_at_seconds() {
        let fault: TimedFault = "drop@2.5".parse().unwrap();
        assert_eq!(fault, TimedFault { kind: FaultKind::Drop, after: Duration::from_millis(2500) });
        for bad in ["drop", "melt@3", "drop@-1", "drop@soon"] {
            let error = bad.parse::<TimedFault>().unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("drop@10"), "{error}");
        }
    }
}
