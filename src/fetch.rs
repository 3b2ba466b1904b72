//! Gets pictures from addresses that clients name. A box stands inside of a site, so that an address may not lead back
//! into it: http and https only, no redirects, and every resolved address is looked at before it is connected to.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};
use url::{Host, Url};

use crate::api::Fetch;

const TIMEOUT: Duration = Duration::from_secs(15);

/// Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    private: bool,
}

impl Fetcher {
    /// `private`: addresses of this machine and of private networks are allowed too.
    pub fn new(private: bool) -> Result<Self, String> {
        // An error means that it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Guarded { private }));
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { client, private })
    }

    async fn get(&self, address: &str, max_bytes: usize) -> Result<Vec<u8>, String> {
        let url = Url::parse(address).map_err(|error| format!("'url' is no address ({error})"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("'url' is invalid, expected an address of http or https".to_owned());
        }
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) => None,
            None => return Err("'url' names no host".to_owned()),
        };
        if literal.is_some_and(|ip| !self.private && !is_public(ip)) {
            return Err("'url' leads to an address that is not fetched from".to_owned());
        }
        let failed = |error: reqwest::Error| format!("the image could not be fetched ({})", error.without_url());
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("the image could not be fetched (HTTP {})", response.status().as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > max_bytes {
                return Err(format!("the image is larger than {max_bytes} bytes"));
            }
        }
        Ok(bytes)
    }
}

impl Fetch for Fetcher {
    fn fetch(&self, url: &str, max_bytes: usize) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>> {
        let (fetcher, url) = (self.clone(), url.to_owned());
        Box::pin(async move { fetcher.get(&url, max_bytes).await })
    }
}

/// Resolves names to addresses that may be fetched from.
struct Guarded {
    private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| private || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the name leads to no address that may be fetched from".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [first, second, ..] = ip.segments();
    // Only what is given out as global unicast, less what wraps an IPv4 address or is no real place.
    (0x2000..0x4000).contains(&first) && first != 0x2002 && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_told_from_those_outside() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2001:4860:4860::8888"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[tokio::test]
    async fn what_leads_inside_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fetcher = Fetcher::new(false).unwrap();
        for host in ["127.0.0.1", "localhost", "[::1]", "2130706433", "[::ffff:127.0.0.1]"] {
            assert!(fetcher.get(&format!("http://{host}:{port}/a.jpg"), 100).await.is_err(), "{host}");
        }
        for url in ["file:///etc/passwd", "ftp://1.1.1.1/a", "nonsense", "http://"] {
            assert!(fetcher.get(url, 100).await.unwrap_err().contains("'url'"), "{url}");
        }
        let asked = std::future::poll_fn(|cx| std::task::Poll::Ready(listener.poll_accept(cx).is_ready())).await;
        assert!(!asked, "nobody came");
    }
}
