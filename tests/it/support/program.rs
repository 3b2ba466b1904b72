//! The built program as a service in a process of its own, spoken to over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const TOKEN: &str = "token-of-a-test-program";

/// Killed when dropped.
pub struct Program {
    process: Child,
    address: SocketAddr,
}

impl Program {
    /// With its data in `folder`, once it is ready; `configure` may add arguments and variables.
    pub fn serve(folder: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        Self::serve_by(Path::new(env!("CARGO_BIN_EXE_face-edge")), folder, configure)
    }

    pub fn serve_by(program: &Path, folder: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder);
        command.env("FACE_EDGE_TOKEN", TOKEN).env("RUST_LOG", "warn,face_edge::app=info");
        configure(&mut command);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the service did not start");
            if let Some((_, rest)) = line.split_once("face-edge is ready") {
                let (_, rest) = rest.split_once("address=").unwrap();
                break rest.split_whitespace().next().unwrap().parse().unwrap();
            }
        };
        // Read on, or the service waits for room to log.
        let rest = move || drop(std::io::copy(&mut log, &mut std::io::sink()));
        std::thread::Builder::new().name("service-log".into()).spawn(rest).unwrap();
        Self { process, address }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Status and body.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> std::io::Result<(u16, String)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(self.address)?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: box\r\nX-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, body.to_owned()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
