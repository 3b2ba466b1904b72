//! The fields of a call, checked; every fault at once.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::domain::{UnixMs, Validity};
use crate::gate_wire::{Faults, Sent};
use crate::zone::Zone;

pub const GATENUM_CHARS: usize = 4;
pub const LBSBH_CHARS: usize = 32;
const NAME_CHARS: usize = 64;
const IMAGE_CHARS: usize = 2_097_152;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads fields and notes what is wrong with them.
pub struct Reading<'a> {
    sent: &'a Sent,
    pub faults: Faults,
}

impl<'a> Reading<'a> {
    pub fn new(sent: &'a Sent) -> Self {
        Self { sent, faults: Faults::new() }
    }

    pub fn gatenum(&mut self) -> String {
        let gatenum = self.sent.text("gatenum").unwrap_or_default();
        if gatenum.is_empty() {
            self.faults.push(("parm.gatenum", "The gatenum field is required.".to_owned()));
        } else if !is_gatenum(gatenum) {
            self.faults.push(("parm.gatenum", wrong_gatenum("gatenum")));
        }
        gatenum.to_owned()
    }

    /// Empty where it is left out.
    pub fn first_lbsbh(&mut self) -> String {
        let first = self.sent.text("firstlbsbh").unwrap_or_default();
        if first.chars().count() > LBSBH_CHARS {
            let message = format!("The field firstlbsbh must be a string with a maximum length of {LBSBH_CHARS}.");
            self.faults.push(("parm.firstlbsbh", message));
        }
        first.to_owned()
    }

    pub fn lbsbh(&mut self) -> String {
        let lbsbh = self.sent.text("lbsbh").unwrap_or_default();
        let count = lbsbh.chars().count();
        if count == 0 {
            self.faults.push(("parm.lbsbh", "The lbsbh field is required.".to_owned()));
        } else if count > LBSBH_CHARS || lbsbh.chars().any(is_unwritable) {
            let message = format!(
                "The field lbsbh must be a string with a maximum length of {LBSBH_CHARS}, without control characters."
            );
            self.faults.push(("parm.lbsbh", message));
        }
        lbsbh.to_owned()
    }

    pub fn name(&mut self) -> String {
        let name = self.sent.text("name").unwrap_or_default();
        if !(1..=NAME_CHARS).contains(&name.chars().count()) || name.chars().any(is_unwritable) {
            let message = format!("The field name must be a string with a length of 1 to {NAME_CHARS}.");
            self.faults.push(("parm.name", message));
        }
        name.to_owned()
    }

    /// 0 where it is left out.
    pub fn last_success_index(&mut self) -> i64 {
        let text = self.sent.text("lastsuccessindex").unwrap_or_default();
        let index = if text.is_empty() { Some(0) } else { text.parse().ok().filter(|index: &i64| *index >= 0) };
        if index.is_none() {
            let message = "The field lastsuccessindex must be a whole number of at least 0.".to_owned();
            self.faults.push(("parm.lastsuccessindex", message));
        }
        index.unwrap_or(0)
    }

    /// Empty: all.
    pub fn gates(&mut self) -> Vec<String> {
        let gates: Vec<String> = self.sent.list("gates").iter().filter(|gate| !gate.is_empty()).cloned().collect();
        if !gates.iter().all(|gate| is_gatenum(gate)) {
            self.faults.push(("parm.gates", wrong_gatenum("gates")));
        }
        gates
    }

    pub fn image(&mut self) -> Vec<u8> {
        let text = self.sent.text("image").unwrap_or_default();
        let decoded = if text.len() > IMAGE_CHARS { None } else { BASE64.decode(text).ok() };
        let message = match decoded {
            _ if text.is_empty() => "The image field is required.".to_owned(),
            Some(bytes) => return bytes,
            None if text.len() > IMAGE_CHARS => {
                format!("The field image must be a string with a maximum length of {IMAGE_CHARS}.")
            }
            None => "The field image must be a picture in base64.".to_owned(),
        };
        self.faults.push(("parm.image", message));
        Vec::new()
    }

    /// From now on where `validfrom` is left out.
    pub fn validity(&mut self, zone: Zone, now: UnixMs) -> Validity {
        let from = self.time("validfrom", "parm.validfrom", zone, false).unwrap_or(now);
        if self.sent.text("validto").unwrap_or_default().is_empty() {
            self.faults.push(("parm.validto", "The validto field is required.".to_owned()));
        }
        let to = self.time("validto", "parm.validto", zone, true).unwrap_or(now);
        let from_given = !self.sent.text("validfrom").unwrap_or_default().is_empty();
        if from_given && to < from {
            self.faults.push(("parm.validto", "The field validto must not lie before validfrom.".to_owned()));
        }
        Validity { from: from.min(to), to }
    }

    fn time(&mut self, name: &str, key: &'static str, zone: Zone, end: bool) -> Option<UnixMs> {
        let text = self.sent.text(name).filter(|text| !text.is_empty())?;
        let time = zone.parse_time(text.trim(), end);
        if time.is_none() {
            self.faults.push((key, format!("The field {name} must be a time such as 2026-05-01 18:00:00.")));
        }
        time
    }
}

fn is_gatenum(text: &str) -> bool {
    text.chars().count() == GATENUM_CHARS && !text.chars().any(is_unwritable)
}

fn wrong_gatenum(field: &str) -> String {
    format!("The field {field} must be a string with a length of {GATENUM_CHARS}.")
}

/// Not every format can carry it.
fn is_unwritable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')
}
