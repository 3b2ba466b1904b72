//! Messages to an MQTT broker, QoS 1: delivered means that the broker's PUBACK for the message came back.
//!
//! One task owns a broker's connection and has one publication under way at a time, so an acknowledgement is never
//! taken for another's. The client's own memory is not relied on: after a broken connection it is thrown away, and the
//! outbox sends again. Beside the messages stands what dashboards want to find at any time, retained: whether the box
//! is there (its last will says when it is not), the last picture, the number of faces, and Home Assistant's discovery.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, LastWill, MqttOptions, Outgoing, QoS, Transport};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use super::Verdict;
use super::evidence::Evidence;
use super::guard::Guard;
use super::mqtt_topics::{Announcement, Topics, online_topic};
use super::payload;
use super::tls::TlsKey;
use crate::domain::{Message, evidence};
use crate::store::OutputConnection;

const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// From a publication to its acknowledgement, and from a connection's begin to its being there.
const PATIENCE: Duration = Duration::from_secs(30);
/// A 4K frame in base64, with room.
const LARGEST_PACKET_BYTES: usize = 64 << 20;
/// Jobs that wait for a broker: the dispatcher's own bound is lower.
const WAITING: usize = 64;

/// One message on its way to one broker.
pub struct Publication<'a> {
    pub url: &'a str,
    pub topic: &'a str,
    pub discovery: bool,
    pub connection: &'a OutputConnection,
    pub message: &'a Arc<Message>,
    pub evidence: Option<&'a Evidence>,
}

/// All brokers that are in use.
pub struct Brokers {
    guard: Guard,
    lines: Mutex<HashMap<LineKey, mpsc::Sender<Job>>>,
}

/// A connection has one last will, so each prefix and node has its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LineKey {
    url: String,
    prefix: String,
    node_id: String,
    tls: TlsKey,
}

struct Job {
    message: Arc<Message>,
    body: String,
    discovery: bool,
    reply: oneshot::Sender<Result<(), String>>,
}

impl Brokers {
    pub fn new(guard: Guard) -> Self {
        Self { guard, lines: Mutex::default() }
    }

    pub async fn deliver(&self, publication: Publication<'_>) -> Verdict {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            message: Arc::clone(publication.message),
            body: payload::inline(publication.message, publication.evidence),
            discovery: publication.discovery,
            reply,
        };
        let key = LineKey {
            url: publication.url.to_owned(),
            prefix: publication.topic.to_owned(),
            node_id: node_id(publication.message).to_owned(),
            tls: TlsKey::of(publication.connection),
        };
        if self.line(key).send(job).await.is_err() {
            return Verdict::retry("the connection to the broker ended");
        }
        match answer.await {
            Ok(Ok(())) => Verdict::Delivered,
            Ok(Err(reason)) => Verdict::retry(reason),
            Err(_) => Verdict::retry("the connection to the broker ended"),
        }
    }

    fn line(&self, key: LineKey) -> mpsc::Sender<Job> {
        let mut lines = self.lines.lock();
        // A renewed certificate makes a new line; the old one ends with its sender.
        lines.retain(|other, line| !line.is_closed() && (other.tls == key.tls || other.url != key.url));
        let start = || {
            let (sender, jobs) = mpsc::channel(WAITING);
            tokio::spawn(serve(key.clone(), self.guard.clone(), jobs));
            sender
        };
        lines.entry(key.clone()).or_insert_with(start).clone()
    }
}

fn node_id(message: &Message) -> &str {
    match message {
        Message::Face(face) => &face.node_id,
        Message::Origin(origin) => &origin.node_id,
    }
}

/// Faces that were counted, for each stream; outlives connections.
type Counts = HashMap<String, u64>;

async fn serve(key: LineKey, guard: Guard, mut jobs: mpsc::Receiver<Job>) {
    let mut counts = Counts::new();
    while let Some(job) = jobs.recv().await {
        match Line::connect(&key, &guard).await {
            Ok(line) => line.carry_on(job, &mut jobs, &mut counts).await,
            Err(reason) => {
                job.reply.send(Err(reason)).ok();
            }
        }
    }
}

/// A connection that is up.
struct Line<'a> {
    key: &'a LineKey,
    client: AsyncClient,
    events: EventLoop,
    announced: HashSet<String>,
}

impl<'a> Line<'a> {
    async fn connect(key: &'a LineKey, guard: &Guard) -> Result<Self, String> {
        let (client, events) = AsyncClient::new(options(key, guard).await?, 1);
        let mut line = Self { key, client, events, announced: HashSet::new() };
        let connected = async {
            loop {
                if let Event::Incoming(Incoming::ConnAck(_)) = line.poll().await? {
                    return Ok::<(), String>(());
                }
            }
        };
        let too_late = || "the broker did not answer in time".to_owned();
        tokio::time::timeout(PATIENCE, connected).await.map_err(|_| too_late())??;
        line.publish(&online_topic(&key.prefix, &key.node_id), true, b"online".to_vec()).await?;
        Ok(line)
    }

    /// Until the connection breaks or nobody sends any more.
    async fn carry_on(mut self, first: Job, jobs: &mut mpsc::Receiver<Job>, counts: &mut Counts) {
        let mut next = Some(first);
        loop {
            if let Some(job) = next.take() {
                let sent = self.send(&job, counts).await;
                let broken = sent.is_err();
                job.reply.send(sent).ok();
                if broken {
                    return;
                }
            }
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => next = Some(job),
                    None => return self.leave().await,
                },
                // Answers the broker's pings.
                event = self.events.poll() => if let Err(error) = event {
                    tracing::info!(%error, "the connection to a broker broke");
                    return;
                },
            }
        }
    }

    /// What is retained first, the message last: when it is acknowledged, everything is.
    async fn send(&mut self, job: &Job, counts: &mut Counts) -> Result<(), String> {
        let topics = Topics::of(&self.key.prefix, &job.message);
        for announcement in Announcement::of(&topics, &job.message).into_iter().filter(|_| job.discovery) {
            if !self.announced.contains(&announcement.topic) {
                self.publish(&announcement.topic, true, announcement.json.into_bytes()).await?;
                self.announced.insert(announcement.topic);
            }
        }
        self.publish(&topics.picture(), true, job.message.jpeg().to_vec()).await?;
        let count = counts.get(&topics.base).copied().unwrap_or(0);
        let count = count + u64::from(matches!(&*job.message, Message::Face(face) if face.seq == 1));
        if matches!(&*job.message, Message::Face(_)) {
            self.publish(&topics.count(), true, count.to_string().into_bytes()).await?;
        }
        self.publish(&topics.message(), false, job.body.clone().into_bytes()).await?;
        counts.insert(topics.base, count);
        Ok(())
    }

    /// Returns when the broker has acknowledged it.
    async fn publish(&mut self, topic: &str, retain: bool, payload: Vec<u8>) -> Result<(), String> {
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload).map_err(|error| error.to_string())?;
        let acknowledged = async {
            let mut sent = None;
            loop {
                match self.poll().await? {
                    Event::Outgoing(Outgoing::Publish(id)) => sent = Some(id),
                    Event::Incoming(Incoming::PubAck(ack)) if sent == Some(ack.pkid) => return Ok::<(), String>(()),
                    Event::Incoming(Incoming::ConnAck(_)) => return Err("the connection broke".to_owned()),
                    _ => {}
                }
            }
        };
        let late = |_: tokio::time::error::Elapsed| "the broker did not acknowledge in time".to_owned();
        tokio::time::timeout(PATIENCE, acknowledged).await.map_err(late)?
    }

    async fn poll(&mut self) -> Result<Event, String> {
        self.events.poll().await.map_err(|error| format!("no connection to the broker ({error})"))
    }

    /// In order, so without the last will: says itself that it goes.
    async fn leave(mut self) {
        let topic = online_topic(&self.key.prefix, &self.key.node_id);
        if self.publish(&topic, true, b"offline".to_vec()).await.is_ok() && self.client.try_disconnect().is_ok() {
            // Whatever comes of it: the connection ends either way.
            self.poll().await.ok();
        }
    }
}

async fn options(key: &LineKey, guard: &Guard) -> Result<MqttOptions, String> {
    let url = Url::parse(&key.url).map_err(|_| "the broker's address is not valid".to_owned())?;
    let tls = url.scheme() == "mqtts";
    let host = url.host_str().ok_or("the broker's address names no host")?;
    let port = url.port().unwrap_or(if tls { 8883 } else { 1883 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses =
        guard.resolve(bare, port).await.map_err(|error| format!("no connection to the broker ({error})"))?;
    let first = addresses.first().ok_or("the broker's name leads to no address")?.ip();
    // Pinned to the address that was judged; under TLS the certificate's name has to fit, which does the same.
    let pinned = if first.is_ipv6() { format!("[{first}]") } else { first.to_string() };
    let mut options = MqttOptions::new(client_id(key), if tls { host.to_owned() } else { pinned }, port);
    let will = LastWill::new(online_topic(&key.prefix, &key.node_id), "offline", QoS::AtLeastOnce, true);
    options
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_session(true)
        .set_inflight(1)
        .set_max_packet_size(LARGEST_PACKET_BYTES, LARGEST_PACKET_BYTES)
        .set_last_will(will);
    if tls {
        let config = key.tls.config()?;
        options.set_transport(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(Arc::new(config))));
    }
    if !url.username().is_empty() {
        options.set_credentials(decoded(url.username()), decoded(url.password().unwrap_or_default()));
    }
    Ok(options)
}

/// The same at every start, another for each box and prefix.
fn client_id(key: &LineKey) -> String {
    let hash = evidence::sha256(format!("{} {} {}", key.url, key.prefix, key.node_id).as_bytes());
    format!("face-edge-{}", evidence::hex(&hash[..6]))
}

/// `%40` and the like as the characters that they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, code.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_decoded() {
        for (text, plain) in [("user", "user"), ("a%40b", "a@b"), ("100%", "100%"), ("%zz%41", "%zzA")] {
            assert_eq!(decoded(text), plain);
        }
    }
}
