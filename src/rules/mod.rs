//! Which faces are sent, when, and why the others are not. Pure: no IO, no clock, nothing that can fail; all time is
//! the stream's, so that a file analysed at full speed gives the same pictures as the same file played live.
//! docs/rules.md says the same in words and time lines.

mod appearance;
pub mod assign;
mod engine;
mod evidence;
mod filter;
mod kalman;
mod ledger;
pub mod measure;
pub mod quality;
mod tracker;
mod verdict;

pub use appearance::Appearance;
pub use engine::{Engine, Outcome, Sending, Shot, View};
pub use measure::{Measure, measure};
pub use quality::Quality;
pub use tracker::PATIENCE;
pub use verdict::{Note, Tally, Verdict, What};
