//! From a task's source to the address that its camera is opened by.

use url::Url;

use crate::deliver::AddressQuestion;
use crate::domain::Source;
use crate::store::{CameraRow, Store, StoreError};

/// What a server may answer with when it is asked for a stream's address: never a file or a device of this box.
const NETWORK: [&str; 4] = ["rtsp://", "rtsps://", "http://", "https://"];

pub enum Address {
    Known(String),
    ToBeAsked(AddressQuestion),
}

#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("there is no camera {id:?} in the camera registry: add it (POST …/cameras), then start the task")]
    UnknownCamera { id: String },
    #[error("input.vcn.ip: is no address of a host")]
    Platform,
    #[error(
        "input.data.rtsp_path_in_response: the server's answer has no network address at that place, expected rtsp://, rtsps://, http:// or https://"
    )]
    NotNetwork,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Blocks for a look into the registry.
pub fn find(source: &Source, store: &Store) -> Result<Address, AddressError> {
    let known = match source {
        Source::Url { url } => url.clone(),
        Source::Camera { id } => {
            let row = store.camera(id).wait()?;
            with_account(&row.ok_or_else(|| AddressError::UnknownCamera { id: id.clone() })?)
        }
        Source::Vcn { .. } => platform(source).ok_or(AddressError::Platform)?,
        Source::Restful { url, headers, certificate_check, rtsp_path_in_response } => {
            return Ok(Address::ToBeAsked(AddressQuestion {
                url: url.clone(),
                headers: headers.clone(),
                certificate_check: *certificate_check,
                path_in_answer: rtsp_path_in_response.clone(),
            }));
        }
    };
    Ok(Address::Known(known))
}

/// What a server answered with, if it may be opened.
pub fn answered(address: String) -> Result<String, AddressError> {
    let network = NETWORK.iter().any(|scheme| address.starts_with(scheme));
    if network { Ok(address) } else { Err(AddressError::NotNetwork) }
}

/// The registry's account goes into the address, unless that has one of its own.
fn with_account(camera: &CameraRow) -> String {
    let Ok(mut url) = Url::parse(&camera.url) else { return camera.url.clone() };
    if let (Some(username), "") = (&camera.username, url.username()) {
        // Addresses of files and devices have no place for it, and need none.
        let _ = url.set_username(username).and_then(|()| url.set_password(camera.password.as_deref()));
        return url.into();
    }
    camera.url.clone()
}

/// `rtsp://username:password@ip:port/device_id/stream_type`
fn platform(source: &Source) -> Option<String> {
    let Source::Vcn { ip, port, username, password, device_id, stream_type } = source else { return None };
    let host = if ip.contains(':') && !ip.starts_with('[') { format!("[{ip}]") } else { ip.clone() };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let mut url = Url::parse(&format!("rtsp://{host}:{port}")).ok().filter(|_| host.chars().all(plain))?;
    url.path_segments_mut().ok()?.push(device_id).push(&stream_type.to_string());
    url.set_username(username).ok()?;
    url.set_password(Some(password)).ok()?;
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;

    #[test]
    fn an_account_goes_into_the_address() {
        let camera = |url: &str, username: Option<&str>| CameraRow {
            id: "door".into(),
            name: "door".into(),
            url: url.into(),
            username: username.map(Into::into),
            password: Some("p@ss".into()),
            created_at: UnixMs(0),
            updated_at: UnixMs(0),
        };
        assert_eq!(with_account(&camera("rtsp://h:554/1?a=b", Some("ad min"))), "rtsp://ad%20min:p%40ss@h:554/1?a=b");
        assert_eq!(with_account(&camera("rtsp://own:pw@h/1", Some("admin"))), "rtsp://own:pw@h/1");
        assert_eq!(with_account(&camera("rtsp://h/1", None)), "rtsp://h/1");
        assert_eq!(with_account(&camera("file:///v.mp4", Some("admin"))), "file:///v.mp4");
    }

    #[test]
    fn a_platform_has_an_address_for_each_stream() {
        let vcn = |ip: &str| Source::Vcn {
            ip: ip.into(),
            port: 554,
            username: "u".into(),
            password: "p/".into(),
            device_id: "a b/1".into(),
            stream_type: 2,
        };
        assert_eq!(platform(&vcn("10.0.0.7")).unwrap(), "rtsp://u:p%2F@10.0.0.7:554/a%20b%2F1/2");
        assert_eq!(platform(&vcn("fe80::1")).unwrap(), "rtsp://u:p%2F@[fe80::1]:554/a%20b%2F1/2");
        assert_eq!(platform(&vcn("evil/path?")), None);
    }

    #[test]
    fn a_server_cannot_name_a_file_of_this_box() {
        assert!(answered("rtsp://h/1".into()).is_ok());
        for address in ["file:///etc/passwd", "v4l2:///dev/video0", "/etc/passwd", ""] {
            assert!(answered(address.into()).is_err(), "{address}");
        }
    }
}
