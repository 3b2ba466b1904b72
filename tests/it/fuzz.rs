//! Broken bodies for whatever reads what strangers send: XML, BSON, multipart and searches. From good bodies, by random
//! changes that know a little of each format; two seconds each, `FACE_EDGE_FUZZ_SECONDS` for more, `FACE_EDGE_FUZZ_SEED`
//! for the same once more. What crashed is shown in hex. Not steered by coverage: that needs a nightly compiler, and this
//! runs wherever the tests do.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use bson::doc;
use face_edge::clock;
use face_edge::gate_wire::{self, ADD, Format, SYNC, TOTAL_SCAN};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::support::faces::{FacesApp, TOKEN, picture};

/// The longest that one body may take: nothing here may be quadratic in what a body can hold.
const SLOW: Duration = Duration::from_secs(2);

fn time() -> Duration {
    let seconds = std::env::var("FACE_EDGE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

struct Changes {
    chance: StdRng,
    seeds: Vec<Vec<u8>>,
    words: &'static [&'static [u8]],
}

impl Changes {
    fn new(name: &str, seeds: Vec<Vec<u8>>, words: &'static [&'static [u8]]) -> Self {
        let seed =
            std::env::var("FACE_EDGE_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
        println!("{name}: seed {seed}");
        Self { chance: StdRng::seed_from_u64(seed), seeds, words }
    }

    fn next(&mut self) -> Vec<u8> {
        let mut body = self.seeds.choose(&mut self.chance).unwrap().clone();
        for _ in 0..self.chance.random_range(1..8) {
            self.change(&mut body);
        }
        body.truncate(1 << 16);
        body
    }

    fn change(&mut self, body: &mut Vec<u8>) {
        let chance = &mut self.chance;
        let at = chance.random_range(0..=body.len());
        let end = (at + chance.random_range(0..40)).min(body.len());
        match chance.random_range(0..9) {
            0 if at < body.len() => body[at] ^= 1 << chance.random_range(0..8),
            1 if at < body.len() => {
                body[at] = *[0, 0xff, 0x7f, 0x80, b'<', b'&', b'"', b'-', b'\n'].choose(chance).unwrap()
            }
            2 => body.truncate(at),
            3 => drop(body.drain(at..end)),
            4 => {
                let part = body[at..end].to_vec();
                let times = chance.random_range(1..30);
                body.splice(at..at, part.repeat(times));
            }
            5 | 6 => {
                let word = self.words.choose(chance).unwrap();
                let times = if chance.random_bool(0.1) { 200 } else { 1 };
                body.splice(at..at, word.repeat(times));
            }
            7 if end - at >= 4 => {
                // A length, as BSON has them.
                let number = *[0i32, -1, 1, 4, i32::MAX, i32::MIN, 5, body.len() as i32].choose(chance).unwrap();
                body[at..at + 4].copy_from_slice(&number.to_le_bytes());
            }
            _ => {
                let other = self.seeds.choose(chance).unwrap();
                let from = chance.random_range(0..=other.len());
                body.truncate(at);
                body.extend_from_slice(&other[from..]);
            }
        }
    }
}

fn hex(body: &[u8]) -> String {
    body.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn readers(name: &str, format: Format, mut changes: Changes) {
    let (begun, mut bodies, mut good) = (clock::monotonic(), 0u64, 0u64);
    while begun.elapsed() < time() {
        for _ in 0..100 {
            let body = changes.next();
            let one = clock::monotonic();
            let read = std::panic::catch_unwind(|| {
                [TOTAL_SCAN, ADD, SYNC].map(|names| gate_wire::read(format, names, &body).is_ok())
            });
            let read = read.unwrap_or_else(|_| panic!("{name}: a panic on {}", hex(&body)));
            assert!(one.elapsed() < SLOW, "{name}: slow on {}", hex(&body));
            bodies += 1;
            good += u64::from(read.contains(&true));
        }
    }
    println!("{name}: {bodies} bodies, {good} of them good");
    assert!(good > 0 && good < bodies, "changes reach both ends");
}

#[test]
fn xml() {
    let ns = "http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Parm";
    let seeds = vec![
        format!(
            "<?xml version=\"1.0\"?><BiometricTotalScanParm xmlns=\"{ns}\"><firstlbsbh>T&amp;1</firstlbsbh><gatenum>0001</gatenum></BiometricTotalScanParm>"
        ),
        format!(
            "<p:BiometricAddParm xmlns:p=\"{ns}\" xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"><p:gates xmlns:a=\"u\"><a:string>0001</a:string></p:gates><p:image i:nil=\"true\"/></p:BiometricAddParm>"
        ),
        "<BiometricSyncParm><gatenum><![CDATA[0001]]></gatenum><!-- c --><x><y>&#49;</y></x></BiometricSyncParm>"
            .to_owned(),
    ];
    let words: &[&[u8]] = &[
        b"<a>",
        b"</a>",
        b"<gatenum>",
        b"</gatenum>",
        b"&lt;",
        b"&#x110000;",
        b"&#0;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"-->",
        b"<!DOCTYPE a [<!ENTITY x 'y'>]>",
        b"&x;",
        b"xmlns:q=\"u\"",
        b" q:nil=\"true\"",
        b"<?pi",
        b"?>",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
    ];
    readers("xml", Format::Xml, Changes::new("xml", seeds.into_iter().map(String::into_bytes).collect(), words));
}

#[test]
fn bson() {
    let seeds = vec![
        doc! {"gatenum": "0001", "firstlbsbh": "T1"}.to_vec().unwrap(),
        doc! {"gates": ["0001", 5, bson::Bson::Null], "image": "AAAA", "deep": {"a": {"b": [1.5, true]}}}
            .to_vec()
            .unwrap(),
        doc! {"lastsuccessindex": 5i64, "validto": bson::DateTime::from_millis(1), "gatenum": 7}.to_vec().unwrap(),
    ];
    let words: &[&[u8]] = &[
        b"\x02gatenum\0\x05\0\0\x000001\0",
        b"\x03a\0\x05\0\0\0\0",
        b"\x04gates\0",
        b"\0",
        b"\x13d\0",
        b"\x05b\0\xff\xff\xff\x7f\0",
        b"\x0ba\0b\0c\0",
        b"\x03\0\0\0",
        b"\xff",
    ];
    readers("bson", Format::Bson, Changes::new("bson", seeds, words));
}

/// Through the real router: a panic there is answered with 500.
fn requests(name: &str, mut changes: Changes, request: impl Fn(Vec<u8>) -> Request<Body>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = FacesApp::new();
    let (begun, mut bodies, mut good) = (clock::monotonic(), 0u64, 0u64);
    while begun.elapsed() < time() {
        let body = changes.next();
        let one = clock::monotonic();
        let answer = runtime.block_on(app.send(request(body.clone())));
        assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{name}: {} on {}", answer.text(), hex(&body));
        assert!(one.elapsed() < SLOW, "{name}: slow on {}", hex(&body));
        bodies += 1;
        let done = answer.status == StatusCode::OK && answer.json()["status"] != 515;
        good += u64::from(done);
    }
    println!("{name}: {bodies} bodies, {good} of them good");
    assert!(good > 0 && good < bodies, "changes reach both ends: {good} of {bodies}");
}

#[test]
fn multipart() {
    let part = |name: &str, body: &[u8]| {
        let head = format!(
            "--XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\nContent-Type: image/jpeg\r\n\r\n"
        );
        [head.as_bytes(), body, b"\r\n"].concat()
    };
    let meta = br#"{"space":"0","create_new":true,"images":[{"name":"a","person_id":1},{"name":"b","person_id":2}]}"#;
    let (small, end) = (picture(1, [9, 99, 199]), b"--XX--\r\n".to_vec());
    let seeds = vec![
        [part("meta", meta), part("a", &small), part("b", &small), end.clone()].concat(),
        [part("a", &small), part("b", b"x"), part("meta", meta), end.clone()].concat(),
        [part("meta", br#"{"space":"1"}"#), end].concat(),
    ];
    let words: &[&[u8]] = &[
        b"--XX",
        b"--XX--",
        b"\r\n",
        b"\r\n\r\n",
        b"name=\"meta\"",
        b"name=\"\"",
        b"Content-Disposition:",
        b";",
        b"\"",
        b"{",
        b"\"images\":",
        b"null",
        b"1e999",
        b"filename*=UTF-8''%ff",
        b"\0",
    ];
    let changes = Changes::new("multipart", seeds, words);
    let turn = std::cell::Cell::new(0usize);
    requests("multipart", changes, move |body| {
        turn.set(turn.get() + 1);
        let call = ["set", "delete", "recognize", "truncate"][turn.get() % 4];
        Request::post(format!("/api/v1/persons/{call}?oauth_provider=mcs&oauth_token={TOKEN}"))
            .header("content-type", "multipart/form-data; boundary=XX")
            .body(Body::from(body))
            .unwrap()
    });
}

#[test]
fn querys() {
    let seeds: Vec<Vec<u8>> = [
        r#"{"querys":[{"name":"sn","op":"like","values":["%A_"]},{"name":"status","op":"=","values":[0,1]}],"sorts":[{"name":"regDate","order":"DESC"}]}"#,
        r#"{"querys":[{"name":"concurrentNumber","op":">=","values":[4]},{"name":"regDate","op":"<","values":["2030-01-01 00:00:00"]}]}"#,
        r#"{"querys":[],"sorts":[{"name":"sn"}]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let words: &[&[u8]] = &[
        b"\"querys\":",
        b"\"op\":\"!=\"",
        b"\"values\":[]",
        b"null",
        b"[",
        b"]",
        b"{",
        b"}",
        b"-1",
        b"1e400",
        b"\"%%%%%%%%%%%%\"",
        b"'; DROP TABLE sns; --",
        b"\\u0000",
        b"\\ud800",
        b"99999999999999999999",
        b"\"in\"",
        b"\"productName\"",
    ];
    let changes = Changes::new("querys", seeds, words);
    requests("querys", changes, |body| {
        Request::post("/bitanswer/api/sns/data")
            .header("bitkey", TOKEN)
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap()
    });
}
