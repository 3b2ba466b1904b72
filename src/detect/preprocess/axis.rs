//! Which source samples make one output sample, along one axis; computed once for a geometry. Pure.
//!
//! Reduced to half or less, an output sample is the mean of the stretch of source samples that it covers (area
//! averaging); between that and enlargement it is interpolated between the two nearest. Where the stretch is
//! a whole number of samples, beginning on a sample, plain sums replace weights.

/// Along one axis, output sample `i` is made from the source samples `first[i] .. first[i] + taps`.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub first: Vec<usize>,
    pub taps: usize,
    /// `taps` per output sample, adding up to the gain; empty where each weighs one.
    pub weights: Vec<u16>,
    /// What the weights of one output sample add up to.
    pub gain: u32,
}

/// The stretch of the source, in samples (edges, not centres), and how long the source is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    pub offset: f64,
    pub extent: f64,
    pub source_len: usize,
}

impl Axis {
    /// `gain` is used where weights are needed; sums of up to `max_sum` samples may go without.
    pub fn new(stretch: Stretch, outputs: usize, gain: u32, max_sum: usize) -> Self {
        Self::sums(stretch, outputs, max_sum).unwrap_or_else(|| Self::weighted(stretch, outputs, gain))
    }

    fn sums(Stretch { offset, extent, source_len }: Stretch, outputs: usize, max_sum: usize) -> Option<Self> {
        let ratio = extent / outputs as f64;
        let whole = offset >= 0.0 && offset.fract() == 0.0 && ratio >= 1.0 && ratio.fract() == 0.0;
        let (start, taps) = (offset as usize, ratio as usize);
        (whole && taps <= max_sum && start + taps * outputs <= source_len).then(|| Self {
            first: (0..outputs).map(|i| start + i * taps).collect(),
            taps,
            weights: Vec::new(),
            gain: taps as u32,
        })
    }

    fn weighted(stretch: Stretch, outputs: usize, gain: u32) -> Self {
        let spans: Vec<Span> = (0..outputs).map(|i| Span::of(stretch, outputs, i)).collect();
        let taps = spans.iter().map(|span| span.weights.len()).max().unwrap_or(1);
        let mut axis = Self { first: Vec::new(), taps, weights: Vec::new(), gain };
        for span in spans {
            let first = span.first.min(stretch.source_len - taps);
            let lead = span.first - first;
            let mut weights = vec![0.0; lead];
            weights.extend(span.weights);
            weights.resize(taps, 0.0);
            axis.first.push(first);
            axis.weights.extend(quantise(&weights, gain));
        }
        axis
    }

    /// Where the last output sample's source samples end.
    pub fn end(&self) -> usize {
        self.first.last().map_or(0, |first| first + self.taps)
    }

    /// Of output sample `i`; empty where each weighs one.
    pub fn weights_of(&self, i: usize) -> &[u16] {
        if self.weights.is_empty() { &[] } else { &self.weights[i * self.taps..][..self.taps] }
    }
}

/// The source samples of one output sample, and their weights, which add up to 1.
struct Span {
    first: usize,
    weights: Vec<f64>,
}

impl Span {
    fn of(Stretch { offset, extent, source_len }: Stretch, outputs: usize, i: usize) -> Self {
        let ratio = extent / outputs as f64;
        let (from, to) = (offset + i as f64 * ratio, offset + (i + 1) as f64 * ratio);
        let last = (source_len - 1) as f64;
        if ratio < 2.0 {
            let center = ((from + to) / 2.0 - 0.5).clamp(0.0, last);
            let (first, fraction) = (center.floor(), center.fract());
            let weights = if fraction == 0.0 { vec![1.0] } else { vec![1.0 - fraction, fraction] };
            return Self { first: first as usize, weights };
        }
        let (from, to) = (from.clamp(0.0, last), to.clamp(0.0, last + 1.0));
        let to = to.max(from + 1e-6);
        let (first, end) = (from.floor() as usize, (to.ceil() as usize).min(source_len));
        let covered = |k: usize| (to.min((k + 1) as f64) - from.max(k as f64)).max(0.0) / (to - from);
        Self { first, weights: (first..end).map(covered).collect() }
    }
}

/// Whole weights that add up to the gain exactly: the running sum is rounded, not each weight.
fn quantise(weights: &[f64], gain: u32) -> impl Iterator<Item = u16> {
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let mut given = 0;
    weights.iter().map(move |weight| {
        sum += weight;
        let upto = (sum / total * f64::from(gain)).round() as u32;
        let own = upto - given;
        given = upto;
        own as u16
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stretch(offset: f64, extent: f64, source_len: usize) -> Stretch {
        Stretch { offset, extent, source_len }
    }

    #[test]
    fn whole_ratios_need_no_weights() {
        let axis = Axis::new(stretch(6.0, 12.0, 30), 4, 256, 257);
        assert_eq!(axis, Axis { first: vec![6, 9, 12, 15], taps: 3, weights: vec![], gain: 3 });
    }

    #[test]
    fn a_stretch_of_two_and_a_half_is_weighted() {
        let axis = Axis::new(stretch(0.0, 5.0, 5), 2, 100, 257);
        assert_eq!(axis.first, [0, 2]);
        assert_eq!(axis.weights, [40, 40, 20, 20, 40, 40]);
    }

    #[test]
    fn enlarging_interpolates_and_stops_at_the_edges() {
        let axis = Axis::new(stretch(0.0, 2.0, 2), 4, 100, 257);
        assert_eq!(axis.first, [0, 0, 0, 0]);
        assert_eq!(axis.weights, [100, 0, 75, 25, 25, 75, 0, 100]);
    }

    proptest! {
        #[test]
        fn weights_add_up_and_stay_inside(
            source_len in 1usize..300, outputs in 1usize..200, from in 0.0f64..1.0, to in 0.0f64..1.0, gain in 1u32..32768,
        ) {
            let (from, to) = (from.min(to) * source_len as f64, from.max(to) * source_len as f64);
            let axis = Axis::new(stretch(from, (to - from).max(0.01), source_len), outputs, gain, 257);
            prop_assert_eq!(axis.first.len(), outputs);
            for (i, &first) in axis.first.iter().enumerate() {
                prop_assert!(first + axis.taps <= source_len);
                let sum: u32 = if axis.weights.is_empty() {
                    axis.taps as u32
                } else {
                    axis.weights_of(i).iter().map(|&w| u32::from(w)).sum()
                };
                prop_assert_eq!(sum, axis.gain);
            }
        }
    }
}
