//! Ingestion over http: a file is a file, a stream without an end is live.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use face_edge::media::{CameraSpec, CameraState, FaultKind, Pace};

use crate::media::{Recorder, clip, make};

/// Serves `/file` with its length and by ranges, `/stream` as parts without an end, and nothing else.
fn serve(file: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accept = move || {
        for connection in listener.incoming().flatten() {
            let file = file.clone();
            let answer = move || drop(answer(connection, &file));
            std::thread::Builder::new().name("http-client".into()).spawn(answer).unwrap();
        }
    };
    std::thread::Builder::new().name("http-server".into()).spawn(accept).unwrap();
    url
}

fn answer(mut connection: TcpStream, file: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let (mut path, mut start) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            start = range.split('-').next().unwrap().parse().unwrap();
        }
        if let Some(rest) = line.strip_prefix("GET ") {
            path = rest.split(' ').next().unwrap().to_owned();
        }
    }
    let mut body = Vec::new();
    let mut source = std::fs::File::open(file)?;
    let length = source.metadata()?.len();
    source.seek(SeekFrom::Start(start))?;
    source.read_to_end(&mut body)?;
    match path.as_str() {
        "/file" => {
            let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
            write!(
                connection,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nContent-Range: bytes {start}-{}/{length}\r\n\
                 Connection: close\r\n\r\n",
                body.len(),
                length - 1
            )?;
            connection.write_all(&body)
        }
        "/stream" => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=part\r\nConnection: close\r\n\r\n";
            connection.write_all(head.as_bytes())?;
            for _ in 0..30 {
                write!(connection, "--part\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", body.len())?;
                connection.write_all(&body)?;
                connection.write_all(b"\r\n")?;
            }
            Ok(())
        }
        _ => connection.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    }
}

fn start(url: &str, pace: Pace) -> (Arc<Recorder>, face_edge::media::Camera) {
    let recorder = Arc::new(Recorder::default());
    let camera = recorder.start(CameraSpec::new(url, pace));
    (recorder, camera)
}

#[test]
fn a_file_over_http_loses_no_frame_and_ends_at_both_paces() {
    let folder = tempfile::tempdir().unwrap();
    let url = serve(clip(folder.path(), 40)) + "/file";
    for pace in [Pace::Max, Pace::Live] {
        let (recorder, _camera) = start(&url, pace);
        recorder.wait("the end", |log| (log.ended == 1).then_some(()));
        let (frames, last) = recorder.wait("states", |log| Some((log.frames.len(), log.states.last().cloned())));
        assert_eq!((frames, last), (40, Some(CameraState::Ended { cut_short: None })), "{pace:?}");
    }
}

#[test]
fn what_is_not_there_fails_as_a_file_and_is_waited_for_as_a_camera() {
    let folder = tempfile::tempdir().unwrap();
    let url = serve(clip(folder.path(), 5)) + "/nothing";
    let (recorder, _camera) = start(&url, Pace::Max);
    let fault = recorder.wait("a failure", |log| match log.states.last()? {
        CameraState::Failed { fault } => Some(fault.kind),
        _ => None,
    });
    assert_eq!(fault, FaultKind::NotFound);
    let (recorder, _camera) = start(&url, Pace::Live);
    recorder.wait("a try again", |log| {
        log.states
            .iter()
            .find(|state| matches!(state, CameraState::Recovering { fault, .. } if fault.kind == FaultKind::NotFound))
            .map(drop)
    });
}

#[test]
fn pictures_without_an_end_are_a_live_source() {
    let folder = tempfile::tempdir().unwrap();
    let picture = make(
        folder.path(),
        "picture.jpg",
        "videotestsrc num-buffers=1 ! video/x-raw,width=320,height=180 ! jpegenc ! filesink name=out",
    );
    let (recorder, _camera) = start(&(serve(picture) + "/stream"), Pace::Live);
    recorder.wait_frames(10);
    recorder.wait("the loss", |log| {
        log.states.iter().find(|state| matches!(state, CameraState::Recovering { .. })).map(drop)
    });
    assert_eq!(recorder.wait("no end", |log| Some(log.ended)), 0);
}
