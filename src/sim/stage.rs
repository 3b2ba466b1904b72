//! The simulated camera's server: what it shows at its paths, who may look, and whether it listens at all.
//!
//! It lives in a thread and a main context of its own; all that changes it happens there.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use gst::glib;
use gst_rtsp_server::gst_rtsp::RTSPAuthMethod;
use gst_rtsp_server::prelude::*;
use gst_rtsp_server::{RTSPAuth, RTSPFilterResult, RTSPMediaFactory, RTSPServer, RTSPToken};
use parking_lot::Mutex;

use super::camera::{Login, SimError, SimSpec};
use super::clip::{Clip, Codec};
use super::fault::{FaultKind, TimedFault};
use super::reel::{self, Reel, Switches};
use super::reports::{self, Reports};

const ROLE: &str = "viewer";
/// Clients that went without a word are forgotten this often.
const CLEANUP: Duration = Duration::from_secs(2);
/// An hour and a minute of RTP's video clock.
const AHEAD_TICKS: u32 = 3600 * 90_000;
const BACK_TICKS: u32 = 60 * 90_000;
const SOUND: &str = "( audiotestsrc is-live=true wave=silence ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay0 pt=8 )";

/// What the server's thread and the camera's owner both act on.
pub struct Stage {
    context: glib::MainContext,
    main_loop: glib::MainLoop,
    server: RTSPServer,
    ip: IpAddr,
    login: Option<Login>,
    reports: Reports,
    reels: Mutex<Vec<Reel>>,
    faults: Arc<Switches>,
    listener: Mutex<Listener>,
}

/// Who takes connections at the camera's port.
enum Listener {
    Closed,
    Open(glib::Source),
    /// Nobody, but they can be made.
    Mute(#[expect(dead_code, reason = "held for its port")] TcpListener),
}

impl Stage {
    pub fn build(spec: &SimSpec) -> Result<Self, SimError> {
        let context = glib::MainContext::new();
        let server = RTSPServer::new();
        server.set_address(&spec.listen.ip().to_string());
        server.set_service(&spec.listen.port().to_string());
        let stage = Self {
            main_loop: glib::MainLoop::new(Some(&context), false),
            context,
            server,
            ip: spec.listen.ip(),
            login: spec.login.clone(),
            reports: spec.reports,
            reels: Mutex::new(reels(&spec.videos, spec.in_step)?),
            faults: Arc::default(),
            listener: Mutex::new(Listener::Closed),
        };
        stage.restore();
        Ok(stage)
    }

    pub fn in_its_thread(self: &Arc<Self>, act: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let stage = Arc::clone(self);
        self.context.invoke(move || act(&stage));
    }

    /// Also where the loop does not run yet: then it ends as soon as it does.
    pub fn quit(self: &Arc<Self>) {
        self.in_its_thread(|stage| stage.main_loop.quit());
    }

    pub fn run(self: &Arc<Self>, faults: &[TimedFault], listening: &SyncSender<Option<u16>>) {
        let served = self.context.with_thread_default(|| {
            let port = self.listen();
            // The starter has gone only where the whole process ends.
            let _ = listening.send(port);
            if port.is_none() {
                return;
            }
            for fault in faults {
                self.plan(*fault);
            }
            self.forget_lost_clients();
            self.main_loop.run();
            self.close();
            self.drop_clients();
        });
        served.expect("the context is this thread's own");
    }

    /// The port, which stays the same from the first time on.
    fn listen(&self) -> Option<u16> {
        self.close();
        let source = self.server.attach(Some(&self.context)).ok()?;
        let port = u16::try_from(self.server.bound_port()).ok()?;
        self.server.set_service(&port.to_string());
        *self.listener.lock() = Listener::Open(self.context.find_source_by_id(&source)?);
        Some(port)
    }

    fn close(&self) {
        if let Listener::Open(source) = std::mem::replace(&mut *self.listener.lock(), Listener::Closed) {
            source.destroy();
        }
    }

    pub fn act(&self, kind: FaultKind) {
        let set = |switch: &AtomicBool, on| switch.store(on, Ordering::Release);
        match kind {
            FaultKind::Drop => {}
            FaultKind::Refuse => self.close(),
            FaultKind::Hang => self.fall_silent(),
            FaultKind::Lock => self.server.set_auth(Some(&auth(&nobodys_login()))),
            FaultKind::Gone => self.show(Show::Nothing),
            FaultKind::Sound => self.show(Show::Sound),
            FaultKind::Codec => self.show(Show::Undecodable),
            FaultKind::NoKey => set(&self.faults.no_key, true),
            FaultKind::Freeze => set(&self.faults.frozen, true),
            FaultKind::Still => set(&self.faults.still, true),
            FaultKind::Change => set(&self.faults.changed, true),
            FaultKind::Recode => self.recode(),
            FaultKind::Ahead => drop(self.faults.ticks.fetch_add(AHEAD_TICKS, Ordering::AcqRel)),
            FaultKind::Back => drop(self.faults.ticks.fetch_sub(BACK_TICKS, Ordering::AcqRel)),
            FaultKind::Well => self.get_well(),
        }
        if kind.cuts() {
            self.drop_clients();
        }
    }

    fn get_well(&self) {
        self.restore();
        if !matches!(*self.listener.lock(), Listener::Open(_)) && self.listen().is_none() {
            tracing::error!("the simulated camera's port was taken by somebody else");
        }
    }

    fn restore(&self) {
        for switch in [&self.faults.no_key, &self.faults.frozen, &self.faults.still] {
            switch.store(false, Ordering::Release);
        }
        self.server.set_auth(self.login.as_ref().map(auth).as_ref());
        self.show(Show::Video);
    }

    /// The system goes on taking connections for a listener that never looks.
    fn fall_silent(&self) {
        self.close();
        let port = self.server.service().parse().unwrap_or_default();
        match TcpListener::bind(SocketAddr::new(self.ip, port)) {
            Ok(mute) => *self.listener.lock() = Listener::Mute(mute),
            Err(error) => tracing::error!(%error, "the simulated camera refuses connections instead"),
        }
    }

    fn recode(&self) {
        let mut reels = self.reels.lock();
        let clips: Vec<_> = reels.iter().map(|reel| Arc::clone(&reel.clip)).collect();
        for (index, reel) in reels.iter_mut().enumerate() {
            let next = clips.iter().cycle().skip(index + 1).take(clips.len());
            if let Some(other) = next.into_iter().find(|other| other.codec != reel.clip.codec) {
                *reel = Reel { clip: Arc::clone(other), after: Arc::clone(other), in_step: reel.in_step };
            }
        }
        drop(reels);
        self.show(Show::Video);
    }

    /// To whoever comes from now on.
    fn show(&self, show: Show) {
        let mounts = self.server.mount_points().expect("a new server has mount points");
        for (index, reel) in self.reels.lock().iter().enumerate() {
            let path = format!("/cam{index}");
            match show {
                Show::Nothing => mounts.remove_factory(&path),
                _ => {
                    let (factory, reports) = (factory(show, reel, &self.faults), self.reports);
                    factory.connect_media_configure(move |_, media| reports::install(media, reports));
                    mounts.add_factory(&path, factory);
                }
            }
        }
    }

    fn plan(self: &Arc<Self>, fault: TimedFault) {
        let stage = Arc::clone(self);
        let act = move || {
            stage.act(fault.kind);
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

fn reels(videos: &[PathBuf], in_step: bool) -> Result<Vec<Reel>, SimError> {
    let clips = videos.iter().map(|video| Clip::load(video).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let reel = |(index, clip): (usize, &Arc<Clip>)| {
        // A payloader stays with its codec.
        let after = clips.iter().cycle().skip(index + 1).take(clips.len()).find(|other| other.codec == clip.codec);
        Reel { clip: Arc::clone(clip), after: Arc::clone(after.unwrap_or(clip)), in_step }
    };
    Ok(clips.iter().enumerate().map(reel).collect())
}

fn auth(login: &Login) -> RTSPAuth {
    let auth = RTSPAuth::new();
    let token = RTSPToken::builder().field("media.factory.role", ROLE).build();
    auth.add_digest(&login.user, &login.password, &token);
    auth.set_supported_methods(RTSPAuthMethod::Digest);
    auth
}

fn nobodys_login() -> Login {
    Login { user: uuid::Uuid::new_v4().to_string(), password: uuid::Uuid::new_v4().to_string() }
}

/// What a path gives to whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Video,
    /// The same packets under a name that no decoder knows.
    Undecodable,
    Sound,
    Nothing,
}

fn factory(show: Show, reel: &Reel, faults: &Arc<Switches>) -> RTSPMediaFactory {
    let factory = RTSPMediaFactory::new();
    factory.set_shared(true);
    factory.set_launch(match (show, reel.clip.codec) {
        (Show::Sound, _) => SOUND,
        (_, Codec::H264) => "( appsrc name=feed is-live=true format=time ! rtph264pay name=pay0 pt=96 )",
        (_, Codec::H265) => "( appsrc name=feed is-live=true format=time ! rtph265pay name=pay0 pt=96 )",
    });
    // Asks for nothing where the server asks for no login.
    let role = gst::Structure::builder(ROLE)
        .field("media.factory.access", true)
        .field("media.factory.construct", true)
        .build();
    factory.add_role_from_structure(&role);
    if show != Show::Sound {
        let (reel, faults) = (reel.clone(), Arc::clone(faults));
        factory.connect_media_configure(move |_, media| {
            if show == Show::Undecodable {
                reel::disguise(media);
            }
            reel::feed(media, reel.clone(), Arc::clone(&faults));
        });
    }
    factory
}
