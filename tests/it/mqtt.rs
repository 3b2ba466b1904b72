//! Messages to a real Mosquitto, which is stopped and started again meanwhile.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use face_edge::domain::Message;
use face_edge::store::{DeliveryState, OutputConnection, OutputTarget};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::deliver::Sender;
use crate::messages::{face, origin, until};

/// Debian puts it where only root's path looks.
const PLACES: [&str; 2] = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"];

struct Broker {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Broker {
    /// `None`, and said so, where it is not installed. `more` goes into its configuration.
    fn new(more: &str) -> Option<Self> {
        let Some(_) = program() else {
            println!("skipped: mosquitto is not installed (Debian package mosquitto)");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Retained messages and sessions outlive a restart, as on a real site.
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\nautosave_interval 1\nuser root\n{more}\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { dir, port, child: None };
        broker.start();
        Some(broker)
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn start(&mut self) {
        let mut command = Command::new(program().unwrap());
        command.arg("-c").arg(self.path().join("mosquitto.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::SIGTERM).unwrap();
            child.wait().unwrap();
        }
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

fn program() -> Option<&'static str> {
    PLACES.into_iter().find(|place| Path::new(place).exists())
}

/// Topics and payloads, in order.
type Heard = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Hears everything by a client that is not ours.
struct Listener {
    heard: Heard,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Subscribed when it returns; comes back after the broker does.
    async fn start(port: u16) -> Self {
        let mut options = rumqttc::MqttOptions::new("listener", "127.0.0.1", port);
        options.set_max_packet_size(1 << 24, 1 << 24).set_clean_session(false);
        let (client, mut events) = rumqttc::AsyncClient::new(options, 16);
        let heard: Heard = Arc::default();
        let (into, ready) = (Arc::clone(&heard), Arc::new(tokio::sync::Notify::new()));
        let subscribed = Arc::clone(&ready);
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(rumqttc::Event::Incoming(rumqttc::Incoming::ConnAck(_))) => {
                        client.subscribe("#", rumqttc::QoS::AtLeastOnce).await.unwrap();
                    }
                    Ok(rumqttc::Event::Incoming(rumqttc::Incoming::SubAck(_))) => subscribed.notify_one(),
                    Ok(rumqttc::Event::Incoming(rumqttc::Incoming::Publish(message))) => {
                        into.lock().push((message.topic.clone(), message.payload.to_vec()));
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(20), ready.notified()).await.expect("subscribed in time");
        Self { heard, task }
    }

    fn last(&self, topic: &str) -> Option<Vec<u8>> {
        self.heard.lock().iter().rev().find(|(name, _)| name == topic).map(|(_, payload)| payload.clone())
    }

    /// Message ids in the order in which they were first heard.
    fn messages(&self, topic: &str) -> Vec<String> {
        let mut ids = Vec::new();
        for (name, payload) in self.heard.lock().iter() {
            if name == topic {
                let json: Value = serde_json::from_slice(payload).unwrap();
                let id = json["message_id"].as_str().unwrap().to_owned();
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        ids
    }
}

fn target(url: String, connection: OutputConnection) -> OutputTarget {
    let connection = Box::new(connection);
    OutputTarget::Mqtt { url, topic: "site".into(), discovery: true, connection, evidence: false }
}

fn base(message: &Message) -> String {
    format!("site/box-1/{}/gate-1", message.task_id())
}

fn id(message: &Message) -> String {
    message.id().to_string().to_uppercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_are_published_with_all_that_a_dashboard_wants() {
    let Some(broker) = Broker::new("") else { return };
    let listener = Listener::start(broker.port).await;
    let sender = Sender::start(None);
    let (face, frame) = (face(Uuid::from_u128(1), 1), origin());
    for message in [&face, &frame] {
        sender.send(message, target(broker.url(), OutputConnection::default())).await;
    }
    until("delivered", || sender.count(DeliveryState::Delivered) == 2).await;
    let base = base(&face);
    until("heard", || listener.messages(&format!("{base}/origin")).len() == 1).await;
    assert_eq!(listener.messages(&format!("{base}/face")), [id(&face)]);
    assert_eq!(listener.last(&format!("{base}/face/picture")).as_deref(), Some(&face.jpeg()[..]));
    assert_eq!(listener.last(&format!("{base}/faces")).as_deref(), Some(b"1".as_slice()));
    assert_eq!(listener.last("site/box-1/online").as_deref(), Some(b"online".as_slice()));

    let heard = listener.heard.lock().clone();
    let discovered = |component: &str| -> Value {
        let prefix = format!("homeassistant/{component}/");
        let config = heard.iter().find(|(topic, _)| topic.starts_with(&prefix) && topic.ends_with("/config"));
        serde_json::from_slice(&config.unwrap_or_else(|| panic!("no {component}")).1).unwrap()
    };
    assert_eq!(discovered("camera")["topic"], format!("{base}/origin/picture"));
    assert_eq!(discovered("image")["image_topic"], format!("{base}/face/picture"));
    assert_eq!(discovered("sensor")["state_topic"], format!("{base}/faces"));
    assert_eq!(discovered("binary_sensor")["state_topic"], "site/box-1/online");
    assert_eq!(discovered("image")["device"], discovered("camera")["device"]);

    // A late comer finds all but the messages.
    drop(listener);
    sender.dispatcher.stop().await;
    let late = Listener::start(broker.port).await;
    until("retained", || late.last("site/box-1/online").as_deref() == Some(b"offline".as_slice())).await;
    until("retained", || late.last(&format!("{base}/face/picture")).is_some()).await;
}

/// The service is not asked to stop: its connection is cut.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_will_says_that_the_box_is_gone() {
    let Some(broker) = Broker::new("") else { return };
    let listener = Listener::start(broker.port).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mqtt::child", "--ignored", "--nocapture"])
        .env("FACE_EDGE_TEST_MQTT", broker.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let delivered =
        tokio::task::spawn_blocking(move || lines.map_while(Result::ok).any(|line| line.contains("delivered")));
    assert!(delivered.await.unwrap());
    until("online", || listener.last("site/box-1/online").as_deref() == Some(b"online".as_slice())).await;
    child.kill().unwrap();
    child.wait().unwrap();
    until("offline", || listener.last("site/box-1/online").as_deref() == Some(b"offline".as_slice())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the_last_will_says_that_the_box_is_gone"]
async fn child() {
    let url = std::env::var("FACE_EDGE_TEST_MQTT").expect("run by its parent only");
    let sender = Sender::start(None);
    sender.send(&face(Uuid::from_u128(1), 1), target(url, OutputConnection::default())).await;
    until("delivered", || sender.count(DeliveryState::Delivered) == 1).await;
    println!("delivered");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_the_order_holds_while_the_broker_comes_and_goes() {
    let Some(mut broker) = Broker::new("") else { return };
    let listener = Listener::start(broker.port).await;
    let sender = Sender::start(None);
    let mut sent = Vec::new();
    for round in 0..4 {
        for seq in 1..=5 {
            for track in 1..=2 {
                let message = face(Uuid::from_u128(track), round * 5 + seq);
                sender.send(&message, target(broker.url(), OutputConnection::default())).await;
                sent.push(message);
            }
        }
        // In the middle of it.
        until("some delivered", || sender.count(DeliveryState::Delivered) > round as usize * 10 + 2).await;
        broker.stop();
        broker.start();
    }
    until("all delivered", || sender.count(DeliveryState::Delivered) == sent.len()).await;
    let topic = format!("{}/face", base(&sent[0]));
    until("all heard", || listener.messages(&topic).len() == sent.len()).await;
    let heard = listener.messages(&topic);
    for track in 1..=2 {
        let of_track = |message: &&Message| matches!(message, Message::Face(f) if f.face_id == Uuid::from_u128(track));
        let wanted: Vec<_> = sent.iter().filter(of_track).map(id).collect();
        let found: Vec<_> = heard.iter().filter(|id| wanted.contains(id)).cloned().collect();
        assert_eq!(found, wanted, "track {track}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_over_tls_with_an_account() {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &authority).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    for (name, pem) in [("ca.pem", authority.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(file(name), pem).unwrap();
    }
    let made = Command::new("mosquitto_passwd").args(["-b", "-c", &file("accounts"), "box@7", "s:cret"]).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: mosquitto_passwd is not installed (Debian package mosquitto)");
        return;
    }
    let tls_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let more = format!(
        "per_listener_settings true\nlistener {tls_port} 127.0.0.1\nallow_anonymous false\npassword_file {}\ncafile {}\ncertfile {}\nkeyfile {}",
        file("accounts"),
        file("ca.pem"),
        file("cert.pem"),
        file("key.pem")
    );
    // The first listener's settings stand before it is said that each has its own: say it first.
    let Some(mut broker) = Broker::new("") else { return };
    broker.stop();
    let config = format!("{more}\npersistence false\nuser root\n");
    std::fs::write(broker.path().join("mosquitto.conf"), config).unwrap();
    broker.start();

    let sender = Sender::start(None);
    let connection = OutputConnection { ca_file: Some(file("ca.pem")), ..Default::default() };
    let wrong = target(format!("mqtts://box%407:wrong@localhost:{tls_port}"), connection.clone());
    sender.send(&face(Uuid::from_u128(1), 1), wrong).await;
    let reason = sender.tried().await.reason.unwrap();
    assert!(!reason.contains("wrong") && !reason.contains("box"), "{reason}");
    let right = target(format!("mqtts://box%407:s%3Acret@localhost:{tls_port}"), connection);
    sender.send(&face(Uuid::from_u128(2), 1), right).await;
    until("delivered", || sender.count(DeliveryState::Delivered) == 1).await;
}
