//! Non-maximum suppression: of boxes that overlap, the surest stays. Pure.

use crate::domain::Detection;

/// Greedy, by descending score: drops every detection whose IoU with a kept one is above `iou`. What stays is ordered
/// by descending score; of equal scores the earlier comes first.
pub fn suppress(detections: &mut Vec<Detection>, iou: f32) {
    detections.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept = 0;
    for index in 0..detections.len() {
        let candidate = detections[index];
        if detections[..kept].iter().all(|winner| winner.bbox.iou(&candidate.bbox) <= iou) {
            detections[kept] = candidate;
            kept += 1;
        }
    }
    detections.truncate(kept);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Rect;

    fn detection(x: f32, y: f32, w: f32, h: f32, score: f32) -> Detection {
        Detection { bbox: Rect::new(x, y, w, h), score, landmarks: None }
    }

    #[test]
    fn keeps_the_surer_of_two_and_the_stranger() {
        let mut all = vec![
            detection(0.0, 0.0, 10.0, 10.0, 0.7),
            detection(1.0, 0.0, 10.0, 10.0, 0.9),
            detection(50.0, 0.0, 10.0, 10.0, 0.6),
        ];
        suppress(&mut all, 0.3);
        let scores: Vec<f32> = all.iter().map(|d| d.score).collect();
        assert_eq!(scores, [0.9, 0.6]);
    }

    #[test]
    fn an_overlap_of_exactly_the_limit_stays() {
        // 10×10 boxes shifted by 5: 50 / 150.
        let mut all = vec![detection(0.0, 0.0, 10.0, 10.0, 0.9), detection(5.0, 0.0, 10.0, 10.0, 0.8)];
        suppress(&mut all, 50.0 / 150.0);
        assert_eq!(all.len(), 2);
    }

    /// The textbook's way: take the best, strike out its rivals, repeat.
    fn textbook(mut left: Vec<Detection>, iou: f32) -> Vec<Detection> {
        let mut kept = Vec::new();
        while !left.is_empty() {
            let mut best = 0;
            for index in 1..left.len() {
                if left[index].score > left[best].score {
                    best = index;
                }
            }
            let winner = left.remove(best);
            left.retain(|other| winner.bbox.iou(&other.bbox) <= iou);
            kept.push(winner);
        }
        kept
    }

    prop_compose! {
        fn any_detection()(x in 0..60u8, y in 0..60u8, w in 0..40u8, h in 0..40u8, score in 0..12u8) -> Detection {
            detection(x.into(), y.into(), w.into(), h.into(), f32::from(score) / 12.0)
        }
    }

    proptest! {
        #[test]
        fn equals_the_textbook(all in prop::collection::vec(any_detection(), 0..40), iou in 0.0f32..1.0) {
            let mut ours = all.clone();
            suppress(&mut ours, iou);
            prop_assert_eq!(ours, textbook(all, iou));
        }
    }
}
