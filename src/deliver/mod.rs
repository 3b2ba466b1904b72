//! Carries messages out of the box: to webhooks, to brokers and into folders.
//!
//! `payload`, `retry`, `sign`, `evidence` and `pace` are pure. `webhook`, `mqtt` and `localpath` each carry out one
//! delivery and say what came of it; the `guard` says whom they may reach; the `dispatcher` claims, lets them work in parallel, and records. Delivered means that the other side said so.

mod couriers;
mod dispatcher;
pub mod evidence;
mod guard;
mod localpath;
mod mqtt;
mod mqtt_topics;
mod pace;
pub mod payload;
mod resolve;
pub mod retry;
mod sign;
mod tls;
mod webhook;

pub use couriers::Couriers;
pub use dispatcher::{Dispatcher, DispatcherSettings, Waker};
pub use guard::{Guard, Refused};
pub use localpath::{LocalPathWriter, Written};
pub use resolve::{AddressQuestion, ResolveError, resolve};
pub use sign::{SecretError, Signer};
pub use webhook::{Webhook, WebhookError, WebhookSettings};

use std::time::Duration;

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// `after`: how long the other side asked to be left alone.
    Retry {
        after: Option<Duration>,
        reason: String,
    },
    /// Trying again cannot help.
    Dead {
        reason: String,
    },
    /// The other side is gone for good and wants nothing more.
    Gone {
        reason: String,
    },
}

impl Verdict {
    fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }

    fn dead(reason: impl Into<String>) -> Self {
        Self::Dead { reason: reason.into() }
    }
}
