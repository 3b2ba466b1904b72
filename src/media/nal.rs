//! Which coded pictures no other picture refers to, read off their headers.
//!
//! H.264 (ITU-T H.264, 7.4.1): `nal_ref_idc` is 0 in every slice of such a picture. H.265 (ITU-T H.265, 7.4.2.2): the
//! even types below 16 are referred to by no picture of their own temporal layer; only those of the highest layer by
//! none at all. Bytes from a camera are foreign: whatever is not clearly a disposable picture is none.

use memchr::memmem;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    H264,
    H265,
}

/// How a stream's access units are written.
#[derive(Debug, Clone)]
pub struct Format {
    pub codec: Codec,
    /// Of the length before each unit; `None` for start codes.
    pub length_bytes: Option<usize>,
    /// The highest temporal layer, once the stream has told it. H.265 only.
    pub top_layer: Option<u8>,
}

enum Unit {
    Picture { disposable: bool },
    Other,
}

impl Format {
    /// From the decoder configuration record (ISO/IEC 14496-15): `avcC` or `hvcC`.
    pub fn with_lengths(codec: Codec, record: &[u8]) -> Option<Self> {
        match codec {
            Codec::H264 => {
                let length_bytes = usize::from(record.get(4)? & 3) + 1;
                Some(Self { codec, length_bytes: Some(length_bytes), top_layer: None })
            }
            Codec::H265 => {
                let byte = record.get(21)?;
                // 0 says unknown.
                let top_layer = (byte >> 3 & 7).checked_sub(1);
                Some(Self { codec, length_bytes: Some(usize::from(byte & 3) + 1), top_layer })
            }
        }
    }

    pub fn with_start_codes(codec: Codec) -> Self {
        Self { codec, length_bytes: None, top_layer: None }
    }

    /// Whether the picture in this access unit can be left out without harm to any other.
    pub fn is_disposable(&mut self, access_unit: &[u8]) -> bool {
        let mut pictures = 0;
        let mut disposable = true;
        let mut look = |format: &mut Self, unit: &[u8]| {
            if let Unit::Picture { disposable: this } = format.read(unit) {
                pictures += 1;
                disposable &= this;
            }
        };
        match self.length_bytes {
            Some(length_bytes) => {
                let mut rest = access_unit;
                while !rest.is_empty() {
                    let Some((unit, after)) = split(rest, length_bytes) else { return false };
                    look(self, unit);
                    rest = after;
                }
            }
            None => {
                for at in memmem::find_iter(access_unit, b"\0\0\x01") {
                    look(self, &access_unit[at + 3..]);
                }
            }
        }
        pictures > 0 && disposable
    }

    fn read(&mut self, unit: &[u8]) -> Unit {
        let Some(&first) = unit.first() else { return Unit::Other };
        match self.codec {
            Codec::H264 => match first & 31 {
                1..=5 => Unit::Picture { disposable: first >> 5 & 3 == 0 },
                // Extensions in layers: left alone.
                14 | 20 | 21 => Unit::Picture { disposable: false },
                _ => Unit::Other,
            },
            Codec::H265 => self.read_h265(first, unit),
        }
    }

    fn read_h265(&mut self, first: u8, unit: &[u8]) -> Unit {
        const SPS: u8 = 33;
        let Some(&second) = unit.get(1) else { return Unit::Other };
        let (kind, temporal) = (first >> 1 & 63, (second & 7).saturating_sub(1));
        let layer = (first & 1) << 5 | second >> 3;
        match kind {
            0..=31 => {
                let unreferenced = kind < 16 && kind % 2 == 0;
                Unit::Picture { disposable: unreferenced && layer == 0 && self.top_layer == Some(temporal) }
            }
            SPS => {
                if let Some(byte) = unit.get(2) {
                    self.top_layer = Some(byte >> 1 & 7);
                }
                Unit::Other
            }
            _ => Unit::Other,
        }
    }
}

/// The unit behind a big-endian length, and what follows it.
fn split(bytes: &[u8], length_bytes: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(length_bytes)?;
    let length = length.iter().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lengths(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect()
    }

    fn start_codes(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [b"\0\0\x01", *unit].concat()).collect()
    }

    const AVCC: [u8; 7] = [1, 100, 0, 40, 0xff, 0xe1, 0];

    #[test]
    fn h264_goes_by_the_reference_field_of_every_slice() {
        let (sei, b_slice, p_slice) = (&[6, 1][..], &[1, 0x9a][..], &[0x41, 0x9a][..]);
        for (units, disposable) in [
            (vec![sei, b_slice], true),
            (vec![b_slice, b_slice], true),
            (vec![b_slice, p_slice], false),
            (vec![&[0x65, 0x88]], false),
            (vec![sei], false),
        ] {
            let mut with_lengths = Format::with_lengths(Codec::H264, &AVCC).unwrap();
            assert_eq!(with_lengths.is_disposable(&lengths(&units)), disposable, "{units:?}");
            let mut with_codes = Format::with_start_codes(Codec::H264);
            assert_eq!(with_codes.is_disposable(&start_codes(&units)), disposable, "{units:?}");
        }
    }

    #[test]
    fn h265_waits_for_the_number_of_layers_and_keeps_what_a_higher_one_may_need() {
        let unit = |kind: u8, layer: u8| [kind << 1, layer + 1];
        let (trail_n, trail_r, tsa_n) = (unit(0, 0), unit(1, 0), unit(2, 1));
        let mut format = Format::with_start_codes(Codec::H265);
        assert!(!format.is_disposable(&start_codes(&[&trail_n])), "layers unknown");
        assert!(!format.is_disposable(&start_codes(&[&[33 << 1, 1, 0], &trail_r])), "one layer, a reference");
        assert!(format.is_disposable(&start_codes(&[&trail_n])));
        assert!(!format.is_disposable(&start_codes(&[&[33 << 1, 1, 1 << 1]])), "two layers");
        assert!(!format.is_disposable(&start_codes(&[&trail_n])));
        assert!(format.is_disposable(&start_codes(&[&tsa_n])));
    }

    #[test]
    fn a_cut_access_unit_is_kept() {
        let mut format = Format::with_lengths(Codec::H264, &AVCC).unwrap();
        let whole = lengths(&[&[1, 0x9a, 3, 4]]);
        assert!(format.is_disposable(&whole));
        for cut in 0..whole.len() {
            assert!(!format.is_disposable(&whole[..cut]), "{cut} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for codec in [Codec::H264, Codec::H265] {
                Format::with_start_codes(codec).is_disposable(&bytes);
                if let Some(mut format) = Format::with_lengths(codec, &bytes) {
                    format.is_disposable(&bytes);
                }
            }
        }
    }
}
