//! What a simulated camera says of its own clock: sender reports as they are, with the time moved, or none.
//!
//! The server makes honest reports; here they are changed on their way out.

use gst::prelude::*;
use gst_rtsp_server::RTSPMedia;
use gst_rtsp_server::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reports {
    /// The camera's clock is ahead of the true time by so much.
    Ahead {
        ms: i64,
    },
    None,
}

impl Default for Reports {
    fn default() -> Self {
        Self::Ahead { ms: 0 }
    }
}

/// Of every client of `media`.
pub fn install(media: &RTSPMedia, reports: Reports) {
    if reports == Reports::default() {
        return;
    }
    media.connect_prepared(move |media| {
        let Some(pipeline) = media.element().parent().and_downcast::<gst::Bin>() else { return };
        let sessions = pipeline.iterate_recurse().into_iter().flatten();
        for pad in sessions.filter_map(|element| element.static_pad("send_rtcp_src")) {
            change(&pad, reports);
        }
    });
}

fn change(pad: &gst::Pad, reports: Reports) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| match reports {
        // The bindings take the buffer for consumed then; after `Drop`, both they and GStreamer would free it.
        Reports::None => gst::PadProbeReturn::Handled,
        Reports::Ahead { ms } => {
            let buffer = info.buffer_mut().map(gst::Buffer::make_mut);
            if let Some(mut bytes) = buffer.and_then(|buffer| buffer.map_writable().ok()) {
                set_ahead(&mut bytes, ms);
            }
            gst::PadProbeReturn::Ok
        }
    });
}

/// Moves the time of every sender report in a compound packet (RFC 3550, 6.1 and 6.4.1).
fn set_ahead(mut packets: &mut [u8], ms: i64) {
    const SENDER_REPORT: u8 = 200;
    const NTP: std::ops::Range<usize> = 8..16;
    while let [_, kind, high, low, ..] = *packets {
        let size = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        if kind == SENDER_REPORT
            && let Some(field) = packets.get_mut(NTP)
        {
            let ntp = u64::from_be_bytes(field.try_into().expect("eight bytes"));
            let by = i128::from(ms) * (1 << 32) / 1000;
            field.copy_from_slice(&ntp.wrapping_add(by as u64).to_be_bytes());
        }
        packets = std::mem::take(&mut packets).get_mut(size..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_of_sender_reports_moves() {
        let report = |ntp: u64| {
            let mut bytes = vec![0x80, 200, 0, 6];
            bytes.extend([1, 2, 3, 4]);
            bytes.extend(ntp.to_be_bytes());
            bytes.extend([9; 12]);
            bytes
        };
        let described = [0x81, 202, 0, 1, 7, 7, 7, 7];
        let mut packets = [report(5 << 32), described.to_vec()].concat();
        set_ahead(&mut packets, 3_500);
        assert_eq!(packets, [report((8 << 32) + (1 << 31)), described.to_vec()].concat());
        set_ahead(&mut packets, -3_500);
        assert_eq!(packets, [report(5 << 32), described.to_vec()].concat());
        set_ahead(&mut packets[..10], 1);
    }
}
