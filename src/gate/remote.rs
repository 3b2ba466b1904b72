//! A remote gate server, asked for the same scan in the same format: its TotalScan, page by page, with retries.

use std::time::Duration;

use reqwest::{Client, StatusCode, redirect};
use url::Url;

use crate::gate_wire::{read_total_scan_answer, total_scan_request};

const PATH: &str = "api/Servo/Face/Buffer/TotalScan";
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_ANSWER_BYTES: usize = 1 << 20;
const MAX_WAIT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct RemoteSettings {
    pub base_url: Url,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// Tries of a page.
    pub attempts: u32,
    /// After the first failure; doubled with each.
    pub first_wait: Duration,
}

impl RemoteSettings {
    pub fn new(base_url: Url, token: Option<String>) -> Self {
        Self { base_url, token, attempts: 8, first_wait: Duration::from_secs(1) }
    }
}

pub struct RemoteServer {
    client: Client,
    url: Url,
    settings: RemoteSettings,
}

#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("the gate server cannot be reached ({0})")]
    Unreachable(String),
    #[error("the gate server answered HTTP {0}")]
    Status(StatusCode),
    #[error("the gate server's answer cannot be used: {0}")]
    Answer(String),
    #[error("the address of the gate server cannot be used: {0}")]
    Address(String),
}

impl RemoteError {
    /// Asking again will not help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Unreachable(_) => false,
            Self::Status(status) => {
                status.is_client_error()
                    && !matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::Answer(_) | Self::Address(_) => true,
        }
    }
}

impl RemoteServer {
    pub fn new(settings: RemoteSettings) -> Result<Self, RemoteError> {
        // An error means that it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none()).build();
        let client = client.map_err(|error| RemoteError::Address(error.to_string()))?;
        let mut base = settings.base_url.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let url = base.join(PATH).map_err(|error| RemoteError::Address(error.to_string()))?;
        Ok(Self { client, url, settings })
    }

    /// Has the page after `after` scanned. Answers where to go on, `None` after the last page.
    pub async fn page(&self, gatenum: &str, after: &str) -> Result<Option<String>, RemoteError> {
        let mut wait = self.settings.first_wait;
        let mut attempt = 1;
        loop {
            match self.ask(gatenum, after).await {
                Err(error) if !error.is_final() && attempt < self.settings.attempts => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(MAX_WAIT);
                    attempt += 1;
                }
                asked => return asked,
            }
        }
    }

    async fn ask(&self, gatenum: &str, after: &str) -> Result<Option<String>, RemoteError> {
        let unreachable = |error: reqwest::Error| RemoteError::Unreachable(error.without_url().to_string());
        let mut request = self.client.post(self.url.clone()).header("content-type", "application/json");
        if let Some(token) = &self.settings.token {
            request = request.bearer_auth(token);
        }
        let mut response = request.body(total_scan_request(gatenum, after)).send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(RemoteError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(RemoteError::Answer(format!("it is larger than {MAX_ANSWER_BYTES} bytes")));
            }
        }
        let answer = read_total_scan_answer(&body).map_err(|error| RemoteError::Answer(error.to_string()))?;
        match answer.more {
            false => Ok(None),
            // Anything else would go round for ever.
            true if answer.last.as_str() > after => Ok(Some(answer.last)),
            true => Err(RemoteError::Answer(format!("it says that there is more but stays at {:?}", answer.last))),
        }
    }
}
