//! Reduces one plane of bytes, a row of output at a time: first down the columns into 16-bit sums, then along the row.
//! Both loops run over plain slices of known length, so that the compiler turns them into vector code; nothing
//! is allocated after construction. Pure.

use super::axis::{Axis, Stretch};

/// Weights down the columns: 256 · 255 still fits 16 bits.
const DOWN_GAIN: u32 = 256;
/// 257 · 255 is the largest sum that fits 16 bits.
const DOWN_MAX_SUM: usize = 257;
/// Weights along the row: times a 16-bit sum it stays within 31 bits.
const ALONG_GAIN: u32 = 32_768;
const ALONG_MAX_SUM: usize = 32_768;

/// For planes of one geometry; `C` samples lie side by side for each pixel (1, NV12's chroma 2, packed RGB 3).
pub struct PlaneSampler<const C: usize> {
    down: Axis,
    along: Axis,
    /// Source columns that are used: from here on, as many as `sums` holds.
    first_column: usize,
    /// Of one output row: the weighted sums down each used column.
    sums: Vec<u16>,
    /// Turns a weighted sum of weighted sums into a mean.
    unit: f32,
    /// Along the row: 1080p's chroma for a 640×360 input, its luma for 1280×720.
    two_from_three: bool,
}

impl<const C: usize> PlaneSampler<C> {
    /// Reduces the stretch `across` × `downwards` of a plane to `width` × `height`, none of them zero.
    pub fn new(across: Stretch, downwards: Stretch, width: usize, height: usize) -> Self {
        let down = Axis::new(downwards, height, DOWN_GAIN, DOWN_MAX_SUM);
        let along = Axis::new(across, width, ALONG_GAIN, ALONG_MAX_SUM);
        let first_column = along.first.first().copied().unwrap_or(0);
        let sums = vec![0; (along.end() - first_column) * C];
        let unit = 1.0 / (down.gain as f32 * along.gain as f32);
        let two_from_three = is_two_from_three(&along);
        Self { down, along, first_column, sums, unit, two_from_three }
    }

    /// Sums up the source rows of output row `row`.
    pub fn gather(&mut self, plane: &[u8], stride: usize, row: usize) {
        let (first, skip) = (self.down.first[row], self.first_column * C);
        let len = self.sums.len();
        let source = |k: usize| &plane[(first + k) * stride + skip..][..len];
        let weights = self.down.weights_of(row);
        if weights.is_empty() {
            add_all(&mut self.sums, self.down.taps, source);
        } else {
            weigh_all(&mut self.sums, weights, source);
        }
    }

    /// Writes sample `channel` of the gathered row, as means from 0 to 255.
    pub fn write(&self, channel: usize, out: &mut [f32]) {
        debug_assert_eq!(out.len(), self.along.first.len());
        if !self.along.weights.is_empty() {
            return self.write_weighted(channel, out);
        }
        match self.along.taps {
            1 => self.write_sums::<1>(channel, out),
            2 => self.write_sums::<2>(channel, out),
            3 => self.write_sums::<3>(channel, out),
            4 => self.write_sums::<4>(channel, out),
            6 => self.write_sums::<6>(channel, out),
            _ => self.write_any_sums(channel, out),
        }
    }

    fn write_sums<const N: usize>(&self, channel: usize, out: &mut [f32]) {
        for (run, out) in self.sums.chunks_exact(N * C).zip(out) {
            let sum: i32 = (0..N).map(|k| i32::from(run[k * C + channel])).sum();
            *out = sum as f32 * self.unit;
        }
    }

    fn write_any_sums(&self, channel: usize, out: &mut [f32]) {
        for (run, out) in self.sums.chunks_exact(self.along.taps * C).zip(out) {
            let sum: i32 = run.chunks_exact(C).map(|pixel| i32::from(pixel[channel])).sum();
            *out = sum as f32 * self.unit;
        }
    }

    fn write_weighted(&self, channel: usize, out: &mut [f32]) {
        match self.along.taps {
            2 if self.two_from_three => self.write_two_from_three(channel, out),
            2 => self.write_taps::<2>(channel, out),
            3 => self.write_taps::<3>(channel, out),
            4 => self.write_taps::<4>(channel, out),
            5 => self.write_taps::<5>(channel, out),
            _ => self.write_any_taps(channel, out),
        }
    }

    /// Each two outputs are made from three samples, always in the same way: no table is read.
    fn write_two_from_three(&self, channel: usize, out: &mut [f32]) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| i32::from(self.along.weights[i]));
        for (run, [left, right]) in self.sums.chunks_exact(3 * C).zip(out.as_chunks_mut::<2>().0) {
            let [x, y, z] = [0, 1, 2].map(|k| i32::from(run[k * C + channel]));
            *left = (a * x + b * y) as f32 * self.unit;
            *right = (c * y + d * z) as f32 * self.unit;
        }
    }

    fn write_taps<const N: usize>(&self, channel: usize, out: &mut [f32]) {
        let weights = self.along.weights.as_chunks::<N>().0;
        for ((&first, weights), out) in self.along.first.iter().zip(weights).zip(out) {
            let run = &self.sums[(first - self.first_column) * C..][..N * C];
            let sum: i32 = (0..N).map(|k| i32::from(run[k * C + channel]) * i32::from(weights[k])).sum();
            *out = sum as f32 * self.unit;
        }
    }

    fn write_any_taps(&self, channel: usize, out: &mut [f32]) {
        let weights = self.along.weights.chunks_exact(self.along.taps);
        for ((&first, weights), out) in self.along.first.iter().zip(weights).zip(out) {
            let run = &self.sums[(first - self.first_column) * C..];
            let pixels = run.chunks_exact(C).zip(weights);
            let sum: i32 = pixels.map(|(pixel, &weight)| i32::from(pixel[channel]) * i32::from(weight)).sum();
            *out = sum as f32 * self.unit;
        }
    }
}

fn is_two_from_three(along: &Axis) -> bool {
    let Some(&start) = along.first.first() else { return false };
    let regular = along.first.iter().enumerate().all(|(i, &first)| first == start + i / 2 * 3 + i % 2);
    let whole = along.first.len().is_multiple_of(2) && along.taps == 2 && regular;
    whole && along.weights.chunks_exact(4).all(|weights| weights == &along.weights[..4])
}

/// Several rows in one go save reading and writing the sums for each.
fn add_all<'a>(sums: &mut [u16], rows: usize, source: impl Fn(usize) -> &'a [u8]) {
    match rows {
        1 => add::<1, true>(sums, [source(0)]),
        2 => add::<2, true>(sums, [source(0), source(1)]),
        _ => add::<3, true>(sums, [source(0), source(1), source(2)]),
    }
    let mut done = rows.min(3);
    while done + 3 <= rows {
        add::<3, false>(sums, [source(done), source(done + 1), source(done + 2)]);
        done += 3;
    }
    for k in done..rows {
        add::<1, false>(sums, [source(k)]);
    }
}

fn add<const N: usize, const FRESH: bool>(sums: &mut [u16], rows: [&[u8]; N]) {
    let rows = rows.map(|row| &row[..sums.len()]);
    for (x, sum) in sums.iter_mut().enumerate() {
        let start = if FRESH { 0 } else { *sum };
        *sum = rows.iter().fold(start, |sum, row| sum + u16::from(row[x]));
    }
}

fn weigh_all<'a>(sums: &mut [u16], weights: &[u16], source: impl Fn(usize) -> &'a [u8]) {
    let row = |k: usize| (source(k), weights[k]);
    match weights.len() {
        1 => weigh::<1, true>(sums, [row(0)]),
        2 => weigh::<2, true>(sums, [row(0), row(1)]),
        _ => weigh::<3, true>(sums, [row(0), row(1), row(2)]),
    }
    for (k, &weight) in weights.iter().enumerate().skip(3) {
        weigh::<1, false>(sums, [(source(k), weight)]);
    }
}

fn weigh<const N: usize, const FRESH: bool>(sums: &mut [u16], rows: [(&[u8], u16); N]) {
    let rows = rows.map(|(row, weight)| (&row[..sums.len()], weight));
    for (x, sum) in sums.iter_mut().enumerate() {
        let start = if FRESH { 0 } else { *sum };
        *sum = rows.iter().fold(start, |sum, (row, weight)| sum + u16::from(row[x]) * weight);
    }
}
