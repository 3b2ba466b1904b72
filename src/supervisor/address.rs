//! From a task's source to the address that its camera is opened by.

use url::Url;

use crate::deliver::AddressQuestion;
use crate::domain::Source;
use crate::store::{CameraRow, Store, StoreError};

/// What a server may answer with when it is asked for a stream's address: never a file or a device of this box.
const NETWORK: [&str; 4] = ["rtsp://", "rtsps://", "http://", "https://"];

/// What a camera is opened by.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// Of the stream that is analysed.
    pub url: String,
    /// Of the large stream, where that is another one.
    pub main: Option<String>,
}

pub enum Address {
    Known(Place),
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
    let alone = |url: String| Place { url, main: None };
    let known = match source {
        Source::Url { url } => alone(url.clone()),
        Source::Camera { id } => {
            let row = store.camera(id).wait()?;
            of_camera(&row.ok_or_else(|| AddressError::UnknownCamera { id: id.clone() })?)
        }
        Source::Vcn { .. } => alone(platform(source).ok_or(AddressError::Platform)?),
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
pub fn answered(address: String) -> Result<Place, AddressError> {
    let network = NETWORK.iter().any(|scheme| address.starts_with(scheme));
    if network { Ok(Place { url: address, main: None }) } else { Err(AddressError::NotNetwork) }
}

fn of_camera(camera: &CameraRow) -> Place {
    let main = with_account(&camera.url, camera);
    match &camera.detect_url {
        Some(small) => Place { url: with_account(small, camera), main: Some(main) },
        None => Place { url: main, main: None },
    }
}

/// The registry's account goes into the address, unless that has one of its own.
fn with_account(address: &str, camera: &CameraRow) -> String {
    let Ok(mut url) = Url::parse(address) else { return address.to_owned() };
    if let (Some(username), "") = (&camera.username, url.username()) {
        // Addresses of files and devices have no place for it, and need none.
        let _ = url.set_username(username).and_then(|()| url.set_password(camera.password.as_deref()));
        return url.into();
    }
    address.to_owned()
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
            detect_url: None,
            username: username.map(Into::into),
            password: Some("p@ss".into()),
            created_at: UnixMs(0),
            updated_at: UnixMs(0),
        };
        let place = |camera: CameraRow| of_camera(&camera).url;
        assert_eq!(place(camera("rtsp://h:554/1?a=b", Some("ad min"))), "rtsp://ad%20min:p%40ss@h:554/1?a=b");
        assert_eq!(place(camera("rtsp://own:pw@h/1", Some("admin"))), "rtsp://own:pw@h/1");
        assert_eq!(place(camera("rtsp://h/1", None)), "rtsp://h/1");
        assert_eq!(place(camera("file:///v.mp4", Some("admin"))), "file:///v.mp4");
        let two = of_camera(&CameraRow { detect_url: Some("rtsp://h/2".into()), ..camera("rtsp://h/1", Some("u")) });
        assert_eq!((two.url.as_str(), two.main.as_deref()), ("rtsp://u:p%40ss@h/2", Some("rtsp://u:p%40ss@h/1")));
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
