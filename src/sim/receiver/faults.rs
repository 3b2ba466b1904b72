//! What the receiver does wrong on demand, and the listener that can cut a connection off in the middle.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status and does not take the message.
    Status { code: u16, retry_after_s: Option<u64> },
    /// Takes the message and answers late.
    Delay(Duration),
    /// Never answers, and does not take the message.
    Hang,
    /// Takes the message and cuts the connection before the answer.
    Cut,
}

impl FromStr for Fault {
    type Err = String;

    /// `status=500`, `status=429,retry-after=7`, `delay=2s`, `delay=300ms`, `hang`, `cut`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is none of status=500, status=429,retry-after=7, delay=2s, hang, cut");
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match name {
            "hang" | "cut" if value.is_empty() => Ok(if name == "hang" { Self::Hang } else { Self::Cut }),
            "delay" => duration(value).map(Self::Delay).ok_or_else(wrong),
            "status" => {
                let (code, rest) = value.split_once(',').unwrap_or((value, ""));
                let code = code.parse().ok().filter(|code| (200..=599).contains(code)).ok_or_else(wrong)?;
                let retry_after_s = match rest.strip_prefix("retry-after=") {
                    Some(seconds) => Some(seconds.parse().map_err(|_| wrong())?),
                    None if rest.is_empty() => None,
                    None => return Err(wrong()),
                };
                Ok(Self::Status { code, retry_after_s })
            }
            _ => Err(wrong()),
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    if let Some(ms) = text.strip_suffix("ms") {
        return ms.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

pub struct CutListener(pub TcpListener);

impl Listener for CutListener {
    type Io = CutStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CutStream, SocketAddr) {
        let (inner, address) = Listener::accept(&mut self.0).await;
        (CutStream { inner, switch: CutSwitch::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Of one connection: once thrown, nothing more is written to it.
#[derive(Debug, Clone, Default)]
pub struct CutSwitch(Arc<AtomicBool>);

impl CutSwitch {
    pub fn throw(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl Connected<IncomingStream<'_, CutListener>> for CutSwitch {
    fn connect_info(stream: IncomingStream<'_, CutListener>) -> Self {
        stream.io().switch.clone()
    }
}

pub struct CutStream {
    inner: TcpStream,
    switch: CutSwitch,
}

impl AsyncRead for CutStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.switch.check()?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_text() {
        let status = |code, retry_after_s| Fault::Status { code, retry_after_s };
        for (text, fault) in [
            ("status=500", status(500, None)),
            ("status=429,retry-after=7", status(429, Some(7))),
            ("delay=2s", Fault::Delay(Duration::from_secs(2))),
            ("delay=300ms", Fault::Delay(Duration::from_millis(300))),
            ("hang", Fault::Hang),
            ("cut", Fault::Cut),
        ] {
            assert_eq!(text.parse(), Ok(fault), "{text}");
        }
        for text in ["", "status", "status=99", "status=500,x=1", "delay=2", "delay=s", "hang=1", "burn"] {
            assert!(text.parse::<Fault>().unwrap_err().contains("none of"), "{text}");
        }
    }
}
