//! The face store: samples of ticket holders, persons and person numbers, and what gates are told of them.
//!
//! Pictures and embeddings are sealed before they reach the writer and opened after they were read. What is erased is
//! gone from the file and from the write-ahead log when the call answers; of a scan, when it ends.

mod directory;
mod erasures;
mod gates;
mod links;
mod samples;
mod scan;

use rusqlite::Connection;
use uuid::Uuid;

use super::Store;
use super::call::{Call, Reply};
use super::error::StoreError;
use super::writer::{Answer, Op, settle};
use crate::domain::{FaceOwner, UnixMs};

pub use directory::{DirectoryChange, DirectoryRefusal, MAX_FACES, MAX_GROUPS, MAX_PERSONS, NamedRow, Window};
pub use erasures::ErasureLog;
pub use gates::{EventKind, GateChoice, GateEvent, GateRow, HeldTicket};
pub use links::PhotoLink;
pub use samples::{NewSample, Place, SampleRow, SealedSample, StoredEmbedding};
pub use scan::{PAGE as SCAN_PAGE, RemotePlace, ScanPage, ScanStep};

/// What changes stored faces.
pub enum FaceOp {
    PutTicket {
        sample: Box<SealedSample>,
        choice: GateChoice,
        now: UnixMs,
        reply: Reply<Result<(), String>>,
    },
    RemoveTicket {
        lbsbh: String,
        now: UnixMs,
        reply: Reply<bool>,
    },
    RegisterGate {
        gatenum: String,
        name: String,
        now: UnixMs,
        reply: Reply<bool>,
    },
    FillGate {
        gatenum: String,
        now: UnixMs,
        reply: Reply<bool>,
    },
    Acknowledge {
        gatenum: String,
        index: i64,
        reply: Reply<()>,
    },
    TrimEvents {
        now: UnixMs,
        reply: Reply<u64>,
    },
    ScanPage {
        gatenum: String,
        after: String,
        now: UnixMs,
        reply: Reply<Option<ScanPage>>,
    },
    BeginNight {
        night: String,
        remote: bool,
        reply: Reply<bool>,
    },
    BeginScan {
        gatenum: Option<String>,
        reply: Reply<bool>,
    },
    ScanStep {
        gatenum: Option<String>,
        now: UnixMs,
        reply: Reply<Option<ScanStep>>,
    },
    RemoteReached {
        gatenum: String,
        after: Option<String>,
        reply: Reply<()>,
    },
    Directory {
        change: Box<DirectoryChange>,
        operation: Option<Uuid>,
        now: UnixMs,
        reply: Reply<Result<(), DirectoryRefusal>>,
    },
    LinkPhotos {
        photos: Vec<SealedSample>,
        now: UnixMs,
        reply: Reply<()>,
    },
    UnlinkPhotos {
        space: u8,
        links: Vec<PhotoLink>,
        now: UnixMs,
        reply: Reply<Vec<bool>>,
    },
    TruncateSpace {
        space: u8,
        now: UnixMs,
        reply: Reply<u64>,
    },
    Flush {
        reply: Reply<()>,
    },
}

impl FaceOp {
    /// Whether the write-ahead log has to be emptied before the answer goes out, if something was erased. A scan's
    /// pages leave that to its end.
    pub(super) fn flushes(&self) -> bool {
        !matches!(self, Self::ScanPage { .. } | Self::ScanStep { .. } | Self::Acknowledge { .. })
    }

    pub(super) fn run(self, c: &Connection, begun: Result<(), StoreError>) -> (Answer, Option<StoreError>) {
        match self {
            Self::PutTicket { sample, choice, now, reply } => {
                settle(c, begun, reply, |c| gates::put(c, &sample, &choice, now))
            }
            Self::RemoveTicket { lbsbh, now, reply } => settle(c, begun, reply, |c| gates::remove(c, &lbsbh, now)),
            Self::RegisterGate { gatenum, name, now, reply } => {
                settle(c, begun, reply, |c| gates::register(c, &gatenum, &name, now))
            }
            Self::FillGate { gatenum, now, reply } => settle(c, begun, reply, |c| gates::fill(c, &gatenum, now)),
            Self::Acknowledge { gatenum, index, reply } => {
                settle(c, begun, reply, |c| gates::acknowledge(c, &gatenum, index))
            }
            Self::TrimEvents { now, reply } => settle(c, begun, reply, |c| gates::trim(c, now)),
            Self::ScanPage { gatenum, after, now, reply } => {
                settle(c, begun, reply, |c| scan::page(c, &gatenum, &after, now))
            }
            Self::BeginNight { night, remote, reply } => {
                settle(c, begun, reply, |c| scan::begin_night(c, &night, remote))
            }
            Self::BeginScan { gatenum, reply } => settle(c, begun, reply, |c| scan::begin(c, gatenum.as_deref())),
            Self::ScanStep { gatenum, now, reply } => {
                settle(c, begun, reply, |c| scan::step(c, gatenum.as_deref(), now))
            }
            Self::RemoteReached { gatenum, after, reply } => {
                settle(c, begun, reply, |c| scan::remote_reached(c, &gatenum, after.as_deref()))
            }
            Self::Directory { change, operation, now, reply } => {
                settle(c, begun, reply, |c| directory::change(c, &change, operation, now))
            }
            Self::LinkPhotos { photos, now, reply } => settle(c, begun, reply, |c| links::set(c, &photos, now)),
            Self::UnlinkPhotos { space, links, now, reply } => {
                settle(c, begun, reply, |c| links::unlink(c, space, &links, now))
            }
            Self::TruncateSpace { space, now, reply } => settle(c, begun, reply, |c| links::truncate(c, space, now)),
            Self::Flush { reply } => settle(c, begun, reply, |_| Ok(())),
        }
    }
}

/// For the writer: after the commit and before the answers, where something was erased since it was done last.
pub(super) fn flush(c: &Connection, flushed_up_to: &mut i64) {
    let flushed = erasures::last(c).and_then(|last| {
        if last != *flushed_up_to && erasures::flush(c)? {
            *flushed_up_to = last;
        }
        Ok(())
    });
    if let Err(error) = flushed {
        tracing::error!(%error, "the write-ahead log could not be emptied of what was erased");
    }
}

impl Store {
    fn face_op<T: Send + 'static>(&self, make: impl FnOnce(Reply<T>) -> FaceOp) -> Call<T> {
        self.write(|reply| Op::Faces(make(reply)))
    }

    /// Ready for its row: sealed for its place.
    pub fn sealed(&self, new: NewSample) -> Result<SealedSample, StoreError> {
        Ok(SealedSample::new(&*self.seal()?, new))
    }

    /// Every stored embedding of a model. Blocks.
    pub fn embeddings(&self, model: &str, each: &mut dyn FnMut(StoredEmbedding)) -> Result<(), StoreError> {
        let seal = self.seal()?;
        self.inner.with_reader(|c| samples::embeddings(c, &seal, model, each))
    }

    /// Nothing that was erased stays in the write-ahead log.
    pub fn flush_erased(&self) -> Call<()> {
        self.face_op(|reply| FaceOp::Flush { reply })
    }

    pub fn erasure_log(&self) -> Call<ErasureLog> {
        self.read(erasures::check)
    }
}

/// Gates and tickets.
impl Store {
    /// `Err` names a gate that is not there; then nothing has changed.
    pub fn put_ticket(&self, sample: SealedSample, choice: GateChoice, now: UnixMs) -> Call<Result<(), String>> {
        self.face_op(|reply| FaceOp::PutTicket { sample: Box::new(sample), choice, now, reply })
    }

    /// False where there is no such sample.
    pub fn remove_ticket(&self, lbsbh: &str, now: UnixMs) -> Call<bool> {
        let lbsbh = lbsbh.to_owned();
        self.face_op(|reply| FaceOp::RemoveTicket { lbsbh, now, reply })
    }

    pub fn ticket(&self, lbsbh: &str) -> Call<Option<SampleRow>> {
        let place = Place::ticket(lbsbh);
        self.read(move |c| samples::find(c, &place))
    }

    /// False where the gate was there: it has the new name now. A new gate is then to be filled.
    pub fn register_gate(&self, gatenum: &str, name: &str, now: UnixMs) -> Call<bool> {
        let (gatenum, name) = (gatenum.to_owned(), name.to_owned());
        self.face_op(|reply| FaceOp::RegisterGate { gatenum, name, now, reply })
    }

    /// Gives a new gate some of the samples of all gates. True while there are more.
    pub fn fill_gate(&self, gatenum: &str, now: UnixMs) -> Call<bool> {
        let gatenum = gatenum.to_owned();
        self.face_op(|reply| FaceOp::FillGate { gatenum, now, reply })
    }

    pub fn gates(&self) -> Call<Vec<GateRow>> {
        self.read(gates::all)
    }

    /// A gate's events after `index`, and whether there are more. `None` where there is no such gate.
    pub fn gate_events(
        &self,
        gatenum: &str,
        index: i64,
        limit: usize,
        max_bytes: usize,
    ) -> Call<Option<(Vec<GateEvent>, bool)>> {
        let (gatenum, seal) = (gatenum.to_owned(), self.seal());
        self.read(move |c| gates::events(c, &*seal?, &gatenum, index, limit, max_bytes))
    }

    pub fn acknowledge_events(&self, gatenum: &str, index: i64) -> Call<()> {
        let gatenum = gatenum.to_owned();
        self.face_op(|reply| FaceOp::Acknowledge { gatenum, index, reply })
    }

    /// Forgets delete events that were acknowledged long ago.
    pub fn trim_gate_events(&self, now: UnixMs) -> Call<u64> {
        self.face_op(|reply| FaceOp::TrimEvents { now, reply })
    }

    /// What a gate holds, after `lbsbh`, and whether there is more. `None` where there is no such gate.
    pub fn held_by_gate(&self, gatenum: &str, after: &str, limit: usize) -> Call<Option<(Vec<HeldTicket>, bool)>> {
        let (gatenum, after) = (gatenum.to_owned(), after.to_owned());
        self.read(move |c| gates::held(c, &gatenum, &after, limit))
    }
}

/// The expiry scan.
impl Store {
    /// One page for whoever keeps the place himself. `None` where there is no such gate. After the last page:
    /// `flush_erased`.
    pub fn scan_page(&self, gatenum: &str, after: &str, now: UnixMs) -> Call<Option<ScanPage>> {
        let (gatenum, after) = (gatenum.to_owned(), after.to_owned());
        self.face_op(|reply| FaceOp::ScanPage { gatenum, after, now, reply })
    }

    /// Begins a night's scans, of the remote server too. False where that was done before.
    pub fn begin_night(&self, night: &str, remote: bool) -> Call<bool> {
        let night = night.to_owned();
        self.face_op(|reply| FaceOp::BeginNight { night, remote, reply })
    }

    /// Begins a scan of one gate or of all. False where there is no such gate.
    pub fn begin_scan(&self, gatenum: Option<&str>) -> Call<bool> {
        let gatenum = gatenum.map(str::to_owned);
        self.face_op(|reply| FaceOp::BeginScan { gatenum, reply })
    }

    /// The next page of a scan that is under way, of one gate or of any. `None` where none is.
    pub fn scan_step(&self, gatenum: Option<&str>, now: UnixMs) -> Call<Option<ScanStep>> {
        let gatenum = gatenum.map(str::to_owned);
        self.face_op(|reply| FaceOp::ScanStep { gatenum, now, reply })
    }

    pub fn remote_scan(&self) -> Call<Option<RemotePlace>> {
        self.read(scan::remote_place)
    }

    /// How far a gate's scan at the remote server came; `None`: it is done.
    pub fn remote_scan_reached(&self, gatenum: &str, after: Option<&str>) -> Call<()> {
        let (gatenum, after) = (gatenum.to_owned(), after.map(str::to_owned));
        self.face_op(|reply| FaceOp::RemoteReached { gatenum, after, reply })
    }
}

/// The directory.
impl Store {
    pub fn change_directory(
        &self,
        change: DirectoryChange,
        operation: Option<Uuid>,
        now: UnixMs,
    ) -> Call<Result<(), DirectoryRefusal>> {
        self.face_op(|reply| FaceOp::Directory { change: Box::new(change), operation, now, reply })
    }

    pub fn person_groups(&self, window: Window) -> Call<Vec<NamedRow>> {
        self.read(move |c| directory::groups(c, &window))
    }

    pub fn person_group(&self, id: &str) -> Call<Option<NamedRow>> {
        let id = id.to_owned();
        self.read(move |c| directory::group(c, &id))
    }

    pub fn persons(&self, window: Window) -> Call<Vec<NamedRow>> {
        self.read(move |c| directory::persons(c, &window))
    }

    pub fn person(&self, id: Uuid) -> Call<Option<NamedRow>> {
        self.read(move |c| directory::person(c, id))
    }

    /// `None` where there is no such group.
    pub fn persons_of_group(&self, id: &str, window: Window) -> Call<Option<Vec<String>>> {
        let id = id.to_owned();
        self.read(move |c| directory::persons_of_group(c, &id, &window))
    }

    /// `None` where there is no such person.
    pub fn groups_of_person(&self, id: Uuid, window: Window) -> Call<Option<Vec<String>>> {
        self.read(move |c| directory::groups_of_person(c, id, &window))
    }

    pub fn persons_faces(&self, person: Uuid, recognition_model: &str) -> Call<Vec<SampleRow>> {
        let (place, model) = (Place::new(&FaceOwner::Person(person), ""), recognition_model.to_owned());
        self.read(move |c| samples::of_owner(c, &place, Some(&model)))
    }

    /// When an operation was carried out.
    pub fn operation(&self, id: Uuid, now: UnixMs) -> Call<Option<UnixMs>> {
        self.read(move |c| directory::operation(c, id, now))
    }
}

/// Photo links.
impl Store {
    /// All of them, or none.
    pub fn link_photos(&self, photos: Vec<SealedSample>, now: UnixMs) -> Call<()> {
        self.face_op(|reply| FaceOp::LinkPhotos { photos, now, reply })
    }

    /// For each, whether there was something to unlink.
    pub fn unlink_photos(&self, space: u8, links: Vec<PhotoLink>, now: UnixMs) -> Call<Vec<bool>> {
        self.face_op(|reply| FaceOp::UnlinkPhotos { space, links, now, reply })
    }

    /// Answers how many photos there were.
    pub fn truncate_space(&self, space: u8, now: UnixMs) -> Call<u64> {
        self.face_op(|reply| FaceOp::TruncateSpace { space, now, reply })
    }

    pub fn has_photos(&self, space: u8, number: i64) -> Call<bool> {
        let place = Place::new(&FaceOwner::Number { space, number }, "");
        self.read(move |c| Ok(samples::count(c, &place)? > 0))
    }

    /// The largest person number of a space, 0 where there is none above.
    pub fn largest_number(&self, space: u8) -> Call<i64> {
        self.read(move |c| links::largest_number(c, space))
    }
}
