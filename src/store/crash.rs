//! Where a test may stop the process between two steps, to kill it there. Only debug builds look; in others these are
//! nothing. What survives a kill is what was committed, so the steps that count are commits that changed something:
//! there is a point before and one after each.

/// Set to n, the writer stands still at the n-th point, having said so on stdout.
#[cfg(debug_assertions)]
const VARIABLE: &str = "FACE_EDGE_TEST_STAND_STILL_AT";

#[cfg(debug_assertions)]
pub fn point() {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    static LEFT: LazyLock<AtomicI64> = LazyLock::new(|| {
        let set = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
        AtomicI64::new(set.unwrap_or(i64::MAX))
    });
    if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        println!("standing still");
        loop {
            std::thread::park();
        }
    }
}

#[cfg(not(debug_assertions))]
pub fn point() {}
