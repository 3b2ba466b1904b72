//! What a simulated camera can do wrong, and how that is written on a command line.

use std::str::FromStr;
use std::time::Duration;

use super::camera::SimError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    Drop,
    Refuse,
    Hang,
    Lock,
    Gone,
    Sound,
    Codec,
    NoKey,
    Freeze,
    Still,
    Change,
    Recode,
    Ahead,
    Back,
    Well,
}

impl FaultKind {
    /// Each with its name and what it does.
    pub const ALL: [(Self, &str, &str); 15] = [
        (Self::Drop, "drop", "cuts all connections, once"),
        (Self::Refuse, "refuse", "cuts all connections and takes no new one"),
        (Self::Hang, "hang", "cuts all connections, takes new ones and answers nothing"),
        (Self::Lock, "lock", "cuts all connections and asks for another password"),
        (Self::Gone, "gone", "cuts all connections; nothing is found at the paths any more"),
        (Self::Sound, "sound", "cuts all connections; the paths have sound only"),
        (Self::Codec, "codec", "cuts all connections; the paths have a video that nobody can decode"),
        (Self::NoKey, "nokey", "cuts all connections; the paths have no key frames any more"),
        (Self::Freeze, "freeze", "sends nothing any more, connections stay"),
        (Self::Still, "still", "sends one picture again and again"),
        (Self::Change, "change", "goes on with the next video of the same codec, in mid-stream"),
        (Self::Recode, "recode", "cuts all connections; each path goes on with the next video of another codec"),
        (Self::Ahead, "ahead", "lets the stream's time jump ahead by an hour"),
        (Self::Back, "back", "lets the stream's time jump back by a minute"),
        (Self::Well, "well", "ends refuse, hang, lock, gone, sound, codec, nokey, freeze and still"),
    ];

    pub(super) const fn cuts(self) -> bool {
        !matches!(self, Self::Freeze | Self::Still | Self::Change | Self::Ahead | Self::Back | Self::Well)
    }

    /// For an error: all names in one sentence.
    pub(super) fn names() -> String {
        Self::ALL.map(|(_, name, _)| name).join(", ")
    }

    /// For a command's help: a line each.
    pub fn help() -> String {
        Self::ALL.map(|(_, name, what)| format!("  {name:<7} {what}")).join("\n")
    }
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
        let (kind, _, _) = FaultKind::ALL.into_iter().find(|(_, name, _)| *name == kind).ok_or_else(fail)?;
        let secs: f64 = secs.parse().map_err(|_| fail())?;
        Ok(Self { kind, after: Duration::try_from_secs_f64(secs).map_err(|_| fail())? })
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
            assert!(error.contains(bad) && error.contains("drop@10") && error.contains("nokey"), "{error}");
        }
    }

    #[test]
    fn every_fault_can_be_written() {
        for (kind, name, _) in FaultKind::ALL {
            assert_eq!(format!("{name}@1").parse::<TimedFault>().unwrap().kind, kind);
        }
    }
}
