//! The size window and the region: whether a face may be reported at all. Tracking does not ask this, so that a
//! person who walks into the window keeps the track that was theirs before.

use crate::domain::{Rect, Rules};

use super::verdict::Verdict;

/// What forbids to report this face, if anything does. Every limit is inclusive.
pub(super) fn rejection(rules: &Rules, bbox: &Rect) -> Option<Verdict> {
    let (shorter, longer) = (bbox.shorter_side(), bbox.longer_side());
    if shorter < rules.min_size_px {
        return Some(Verdict::TooSmall { px: shorter, min: rules.min_size_px });
    }
    if longer > rules.max_size_px {
        return Some(Verdict::TooLarge { px: longer, max: rules.max_size_px });
    }
    let center = bbox.center();
    (!rules.roi.contains(center)).then_some(Verdict::OutsideRoi { center })
}
