//! Between decoding and analysis: one slot a camera, the newest frame wins.
//!
//! A frame is dropped here and nowhere else, and counted. At most one frame of a camera is out on lease, so a slow
//! analysis never builds a queue, and cameras take turns: a slot that has been served goes to the end of the line.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::clock;
use crate::frame::Frame;

/// Shared by all cameras and all analysis threads. `S` is what a camera's analysis remembers between frames.
pub struct Mailbox<S> {
    inner: Mutex<Inner<S>>,
    work: Condvar,
    space: Condvar,
}

struct Inner<S> {
    slots: HashMap<u64, Slot<S>>,
    /// Slots that have mail and are not leased, in the order in which they are served.
    ready: VecDeque<u64>,
    next_id: u64,
    closed: bool,
}

struct Slot<S> {
    frame: Option<Frame>,
    ended: bool,
    /// Absent while leased.
    state: Option<S>,
    counters: Arc<Counters>,
}

impl<S> Slot<S> {
    fn has_mail(&self) -> bool {
        self.frame.is_some() || self.ended
    }
}

/// Of one camera, since it was opened.
#[derive(Default)]
pub struct Counters {
    pub offered: AtomicU64,
    pub overwritten: AtomicU64,
    pub leased: AtomicU64,
}

/// A camera's end of its slot. The slot goes when this does.
pub struct Sender<S> {
    mailbox: Arc<Mailbox<S>>,
    id: u64,
    counters: Arc<Counters>,
}

/// What a camera has for its analysis.
pub enum Mail {
    Frame(Frame),
    /// The stream is over: nothing more comes.
    End,
}

/// One camera's mail and its state; both go back when this is dropped.
pub struct Lease<S> {
    mailbox: Arc<Mailbox<S>>,
    id: u64,
    pub mail: Mail,
    state: Option<S>,
}

impl<S> Mailbox<S> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner { slots: HashMap::new(), ready: VecDeque::new(), next_id: 0, closed: false }),
            work: Condvar::new(),
            space: Condvar::new(),
        })
    }

    pub fn open(self: &Arc<Self>, state: S) -> Sender<S> {
        let counters = Arc::new(Counters::default());
        let mut inner = self.inner.lock();
        let id = inner.next_id;
        inner.next_id += 1;
        inner.slots.insert(id, Slot { frame: None, ended: false, state: Some(state), counters: Arc::clone(&counters) });
        Sender { mailbox: Arc::clone(self), id, counters }
    }

    /// Waits for the next camera's turn; `None` once the mailbox is closed.
    pub fn lease(self: &Arc<Self>) -> Option<Lease<S>> {
        let mut inner = self.inner.lock();
        loop {
            if inner.closed {
                return None;
            }
            while let Some(id) = inner.ready.pop_front() {
                let Some(slot) = inner.slots.get_mut(&id) else { continue };
                let mail = match slot.frame.take() {
                    Some(frame) => Mail::Frame(frame),
                    None => {
                        slot.ended = false;
                        Mail::End
                    }
                };
                slot.counters.leased.fetch_add(1, Ordering::Relaxed);
                let state = slot.state.take();
                self.space.notify_all();
                return Some(Lease { mailbox: Arc::clone(self), id, mail, state });
            }
            self.work.wait(&mut inner);
        }
    }

    /// Ends all waiting and all further leases.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.work.notify_all();
        self.space.notify_all();
    }
}

impl<S> Inner<S> {
    fn deliver(&mut self, id: u64, put: impl FnOnce(&mut Slot<S>)) -> bool {
        let Some(slot) = self.slots.get_mut(&id) else { return false };
        let waiting = slot.has_mail();
        put(slot);
        let newly_ready = !waiting && slot.state.is_some();
        if newly_ready {
            self.ready.push_back(id);
        }
        newly_ready
    }
}

impl<S> Sender<S> {
    /// Puts a frame in, in place of one that nobody has fetched. Never waits.
    pub fn offer(&self, frame: Frame) {
        self.counters.offered.fetch_add(1, Ordering::Relaxed);
        let counters = Arc::clone(&self.counters);
        self.put(move |slot| {
            if slot.frame.replace(frame).is_some() {
                counters.overwritten.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Puts a frame in once the slot is empty: for files, of which every frame counts. Gives the frame back when
    /// the slot stays full for `patience`, so that the caller can look whether it should stop.
    pub fn offer_waiting(&self, frame: Frame, patience: Duration) -> Result<(), Frame> {
        let deadline = clock::monotonic() + patience;
        let mut inner = self.mailbox.inner.lock();
        while !inner.closed && inner.slots.get(&self.id).is_some_and(|slot| slot.frame.is_some()) {
            if self.mailbox.space.wait_until(&mut inner, deadline).timed_out() {
                return Err(frame);
            }
        }
        self.counters.offered.fetch_add(1, Ordering::Relaxed);
        if inner.deliver(self.id, |slot| slot.frame = Some(frame)) {
            self.mailbox.work.notify_one();
        }
        Ok(())
    }

    /// Says that the stream is over; seen after the last frame.
    pub fn end(&self) {
        self.put(|slot| slot.ended = true);
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn put(&self, put: impl FnOnce(&mut Slot<S>)) {
        let mut inner = self.mailbox.inner.lock();
        if inner.deliver(self.id, put) {
            self.mailbox.work.notify_one();
        }
    }
}

impl<S> Drop for Sender<S> {
    fn drop(&mut self) {
        self.mailbox.inner.lock().slots.remove(&self.id);
        self.mailbox.space.notify_all();
    }
}

impl<S> Lease<S> {
    /// The camera's mail and its state, to be used together.
    pub fn parts(&mut self) -> (&Mail, &mut S) {
        (&self.mail, self.state.as_mut().expect("held from lease to drop"))
    }
}

impl<S> Drop for Lease<S> {
    fn drop(&mut self) {
        let mut inner = self.mailbox.inner.lock();
        let Some(slot) = inner.slots.get_mut(&self.id) else { return };
        slot.state = self.state.take();
        if slot.has_mail() {
            inner.ready.push_back(self.id);
            self.mailbox.work.notify_one();
        }
    }
}
