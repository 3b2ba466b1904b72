//! Those who carry one message each to where it goes, each output at the pace that it was given.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Verdict;
use super::evidence::{Evidence, Notary};
use super::localpath::LocalPathWriter;
use super::mqtt::{Brokers, Publication};
use super::pace::Pace;
use super::webhook::{Call, Webhook};
use crate::clock;
use crate::domain::Message;
use crate::store::{Claimed, OutputTarget};

pub struct Couriers {
    webhook: Webhook,
    brokers: Brokers,
    notary: Notary,
    /// One a mount: it numbers the files.
    writers: Mutex<HashMap<PathBuf, Arc<LocalPathWriter>>>,
    pace: Mutex<Pace>,
}

impl Couriers {
    /// `evidence_seed`: by which the box signs evidence.
    pub fn new(webhook: Webhook, evidence_seed: &[u8; 32]) -> Self {
        let brokers = Brokers::new(webhook.guard().clone());
        let notary = Notary::new(evidence_seed);
        Self { webhook, brokers, notary, writers: Mutex::default(), pace: Mutex::default() }
    }

    pub async fn deliver(&self, claimed: &Claimed) -> Verdict {
        if let Some(kbit_s) = claimed.target.max_kbit_s() {
            let bytes = size_on_the_line(claimed);
            let wait = self.pace.lock().take(claimed.output, bytes, kbit_s, clock::monotonic());
            tokio::time::sleep(wait).await;
        }
        let message = &claimed.message;
        let evidence = claimed.link.map(|link| self.notary.attest(&link, message));
        match &*claimed.target {
            OutputTarget::Webhook { url, headers, options } => {
                let call = Call {
                    url,
                    headers,
                    options,
                    message,
                    evidence: evidence.as_ref(),
                    picture_until: claimed.picture_until,
                };
                self.webhook.deliver(call, clock::unix_ms()).await
            }
            OutputTarget::LocalPath { mount, .. } => self.write(Path::new(mount), Arc::clone(message), evidence).await,
            OutputTarget::Mqtt { url, topic, discovery, connection, .. } => {
                let publication =
                    Publication { url, topic, discovery: *discovery, connection, message, evidence: evidence.as_ref() };
                self.brokers.deliver(publication).await
            }
        }
    }

    async fn write(&self, mount: &Path, message: Arc<Message>, evidence: Option<Evidence>) -> Verdict {
        let writer = match self.writer(mount) {
            Ok(writer) => writer,
            Err(error) => return Verdict::dead(error.to_string()),
        };
        match tokio::task::spawn_blocking(move || writer.write_proved(&message, evidence.as_ref())).await {
            Ok(Ok(_)) => Verdict::Delivered,
            Ok(Err(error)) => Verdict::retry(error.to_string()),
            Err(_) => Verdict::retry("writing the files ended by a panic"),
        }
    }

    fn writer(&self, mount: &Path) -> std::io::Result<Arc<LocalPathWriter>> {
        let mut writers = self.writers.lock();
        if let Some(writer) = writers.get(mount) {
            return Ok(Arc::clone(writer));
        }
        let writer = Arc::new(LocalPathWriter::new(mount)?);
        writers.insert(mount.to_owned(), Arc::clone(&writer));
        Ok(writer)
    }
}

/// About: what stands around the picture is small.
fn size_on_the_line(claimed: &Claimed) -> usize {
    const AROUND_BYTES: usize = 1_500;
    let picture = claimed.message.jpeg().len();
    AROUND_BYTES
        + match &*claimed.target {
            target if target.is_thin() => 0,
            OutputTarget::Webhook { options, .. } if options.form == crate::store::Form::Multipart => picture,
            OutputTarget::Mqtt { .. } => picture + picture.div_ceil(3) * 4,
            _ => picture.div_ceil(3) * 4,
        }
}
