//! How the box trusts others and shows who it is: the system's certificates plus those of a file, and a certificate of
//! its own. Files are read anew when they change, so that a renewed certificate needs no restart.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::Verifier;

use crate::store::OutputConnection;

/// Which files, as they are now: the same key means the same configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsKey {
    ca: Option<Version>,
    client: Option<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Version {
    file: String,
    modified: Option<SystemTime>,
}

impl TlsKey {
    pub fn of(connection: &OutputConnection) -> Self {
        let version = |file: &String| Version {
            file: file.clone(),
            modified: fs::metadata(file).and_then(|meta| meta.modified()).ok(),
        };
        Self {
            ca: connection.ca_file.as_ref().map(version),
            client: connection.client_certificate_file.as_ref().map(version),
        }
    }

    /// Nothing but the system's certificates.
    pub fn is_plain(&self) -> bool {
        self.ca.is_none() && self.client.is_none()
    }

    /// An error says which file and what is wrong with it, never what is in it.
    pub fn config(&self) -> Result<ClientConfig, String> {
        super::webhook::install_crypto();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let extra = self.ca.as_ref().map_or(Ok(Vec::new()), |ca| certificates(&ca.file))?;
        let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider))
            .map_err(|error| format!("the system's certificates cannot be used: {error}"))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let Some(client) = &self.client else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates(&client.file)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&client.file)?)
            .map_err(|_| format!("{}: holds no private key in PEM", client.file))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("{}: certificate and key cannot be used: {error}", client.file))
    }
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{file}: holds no certificate in PEM")),
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    fs::read(Path::new(file)).map_err(|error| format!("{file}: cannot be read ({})", error.kind()))
}
