//! Which addresses a message may be sent to. A task's author names the receiver, and must not reach with it what only
//! this box can reach: the box itself, its link, a cloud's metadata, its own interface. Pure but for one look at which
//! addresses are this machine's.
//!
//! Every notation comes down to an address before it is judged (the URL parser reads decimal, octal and hexadecimal
//! forms), a name is resolved once, and the connection is made to the very address that was judged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use url::{Host, Url};

use crate::domain::Cidr;

/// Where clouds answer with credentials; a range that holds one of these does not allow it, only the address itself.
const METADATA: [&str; 6] =
    ["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"];
const REFUSED: [&str; 19] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "::/128",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "64:ff9b:1::/48",
];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the address {ip} is refused: it is {what}; receivers_allow of the box's configuration can allow it")]
pub struct Refused {
    ip: IpAddr,
    what: &'static str,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Rules {
    allowed: Vec<Cidr>,
    refused: Vec<Cidr>,
    metadata: Vec<IpAddr>,
    own: Option<SocketAddr>,
}

impl Guard {
    /// `own`: where this service listens itself, which nothing allows.
    pub fn new(allowed: Vec<Cidr>, own: Option<SocketAddr>) -> Self {
        let refused = REFUSED.iter().map(|range| range.parse().expect("a range")).collect();
        let metadata = METADATA.iter().map(|ip| ip.parse().expect("an address")).collect();
        Self { rules: Arc::new(Rules { allowed, refused, metadata, own }) }
    }

    /// The port decides whether it is our own listener.
    pub fn check(&self, ip: IpAddr, port: u16) -> Result<(), Refused> {
        let rules = &*self.rules;
        let refused = |what| Err(Refused { ip, what });
        for ip in meanings(ip) {
            if rules.is_own(ip, port) {
                return Err(Refused { ip, what: "where this service itself listens, which nothing allows" });
            }
            if rules.metadata.contains(&ip) {
                if !rules.allowed.iter().any(|range| range.is_single() && range.contains(ip)) {
                    return refused("a cloud's metadata service");
                }
                continue;
            }
            let is_refused = rules.refused.iter().any(|range| range.contains(ip));
            if is_refused && !rules.allowed.iter().any(|range| range.contains(ip)) {
                return refused(kind(ip));
            }
        }
        Ok(())
    }

    /// Whether a name that leads to this machine would lead to our own listener.
    pub fn is_own_port(&self, port: u16) -> bool {
        self.rules.own.is_some_and(|own| own.port() == port)
    }

    /// Addresses of a name that may be connected to: all of them, or why the first may not.
    pub async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
        for address in &found {
            self.check(address.ip(), port).map_err(std::io::Error::other)?;
        }
        Ok(found)
    }

    /// Judges an address that is written in the URL itself; a name is judged when it is resolved.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        let port = url.port_or_known_default().unwrap_or(0);
        match url.host() {
            Some(Host::Ipv4(ip)) => self.check(ip.into(), port),
            Some(Host::Ipv6(ip)) => self.check(ip.into(), port),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

impl Rules {
    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        let Some(own) = self.own.filter(|own| own.port() == port) else { return false };
        own.ip() == ip || ((own.ip().is_unspecified() || ip.is_unspecified()) && is_this_machine(ip))
    }
}

/// Only addresses of this machine can be bound.
fn is_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// The address, and the IPv4 address that it stands for or leads to, if any.
fn meanings(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inner = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => embedded(v6),
    };
    // A mapped address is the IPv4 address and nothing else.
    let mapped = matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    (!mapped).then_some(ip).into_iter().chain(inner.map(IpAddr::V4))
}

/// Mapped (::ffff:a.b.c.d), compatible (::a.b.c.d), NAT64 (64:ff9b::a.b.c.d) and 6to4 (2002:ab:cd::).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    if ip.to_ipv4_mapped().is_some() || s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return Some(v4(s[6], s[7]));
    }
    if s[..6] == [0; 6] && !ip.is_loopback() && !ip.is_unspecified() {
        return Some(v4(s[6], s[7]));
    }
    (s[0] == 0x2002).then(|| v4(s[1], s[2]))
}

fn kind(ip: IpAddr) -> &'static str {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    };
    if ip.is_loopback() {
        "this machine (loopback)"
    } else if ip.is_multicast() {
        "a multicast address"
    } else if ip.is_unspecified() {
        "no address of a machine"
    } else if link_local {
        "a link-local address"
    } else {
        "a private or reserved address"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        Guard::new(
            allowed.iter().map(|range| range.parse().unwrap()).collect(),
            Some("127.0.0.1:8800".parse().unwrap()),
        )
    }

    fn refusal(guard: &Guard, url: &str) -> Option<String> {
        guard.check_url(&Url::parse(url).unwrap()).err().map(|refused| refused.to_string())
    }

    #[test]
    fn what_only_the_box_can_reach_is_refused_in_every_notation() {
        let guard = guard(&["10.0.0.0/8", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"]);
        for (host, what) in [
            ("127.0.0.1", "loopback"),
            ("127.1", "loopback"),
            ("2130706433", "loopback"),
            ("0x7f000001", "loopback"),
            ("0177.0.0.1", "loopback"),
            ("0x7f.0.0.1", "loopback"),
            ("[::1]", "loopback"),
            ("[::ffff:127.0.0.1]", "loopback"),
            ("[::ffff:7f00:1]", "loopback"),
            ("[::127.0.0.1]", "loopback"),
            ("[64:ff9b::7f00:1]", "loopback"),
            ("[2002:7f00:1::]", "loopback"),
            ("0.0.0.0", "no address"),
            ("[::]", "no address"),
            ("169.254.1.1", "link-local"),
            ("[fe80::1]", "link-local"),
            ("169.254.169.254", "metadata"),
            ("0xa9fea9fe", "metadata"),
            ("[::ffff:169.254.169.254]", "metadata"),
            ("100.100.100.200", "metadata"),
            ("[fd00:ec2::254]", "metadata"),
            ("224.0.0.1", "multicast"),
            ("[ff02::1]", "multicast"),
            ("255.255.255.255", "reserved"),
            ("172.16.0.1", "private"),
        ] {
            let refused = refusal(&guard, &format!("http://{host}/x")).unwrap_or_default();
            assert!(refused.contains(what), "{host}: {refused:?}");
        }
        for host in ["10.1.2.3", "192.168.1.1", "[fd12::1]", "8.8.8.8", "[2606:4700::1]", "[::ffff:10.0.0.1]", "name"] {
            assert_eq!(refusal(&guard, &format!("http://{host}/x")), None, "{host}");
        }
    }

    #[test]
    fn a_range_allows_all_but_the_own_listener_and_metadata() {
        let loopback = guard(&["127.0.0.0/8", "169.254.0.0/16", "::1"]);
        assert_eq!(refusal(&loopback, "http://127.0.0.1:9000/"), None);
        assert_eq!(refusal(&loopback, "http://[::1]:9000/"), None);
        assert!(refusal(&loopback, "http://127.0.0.1:8800/").unwrap().contains("itself"));
        assert!(refusal(&loopback, "http://[::ffff:127.0.0.1]:8800/").unwrap().contains("itself"));
        assert!(refusal(&loopback, "http://169.254.169.254/").unwrap().contains("metadata"));
        assert_eq!(refusal(&guard(&["169.254.169.254/32"]), "http://169.254.169.254/"), None);
        let everywhere = Guard::new(vec!["127.0.0.0/8".parse().unwrap()], Some("0.0.0.0:8800".parse().unwrap()));
        assert!(refusal(&everywhere, "http://127.0.0.1:8800/").unwrap().contains("itself"));
        assert!(everywhere.is_own_port(8800) && !everywhere.is_own_port(80));
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_leads_to() {
        let refused = guard(&[]).resolve("localhost", 80).await.unwrap_err().to_string();
        assert!(refused.contains("loopback"), "{refused}");
        assert!(!guard(&["127.0.0.0/8", "::1"]).resolve("localhost", 80).await.unwrap().is_empty());
    }
}
