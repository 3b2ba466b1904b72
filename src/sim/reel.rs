//! A path's pictures: a clip round and round, packet by packet when it is due, with what goes wrong inside a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gst::prelude::*;
use gst_rtsp_server::RTSPMedia;
use gst_rtsp_server::prelude::*;

use super::clip::{Clip, Codec};

/// How long a frozen stream sleeps before it looks again.
const FROZEN_NAP: gst::ClockTime = gst::ClockTime::from_mseconds(20);

/// What goes wrong inside the streams.
#[derive(Default)]
pub struct Switches {
    pub frozen: AtomicBool,
    pub still: AtomicBool,
    pub no_key: AtomicBool,
    pub changed: AtomicBool,
    /// Added to the packets' RTP time, in ticks, wrapping.
    pub ticks: AtomicU32,
}

/// What a path plays: one clip round and round, and the other after a change.
#[derive(Clone)]
pub struct Reel {
    pub clip: Arc<Clip>,
    pub after: Arc<Clip>,
    /// Rounds begin at whole multiples of the clip's length.
    pub in_step: bool,
}

struct Player {
    reel: Reel,
    faults: Arc<Switches>,
    /// The packet that is due next, and when the clip began.
    next: usize,
    round_start: Option<gst::ClockTime>,
    /// When the pipeline's own time began, as it was when `round_start` was set.
    base: Option<gst::ClockTime>,
    /// The server has been shown what the stream is, or needs no showing.
    introduced: bool,
    changed: bool,
    /// The key frame that is shown again and again.
    held: Option<usize>,
}

/// Gives the media one packet whenever it asks, no sooner than it is due.
pub fn feed(media: &RTSPMedia, reel: Reel, faults: Arc<Switches>) {
    let bin = media.element().downcast::<gst::Bin>().expect("the factory makes a bin");
    let source = bin.by_name("feed").and_downcast::<gst_app::AppSrc>().expect("named in the launch text");
    source.set_caps(Some(&reel.clip.caps));
    shift_time(&bin, Arc::clone(&faults));
    let introduced = !reel.in_step;
    let mut player =
        Player { reel, faults, next: 0, round_start: None, base: None, introduced, changed: false, held: None };
    let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |source, _| {
        if player.thaw(source) {
            let buffer = player.introduction(source).unwrap_or_else(|| player.next(source));
            // Refused only while the media is being torn down.
            let _ = source.push_buffer(buffer);
        }
    });
    source.set_callbacks(callbacks.build());
}

impl Player {
    /// Waits while the stream is frozen; then it goes on from where it stood. Whether there is anybody to send to.
    fn thaw(&mut self, source: &gst_app::AppSrc) -> bool {
        let now = || source.current_running_time().unwrap_or_default();
        // The server lets the media stand between a client's first question and its PLAY, and moves its time on by as
        // much.
        let moved = self.reel.in_step && source.base_time() != self.base;
        let mut begins = self.round_start.is_none() || moved;
        while self.faults.frozen.load(Ordering::Acquire) {
            if is_stopping(source) {
                return false;
            }
            wait_until(source, now() + FROZEN_NAP);
            begins = true;
        }
        if begins {
            self.base = source.base_time();
            let due = self.reel.clip.packets.get(self.next).map(|packet| packet.decode_at);
            self.round_start = Some(match self.reel.in_step {
                true => next_round(source, self.reel.clip.duration),
                false => now().saturating_sub(due.unwrap_or_default()),
            });
        }
        true
    }

    /// What the server keeps back from a client's first question to its PLAY comes with a time that is not true any
    /// more: of a stream in step, that is no picture.
    fn introduction(&mut self, source: &gst_app::AppSrc) -> Option<gst::Buffer> {
        if std::mem::replace(&mut self.introduced, true) {
            return None;
        }
        let first = self.reel.clip.packets.first()?;
        let mut buffer = without_picture(&first.buffer, self.reel.clip.codec);
        let now = source.current_running_time();
        let stamped = buffer.make_mut();
        stamped.set_pts(now);
        stamped.set_dts(now);
        Some(buffer)
    }

    fn next(&mut self, source: &gst_app::AppSrc) -> gst::Buffer {
        let start = self.turn(source);
        wait_until(source, start + self.reel.clip.packets[self.next].decode_at);
        let shown = self.shown();
        let (packet, shown) = (&self.reel.clip.packets[self.next], &self.reel.clip.packets[shown]);
        let mut buffer = match self.faults.no_key.load(Ordering::Acquire) && is_key(&shown.buffer) {
            true => without_picture(&shown.buffer, self.reel.clip.codec),
            false => shown.buffer.copy(),
        };
        let stamped = buffer.make_mut();
        // What is shown again is no B-frame's neighbour: it is due when it is decoded.
        stamped.set_pts(start + if self.held.is_some() { packet.decode_at } else { packet.show_at });
        stamped.set_dts(start + packet.decode_at);
        self.next += 1;
        buffer
    }

    /// Begins the next round, or the other clip, where it is time; when the present one began.
    fn turn(&mut self, source: &gst_app::AppSrc) -> gst::ClockTime {
        let mut start = self.round_start.unwrap_or_default();
        let change = !self.changed && self.faults.changed.load(Ordering::Acquire);
        if change || self.next == self.reel.clip.packets.len() {
            let due = self.reel.clip.packets.get(self.next).map(|packet| packet.decode_at);
            start += due.unwrap_or(self.reel.clip.duration);
            self.round_start = Some(start);
            self.next = 0;
        }
        if change {
            self.changed = true;
            self.held = None;
            self.reel.clip = Arc::clone(&self.reel.after);
            source.set_caps(Some(&self.reel.clip.caps));
        }
        start
    }

    /// The packet to show: the one that is due, or the key frame that it began with, until the next one after that.
    fn shown(&mut self) -> usize {
        let packets = &self.reel.clip.packets;
        if self.faults.still.load(Ordering::Acquire) {
            let last_key = || packets[..=self.next].iter().rposition(|packet| is_key(&packet.buffer));
            self.held = self.held.or_else(last_key);
        } else if is_key(&packets[self.next].buffer) {
            self.held = None;
        }
        self.held.unwrap_or(self.next)
    }
}

/// Gives the video another name, so that nobody finds a decoder for it.
pub fn disguise(media: &RTSPMedia) {
    let bin = media.element().downcast::<gst::Bin>().expect("the factory makes a bin");
    let Some(pad) = bin.by_name("pay0").and_then(|payloader| payloader.static_pad("src")) else { return };
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && let gst::EventView::Caps(caps) = event.view()
        {
            let mut caps = caps.caps_owned();
            caps.make_mut().set("encoding-name", "X-UNKNOWN");
            *event = gst::event::Caps::new(&caps);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Moves the RTP time of every packet that leaves the payloader.
fn shift_time(bin: &gst::Bin, faults: Arc<Switches>) {
    let Some(pad) = bin.by_name("pay0").and_then(|payloader| payloader.static_pad("src")) else { return };
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let ticks = faults.ticks.load(Ordering::Acquire);
        match &mut info.data {
            _ if ticks == 0 => {}
            Some(gst::PadProbeData::Buffer(packet)) => shift(packet.make_mut(), ticks),
            Some(gst::PadProbeData::BufferList(packets)) => {
                let packets = packets.make_mut();
                for index in 0..packets.len() {
                    packets.get_mut(index).into_iter().for_each(|packet| shift(packet, ticks));
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Bytes 4 to 7 of an RTP header are its time.
fn shift(packet: &mut gst::BufferRef, ticks: u32) {
    let Ok(mut bytes) = packet.map_writable() else { return };
    if let Some(time) = bytes.get_mut(4..8).and_then(|time| <&mut [u8; 4]>::try_from(time).ok()) {
        *time = u32::from_be_bytes(*time).wrapping_add(ticks).to_be_bytes();
    }
}

fn is_key(buffer: &gst::BufferRef) -> bool {
    !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

/// An access unit's parameter sets alone, as a camera sends them that has no key frame to give.
fn without_picture(buffer: &gst::BufferRef, codec: Codec) -> gst::Buffer {
    let bytes = buffer.map_readable().map(|map| map.to_vec()).unwrap_or_default();
    let mut kept = Vec::new();
    for unit in units(&bytes) {
        let is_picture = match codec {
            Codec::H264 => unit.first().is_some_and(|byte| matches!(byte & 0x1f, 1..=5)),
            Codec::H265 => unit.first().is_some_and(|byte| (byte >> 1) & 0x3f < 32),
        };
        if !is_picture {
            kept.extend_from_slice(&[0, 0, 0, 1]);
            kept.extend_from_slice(unit);
        }
    }
    gst::Buffer::from_mut_slice(kept)
}

/// What stands between the start codes of a byte stream.
fn units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> = memchr::memmem::find_iter(bytes, &[0, 0, 1]).map(|at| at + 3).collect();
    let ends: Vec<usize> = starts.iter().skip(1).map(|start| start - 3).chain([bytes.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| {
        let unit = &bytes[start..end];
        // The longer start code's first zero belongs to none.
        &unit[..unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
    })
}

fn is_stopping(source: &gst_app::AppSrc) -> bool {
    source.static_pad("src").is_none_or(|pad| pad.pad_flags().contains(gst::PadFlags::FLUSHING))
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
    fn of_a_key_frame_the_parameter_sets_are_kept() {
        gst::init().unwrap();
        let unit = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 9, 9, 9];
        let kept = without_picture(&gst::Buffer::from_slice(unit), Codec::H264);
        let kept = kept.map_readable().unwrap();
        assert_eq!(kept.as_slice(), [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3]);
    }

    #[test]
    fn a_packets_time_is_moved_and_nothing_else() {
        gst::init().unwrap();
        let mut packet = gst::Buffer::from_mut_slice(vec![0x80, 96, 0, 1, 0xff, 0xff, 0xff, 0xfe, 7, 7, 7, 7]);
        shift(packet.make_mut(), 5);
        assert_eq!(packet.map_readable().unwrap().as_slice(), [0x80, 96, 0, 1, 0, 0, 0, 3, 7, 7, 7, 7]);
    }
}
