//! Wrong keys are answered ever later, by the address that they come from. Right ones never wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Wrong keys that are answered at once: somebody mistyped.
const FREE: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(2);
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);
/// Bounds the memory that strangers can make us use.
const MAX_PEERS: usize = 4096;

#[derive(Default)]
pub struct Throttle {
    peers: Mutex<HashMap<IpAddr, Wrong>>,
}

struct Wrong {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// How long the answer to this wrong key is held back.
    pub fn wrong(&self, peer: IpAddr, now: Instant) -> Duration {
        let mut peers = self.peers.lock();
        if peers.len() >= MAX_PEERS && !peers.contains_key(&peer) {
            peers.retain(|_, wrong| now.duration_since(wrong.last) < FORGET_AFTER);
            if peers.len() >= MAX_PEERS {
                return MAX_DELAY;
            }
        }
        let wrong = peers.entry(peer).or_insert(Wrong { count: 0, last: now });
        if now.duration_since(wrong.last) >= FORGET_AFTER {
            wrong.count = 0;
        }
        *wrong = Wrong { count: wrong.count.saturating_add(1), last: now };
        delay(wrong.count)
    }

    pub fn right(&self, peer: IpAddr) {
        self.peers.lock().remove(&peer);
    }
}

fn delay(count: u32) -> Duration {
    match count.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_DELAY.saturating_mul(1 << doublings.min(10)).min(MAX_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ever_later_up_to_a_bound_then_forgotten() {
        let (throttle, now) = (Throttle::default(), crate::clock::monotonic());
        let peer = IpAddr::from([10, 0, 0, 1]);
        let delays: Vec<_> = (0..10).map(|_| throttle.wrong(peer, now).as_millis()).collect();
        assert_eq!(delays, [0, 0, 0, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(throttle.wrong(IpAddr::from([10, 0, 0, 2]), now), Duration::ZERO, "others do not wait for it");
        assert_eq!(throttle.wrong(peer, now + FORGET_AFTER), Duration::ZERO);
        throttle.wrong(peer, now + FORGET_AFTER);
        throttle.right(peer);
        assert_eq!(throttle.wrong(peer, now + FORGET_AFTER), Duration::ZERO);
    }

    #[test]
    fn memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), crate::clock::monotonic());
        for n in 0..2 * MAX_PEERS as u32 {
            throttle.wrong(IpAddr::from(n.to_be_bytes()), now);
        }
        assert_eq!(throttle.peers.lock().len(), MAX_PEERS);
    }
}
