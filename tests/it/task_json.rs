//! Task bodies: what is taken, what is refused and with which words, and that hostile ones do no harm.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use face_edge::cli::check::{Args, run};
use face_edge::domain::{Category, Repeat, Source, TaskId};
use face_edge::task_json::{TaskProblem, TaskSpec, check_roi_in_frame, describe};
use proptest::prelude::*;
use serde_json::{Value, json};

const SAMPLE: &str = include_str!("../golden/task-create.json");

fn sample() -> Value {
    serde_json::from_str(SAMPLE).unwrap()
}

/// The sample with the value at `pointer` replaced, or taken out where `value` is `None`.
fn with(pointer: &str, value: Option<Value>) -> Value {
    let mut body = sample();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match (body.pointer_mut(parent).expect("the sample has the parent"), value) {
        (Value::Object(map), Some(value)) => drop(map.insert(key.to_owned(), value)),
        (Value::Object(map), None) => drop(map.shift_remove(key)),
        (Value::Array(list), Some(value)) => list.push(value),
        (parent, _) => panic!("{pointer} in {parent}"),
    }
    body
}

fn faults(body: Value) -> Vec<String> {
    match TaskSpec::from_value(body) {
        Err(TaskProblem::Invalid(faults)) => faults.iter().map(ToString::to_string).collect(),
        other => panic!("expected invalid fields, got {other:?}"),
    }
}

/// Exactly one fault, which reads like this.
#[track_caller]
fn refused(pointer: &str, value: Value, expected: &str) {
    let faults = faults(with(pointer, Some(value)));
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with(expected), "got {}\nexpected {expected}", faults[0]);
}

#[track_caller]
fn accepted(pointer: &str, value: Value) -> TaskSpec {
    TaskSpec::from_value(with(pointer, Some(value))).unwrap()
}

fn common(key: &str) -> String {
    format!("/service_config/common/{key}")
}

fn id(n: u128) -> TaskId {
    TaskId::from_uuid(uuid::Uuid::from_u128(n))
}

#[test]
fn the_sample_means_what_it_says() {
    let spec = TaskSpec::parse(SAMPLE.as_bytes()).unwrap();
    let tasks = spec.tasks([id(1)]);
    assert_eq!(tasks.len(), 1);
    let task = &tasks[0];
    assert_eq!(task.source, Source::Url { url: "rtsp://127.0.0.1:8554/cam0".into() });
    assert_eq!((task.rules.min_size_px, task.rules.max_size_px), (120.0, 800.0));
    assert_eq!(task.rules.repeat, Repeat::Period { interval: Duration::from_secs(1) });
    assert_eq!(task.rules.roi.polygons[0].area(), 1700.0 * 900.0);
    let webhook = task.outputs.webhook.as_ref().unwrap();
    assert_eq!(webhook.categories, [Category::FaceImage, Category::OriginImage]);
    assert_eq!(webhook.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    assert_eq!(spec.raw(), &sample());
}

#[test]
fn the_shared_sample_is_taken() {
    let Some(text) = shared("task-sample.json") else { return };
    let spec = TaskSpec::parse(&text).unwrap();
    assert_eq!(spec.raw(), &serde_json::from_slice::<Value>(&text).unwrap());
}

#[test]
fn a_body_whose_roi_lost_its_backslashes_is_refused_with_the_position() {
    let text = SAMPLE.replace("\\\"", "\"");
    let line = 1 + text[..text.find("\"{\"").unwrap()].matches('\n').count();
    let problem = TaskSpec::parse(text.as_bytes()).unwrap_err();
    let TaskProblem::NotJson { line: found, column, expected } = &problem else { panic!("{problem:?}") };
    assert_eq!((*found, *column), (line, text.lines().nth(line - 1).unwrap().find("polygons").unwrap() + 1));
    assert!(expected.starts_with("expected `,` or `}`") && expected.contains("each quotation mark"), "{expected}");
    assert_eq!(
        problem.lines("t.json", text.as_bytes())[0].split(": ").next().unwrap(),
        format!("t.json:{line}:{column}")
    );
}

#[test]
fn the_shared_broken_answer_is_refused_with_the_position() {
    let Some(text) = shared("tasks-response.broken.json") else { return };
    let problem = TaskSpec::parse(&text).unwrap_err();
    assert!(matches!(problem, TaskProblem::NotJson { line: 48, column: 28, .. }), "{problem:?}");
}

#[test]
fn optional_fields_have_the_documented_defaults() {
    let spec = TaskSpec::from_value(with("/service_config", None)).unwrap();
    let rules = &spec.rules;
    assert_eq!((rules.min_size_px, rules.max_size_px, rules.jpeg_quality), (90.0, 4096.0, 90));
    assert_eq!((rules.must_send, rules.send_origin_image, rules.frame_skip), (false, false, 0));
    assert_eq!((rules.first_send_after, rules.repeat), (Duration::ZERO, Repeat::Off));
    assert!(rules.roi.polygons.is_empty());
    assert_eq!(accepted("/description", Value::Null).description, None);
}

#[test]
fn names() {
    for name in ["a", "人脸提取-T4M-edge-0", "A_b-9", &"长".repeat(100)] {
        accepted("/name", json!(name));
    }
    refused("/name", json!(""), "name: has 0 characters, expected 1 to 100 characters: Chinese, letters");
    refused("/name", json!("长".repeat(101)), "name: has 101 characters");
    refused("/name", json!("a b"), "name: holds ' ', expected");
    refused("/name", json!("naïve"), "name: holds 'ï'");
    refused("/name", json!(7), "name: is a number, expected a string");
    refused("/name", Value::Null, "name: is required, expected a string");
}

#[test]
fn texts() {
    accepted("/description", json!("é".repeat(500)));
    refused("/description", json!("é".repeat(501)), "description: is longer than 500 characters");
    for version in ["3.0", "0.1", "123.456"] {
        accepted("/service_version", json!(version));
    }
    for version in ["3", "3.", ".0", "1234.0", "3.0.0", "v3.0", "3.٠", " 3.0"] {
        refused("/service_version", json!(version), "service_version: is \"");
    }
    refused("/service_version", json!(3.0), "service_version: is a number, expected a string");
    refused("/edge_pool_id", Value::Null, "edge_pool_id: is required");
    refused("/edge_pool_id", json!(""), "edge_pool_id: has 0 characters");
}

#[test]
fn inputs() {
    let spec = accepted("/input", json!({"type": "edgecamera", "data": [{"id": "c1", "index": 4}, {"id": "c2"}]}));
    let tasks = spec.tasks([id(1), id(2)]);
    assert_eq!(tasks[0].source, Source::Camera { id: "c1".into() });
    assert_eq!(tasks.iter().map(|task| task.index).collect::<Vec<_>>(), [4, 1]);
    assert_eq!(spec.body_of_input(1)["input"]["data"], json!([{"id": "c2"}]));

    let platform = json!({"ip": "10.0.0.1", "port": 9900, "username": "u", "password": "p"});
    let spec =
        accepted("/input", json!({"type": "vcn", "vcn": platform, "data": [{"device_id": "d", "stream_type": 2}]}));
    assert!(matches!(&spec.inputs[0].source, Source::Vcn { port: 9900, stream_type: 2, .. }));

    let entry = json!({"url": "https://h/a", "headers": {"k": "v"}, "certificate_check": false, "rtsp_path_in_response": "a.b"});
    let spec = accepted("/input", json!({"type": "edgerestful", "data": [entry]}));
    assert!(matches!(&spec.inputs[0].source, Source::Restful { certificate_check: false, .. }));

    let url = |url: &str| json!({"type": "url", "data": [{"url": url}]});
    for good in [
        "rtsp://u:p@h:554/s?x=1",
        "rtsps://h/s",
        "http://h/a.mp4",
        "https://h/",
        "file:///a/b.mp4",
        "v4l2:///dev/video0",
    ] {
        accepted("/input", url(good));
    }
    refused(
        "/input",
        url("ftp://h/x"),
        "input.data[0].url: has the scheme \"ftp\", expected an address that begins with rtsp://",
    );
    refused("/input", url("/a/b.mp4"), "input.data[0].url: is no address");
    refused("/input", url("rtsp:///x"), "input.data[0].url: names no host");
    refused("/input", url("file://host/x"), "input.data[0].url: names a host");
    refused("/input", url("rtsp://h/a b"), "input.data[0].url: holds a space");
    refused(
        "/input",
        url(&format!("rtsp://h/{}", "a".repeat(1000))),
        "input.data[0].url: has 1009 characters, expected 1 to 1000",
    );
    refused("/input", json!({"type": "vis", "data": [{}]}), "input.type: is \"vis\", an input of the cloud only");
    refused("/input", json!({"type": "obs", "data": [{}]}), "input.type: is \"obs\", an input of the cloud only");
    refused("/input", json!({"type": "url", "data": []}), "input.data: is required, expected an array of at least one");
    refused("/input", json!({"type": "url", "data": {}}), "input.data: is an object, expected an array");
    refused("/input", json!([]), "input: is an array, expected an object");
    refused(
        "/input/data/-",
        json!({"url": "rtsp://h/1", "index": 0}),
        "input.data[1].index: is 0, which another entry has",
    );
    refused(
        "/input/data/-",
        json!({"url": "rtsp://h/1", "index": -1}),
        "input.data[1].index: is -1, expected a whole number",
    );
    refused(
        "/input",
        json!({"type": "edgecamera", "data": [{"id": "x".repeat(64)}]}),
        "input.data[0].id: has 64 characters",
    );
    refused("/input", json!({"type": "vcn", "data": [{"device_id": "d"}]}), "input.vcn: is required");
}

#[test]
fn what_concerns_stored_faces() {
    let spec = accepted("/output", json!({"gate_buffer": {"gates": ["0001"], "valid_hours": 12}}));
    let output = spec.outputs.gate_buffer.unwrap();
    assert_eq!((output.gates, output.valid_hours), (vec!["0001".to_owned()], 12));
    assert!(
        accepted("/output", json!({"gate_buffer": {"valid_hours": 1}})).outputs.gate_buffer.unwrap().gates.is_empty()
    );
    refused("/output", json!({"gate_buffer": {}}), "output.gate_buffer.valid_hours: is required");
    refused("/output", json!({"gate_buffer": {"valid_hours": 0}}), "output.gate_buffer.valid_hours: is 0");
    refused(
        "/output",
        json!({"gate_buffer": {"valid_hours": 1, "gates": ["1"]}}),
        "output.gate_buffer.gates[0]: expected the gatenum",
    );
    let rules = accepted("/service_config/common/face_recognition_sw", json!(1)).rules;
    assert!(rules.recognize_person && rules.same_person_quiet.is_zero());
    let rules = accepted("/service_config/common/face_same_person_interval", json!(60)).rules;
    assert_eq!(rules.same_person_quiet, Duration::from_secs(60));
    refused(
        "/service_config/common/face_same_person_interval",
        json!(-1),
        "service_config.common.face_same_person_interval: is -1",
    );
}

#[test]
fn outputs() {
    refused("/output", json!({}), "output: names no output, expected webhook, localpath, mqtt, gate_buffer");
    refused("/output", json!({"mqtt": {"url": "http://h"}}), "output.mqtt.url: has the scheme \"http\"");
    refused("/output", json!({"mqtt": {"url": "mqtt://h", "qos": 0}}), "output.mqtt.qos: is 0, expected 1");
    refused("/output", json!({"mqtt": {"url": "mqtt://h", "topic": "a/#"}}), "output.mqtt.topic: is \"a/#\"");
    refused("/output/webhook/payload", json!("fat"), "output.webhook.payload: is \"fat\", expected inline, multipart");
    refused("/output/webhook/payload", json!("thin"), "output.webhook.picture_base_url: is required");
    refused("/output/webhook/secrets", json!(["hunter2"]), "output.webhook.secrets[0]: is no webhook secret");
    refused("/output/webhook/ca_file", json!("../ca.pem"), "output.webhook.ca_file: is \"../ca.pem\", expected an abs");
    refused("/output/dis", json!({}), "output.dis: is an output of the cloud only");
    refused("/output/obs", json!({}), "output.obs: is an output of the cloud only");
    refused("/output/webhook/url", json!("ftp://h/"), "output.webhook.url: has the scheme \"ftp\"");
    refused(
        "/output/webhook/url",
        json!(format!("http://h/{}", "a".repeat(992))),
        "output.webhook.url: has 1001 characters",
    );
    accepted("/output/webhook/url", json!(format!("http://h/{}", "a".repeat(991))));
    refused("/output/webhook/headers", json!({"a b": "c"}), "output.webhook.headers: \"a b\" is no name");
    refused("/output/webhook/headers", json!({"a": "b\r\nc: d"}), "output.webhook.headers.a: holds a line break");
    refused("/output/webhook/headers", json!({"a": 1}), "output.webhook.headers.a: is a number, expected a string");
    refused(
        "/output/webhook/data_category",
        json!(["Face"]),
        "output.webhook.data_category[0]: is \"Face\", expected FaceImage",
    );
    refused("/output/webhook/data_category", json!([]), "output.webhook.data_category: is empty");
    refused(
        "/output/localpath",
        json!({"mount_source_path": "a/b"}),
        "output.localpath.mount_source_path: is \"a/b\", expected an absolute",
    );
    let spec = accepted(
        "/output/localpath",
        json!({"mount_source_path": "/data/faces", "data_category": ["OriginImage", "OriginImage"]}),
    );
    assert_eq!(spec.outputs.localpath.unwrap().categories, [Category::OriginImage]);
}

#[test]
fn rule_ranges() {
    type Case = (&'static str, &'static [f64], &'static [f64]);
    let cases: [Case; 7] = [
        ("image_compression_ratio", &[20.0, 100.0], &[19.0, 101.0, 50.5]),
        ("face_first_send_threshold", &[0.0, 0.5, 360.0], &[-0.1, 360.1]),
        ("face_repeat_send_interval", &[1.0, 1.5, 3600.0], &[0.9, -1.0]),
        ("face_repeat_send_step", &[1.0, 1.2, 10.0], &[0.99, 10.01]),
        ("frame_skip_number", &[0.0, 4.0], &[-1.0, 0.5]),
        ("origin_image_send_sw", &[0.0, 1.0], &[2.0, 0.5]),
        ("detection_min_size", &[0.0, 800.0], &[-1.0]),
    ];
    for (key, good, bad) in cases {
        for &number in good {
            accepted(&common(key), json!(number));
            if number.fract() == 0.0 {
                accepted(&common(key), json!(number as i64));
            }
        }
        for &number in bad {
            refused(&common(key), json!(number), &format!("service_config.common.{key}: is {}", json!(number)));
        }
        refused(&common(key), json!("1"), &format!("service_config.common.{key}: is the string \"1\", expected"));
    }
    refused(
        &common("face_must_send_sw"),
        json!(true),
        "service_config.common.face_must_send_sw: is true, expected 0 or 1",
    );
    refused(
        &common("face_repeat_send_mode"),
        json!("period"),
        "service_config.common.face_repeat_send_mode: is \"period\", expected PERIOD or QUALITY_STEP",
    );
    refused(
        &common("detection_min_size"),
        json!(801),
        "service_config.common.detection_min_size: is 801, above detection_max_size, which is 800",
    );
    refused("/service_config/common", json!([]), "service_config.common: is an array, expected an object");
}

#[test]
fn regions() {
    let field = "service_config.common.target_roi";
    let roi = |points: Value| json!({"polygons": [{"data": [[0, 0], [9, 0], [9, 9]]}, {"data": points}]});
    let at = |rest: &str| format!("{field}{rest}");
    refused(
        &common("target_roi"),
        json!("{\"polygons\": ["),
        &at(": is a string whose content is not JSON: EOF while parsing a list at line 1 column 14"),
    );
    refused(&common("target_roi"), json!(7), &at(": is a number, expected JSON like"));
    refused(
        &common("target_roi"),
        roi(json!([[0, 0], [1, 1]])),
        &at(".polygons[1].data: has 2 points, expected at least 3"),
    );
    refused(
        &common("target_roi"),
        roi(json!([[0, 0], [10, 10], [10, 0], [0, 10]])),
        &at(
            ".polygons[1].data: crosses itself: the edge from point 0 to point 1 meets the edge from point 2 to point 3",
        ),
    );
    refused(&common("target_roi"), roi(json!([[0, 0], [1], [1, 1]])), &at(".polygons[1].data[1]: is no point"));
    refused(&common("target_roi"), json!({"polygons": [{}]}), &at(".polygons[0].data: is required"));

    let given = json!({"polygons": [], "lines": [1], "ours": "x"});
    let spec = accepted(&common("target_roi"), given.clone());
    let text = spec.raw().pointer(&common("target_roi")).unwrap().as_str().expect("given back as a string");
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), given);
}

#[test]
fn a_region_outside_the_frame_is_named() {
    let triangle = |points: Value| {
        let spec = accepted(
            &common("target_roi"),
            json!({"polygons": [{"data": [[0, 0], [9, 0], [9, 9]]}, {"data": points}]}),
        );
        check_roi_in_frame(&spec.rules.roi, 100, 50).map(|fault| fault.to_string())
    };
    assert_eq!(triangle(json!([[90, 40], [200, 40], [200, 200]])), None);
    assert_eq!(triangle(json!([[-500, -500], [500, -500], [0, 900]])), None, "around the frame");
    let fault = triangle(json!([[101, 0], [200, 0], [200, 50]])).unwrap();
    assert!(
        fault.contains("polygon 1 lies wholly outside the frame of 100×50: it reaches from (101, 0) to (200, 50)"),
        "{fault}"
    );
    assert!(triangle(json!([[99, 200], [300, 10], [300, 200]])).is_some(), "its bounds meet the frame, it does not");
}

#[test]
fn over_the_specification() {
    let over = |pointer: &str, value: Value| match TaskSpec::from_value(with(pointer, Some(value))) {
        Err(TaskProblem::OverSpecification(faults)) => faults[0].to_string(),
        other => panic!("{other:?}"),
    };
    let inputs = |n: usize| json!((0..n).map(|i| json!({"url": format!("rtsp://h/{i}")})).collect::<Vec<_>>());
    assert_eq!(over("/input/data", inputs(101)), "input.data: holds 101 entries, at most 100");
    assert_eq!(accepted("/input/data", inputs(100)).inputs.len(), 100);
    let polygon = json!({"data": [[0, 0], [9, 0], [9, 9]]});
    assert!(
        over(&common("target_roi"), json!({"polygons": vec![polygon; 65]})).contains("holds 65 polygons, at most 64")
    );
    let points: Vec<_> = (0..257).map(|i| [i, i * i]).collect();
    assert!(
        over(&common("target_roi"), json!({"polygons": [{"data": points}]})).contains("holds 257 points, at most 256")
    );
}

#[test]
fn every_fault_is_reported_with_its_place() {
    let text = "{\"name\": \"\",\n \"input\": {\"type\": \"url\",\n  \"data\": [{\"url\": \"gopher://x\"}]},\n \"output\": {}}";
    let problem = TaskSpec::parse(text.as_bytes()).unwrap_err();
    let lines = problem.lines("a.json", text.as_bytes());
    let starts: Vec<_> = lines.iter().map(|line| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        starts,
        [
            "a.json:1:10: name",
            "a.json:1:1: service_version",
            "a.json:1:1: edge_pool_id",
            "a.json:3:20: input.data[0].url",
            "a.json:4:12: output",
        ]
    );
}

#[test]
fn secrets_stay_out_of_messages() {
    let body = json!({
        "name": "x", "input": {"type": "url", "data": [{"url": "rtsp://admin:hunter2@h:99999/"}, {"url": "hunter2"}]},
        "output": {"webhook": {"url": "xx://u:hunter2@h/", "headers": {"a": "hunter2\n"}}},
    });
    let problem = TaskSpec::from_value(body).unwrap_err().to_string();
    assert!(problem.contains("input.data[1].url") && !problem.contains("hunter2"), "{problem}");
}

#[test]
fn described_in_words() {
    let mut body = with("/input/data/0/url", Some(json!("rtsp://admin:hunter2@cam/1?token=hunter2")));
    body["service_config"]["common"]["face_first_send_threshold"] = json!(2.5);
    let text = describe(&TaskSpec::from_value(body).unwrap(), Some("640×384")).join("\n");
    for expected in [
        "input 0: stream at rtsp://cam/1\n",
        "shorter side of at least 120 px and longer side of at most 800 px",
        "1 polygon(s), 1530000 px², 73.8 % of a 1920×1080 frame",
        "the best of the first 2.5 s; a face that leaves earlier is not sent",
        "the best of each further 1 s",
        "detector input: 640×384",
        "a data_category names OriginImage but origin_image_send_sw is 0",
        "FaceImage and OriginImage to the webhook http://127.0.0.1:9000/faces",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn overlapping_polygons_count_once() {
    let square = |x: i32| json!({"data": [[x, 0], [x + 100, 0], [x + 100, 100], [x, 100]]});
    let spec = accepted(&common("target_roi"), json!({"polygons": [square(0), square(50), square(-60)]}));
    let text = describe(&spec, None).join("\n");
    assert!(text.contains("3 polygon(s), 15000 px²"), "{text}");
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

#[test]
fn the_check_command_reads_every_file_before_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("good.json"), SAMPLE).unwrap();
    std::fs::write(path("bad.json"), SAMPLE.replace("3.0", "3")).unwrap();
    let check = |words: &[&str]| {
        let files = ["bad.json", "good.json", "absent.json"].map(path);
        let cli = Cli::try_parse_from(
            ["check"].iter().map(ToString::to_string).chain(words.iter().map(ToString::to_string)).chain(files),
        )
        .unwrap();
        let mut out = Vec::new();
        let result = run(&cli.args, &mut out, |_| Some("640×384".to_owned()));
        (String::from_utf8(out).unwrap(), result.unwrap_err().to_string())
    };
    let (out, error) = check(&[]);
    assert!(out.contains("good.json: valid") && out.contains("detector input: 640×384"), "{out}");
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(
        lines[0]
            .ends_with("bad.json:4:22: service_version: is \"3\", expected digits.digits like 3.0, up to three each"),
        "{error}"
    );
    assert!(lines[1].contains("absent.json: cannot be read"), "{error}");
    let report: Value = serde_json::from_str(&check(&["--json"]).0).unwrap();
    let valid: Vec<_> = report.as_array().unwrap().iter().map(|file| file["valid"].as_bool().unwrap()).collect();
    assert_eq!(valid, [false, true, false]);
    assert!(Cli::try_parse_from(["check"]).is_err(), "a file is needed");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,8}", inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Every path of the sample, so that arbitrary values land where they are read.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, child)| (format!("{at}/{key}"), child)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, child)| (format!("{at}/{i}"), child)).collect(),
        _ => Vec::new(),
    };
    for (path, child) in children {
        pointers(child, &path, found);
        found.push(path);
    }
}

proptest! {
    #[test]
    fn arbitrary_values_anywhere_do_no_harm(which in any::<prop::sample::Index>(), value in any_json()) {
        let mut body = sample();
        let mut paths = Vec::new();
        pointers(&body, "", &mut paths);
        *body.pointer_mut(&paths[which.index(paths.len())]).unwrap() = value;
        let text = serde_json::to_vec_pretty(&body).unwrap();
        if let Err(problem) = TaskSpec::parse(&text) {
            prop_assert!(problem.lines("f", &text).iter().all(|line| line.starts_with("f:")));
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(problem) = TaskSpec::parse(&bytes) {
            prop_assert!(!problem.lines("f", &bytes).is_empty());
        }
    }

    #[test]
    fn a_cut_text_is_refused_with_a_position_inside_it(end in 0..SAMPLE.trim_end().len()) {
        let text = &SAMPLE.as_bytes()[..end];
        let problem = TaskSpec::parse(text).unwrap_err();
        let lines = text.iter().filter(|&&b| b == b'\n').count() + 1;
        prop_assert!(matches!(problem, TaskProblem::NotJson { line, .. } if line <= lines), "{problem:?}");
    }

    #[test]
    fn unknown_fields_are_kept(extra in any_json(), roi_extra in any_json()) {
        let mut body = sample();
        let roi = json!({"polygons": [], "x_ours": roi_extra});
        body["x_ours"] = extra.clone();
        for holder in ["/input", "/input/data/0", "/output/webhook", "/service_config", "/service_config/common"] {
            body.pointer_mut(holder).unwrap()["x_ours"] = extra.clone();
        }
        body["service_config"]["common"]["target_roi"] = roi.clone();
        let spec = TaskSpec::from_value(body.clone()).unwrap();
        let written = serde_json::to_string(spec.raw()).unwrap();
        let again = TaskSpec::parse(written.as_bytes()).unwrap();
        prop_assert_eq!(&again, &spec);
        let text = again.raw().pointer("/service_config/common/target_roi").unwrap().as_str().unwrap().to_owned();
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), roi);
        body["service_config"]["common"]["target_roi"] = text.into();
        prop_assert_eq!(again.raw(), &body);
    }
}

fn shared(name: &str) -> Option<Vec<u8>> {
    let path = Path::new("../shared/fixtures").join(name);
    let text = std::fs::read(&path).ok();
    if text.is_none() {
        println!("{} is absent: skipped", path.display());
    }
    text
}
