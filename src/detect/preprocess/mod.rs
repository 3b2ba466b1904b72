//! Samples a frame's planes straight into a model's input tensor: scale, colour and layout in one pass over the
//! output's pixels, with luma and chroma each read once where they lie. Pure; a [`Sampler`] holds the tables and the
//! row buffers of one geometry, so that a frame allocates nothing.

mod axis;
mod color;
mod plane;

use axis::Stretch;
use color::ToRgb;
use plane::PlaneSampler;

use super::catalog::{InputRule, PixelOrder};
use super::plan::InputSize;
use crate::domain::Rect;
use crate::frame::{Color, Layout, Planes};

/// What pixels lie where; a sampler is made for one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Width and height of the frame.
    pub frame: (usize, usize),
    pub pixels: Pixels,
    /// The part of the frame that is sampled.
    pub region: Rect,
    pub input: InputSize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    Yuv(Layout),
    /// Three bytes a pixel, without gaps.
    PackedRgb,
}

impl Geometry {
    pub fn whole_frame(frame: (usize, usize), pixels: Pixels, input: InputSize) -> Self {
        Self { frame, pixels, region: Rect::new(0.0, 0.0, frame.0 as f32, frame.1 as f32), input }
    }
}

/// Fills the input tensor for frames of one geometry.
pub struct Sampler {
    geometry: Geometry,
    planes: PlaneSamplers,
    /// One output row of Y, U and V.
    rows: [Vec<f32>; 3],
}

enum PlaneSamplers {
    I420 { luma: PlaneSampler<1>, chroma: PlaneSampler<1> },
    Nv12 { luma: PlaneSampler<1>, chroma: PlaneSampler<2> },
    Rgb(PlaneSampler<3>),
}

impl Sampler {
    pub fn new(geometry: Geometry) -> Self {
        let luma = Stretches::of_luma(&geometry);
        let chroma = Stretches::of_chroma(&geometry);
        let planes = match geometry.pixels {
            Pixels::Yuv(Layout::I420) => PlaneSamplers::I420 { luma: luma.sampler(), chroma: chroma.sampler() },
            Pixels::Yuv(Layout::Nv12) => PlaneSamplers::Nv12 { luma: luma.sampler(), chroma: chroma.sampler() },
            Pixels::PackedRgb => PlaneSamplers::Rgb(luma.sampler()),
        };
        let rows = std::array::from_fn(|_| vec![0.0; geometry.input.content.0]);
        Self { geometry, planes, rows }
    }

    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Fills `tensor`, three planes of the input's width × height.
    ///
    /// # Panics
    /// When the planes or the tensor are not those of the geometry.
    pub fn sample(&mut self, planes: &Planes<'_>, color: Color, rule: &InputRule, tensor: &mut [f32]) {
        assert_eq!((planes.width, planes.height), self.geometry.frame, "frame of another geometry");
        let to_rgb = ToRgb::new(color);
        let mut target = Target::new(&self.geometry.input, rule, tensor);
        for row in 0..self.geometry.input.content.1 {
            let [y, u, v] = &mut self.rows;
            match &mut self.planes {
                PlaneSamplers::I420 { luma, chroma } => {
                    luma.gather(planes.y, planes.y_stride, row);
                    luma.write(0, y);
                    chroma.gather(planes.u, planes.uv_stride, row);
                    chroma.write(0, u);
                    chroma.gather(planes.v, planes.uv_stride, row);
                    chroma.write(0, v);
                }
                PlaneSamplers::Nv12 { luma, chroma } => {
                    luma.gather(planes.y, planes.y_stride, row);
                    luma.write(0, y);
                    chroma.gather(planes.u, planes.uv_stride, row);
                    chroma.write(0, u);
                    chroma.write(1, v);
                }
                PlaneSamplers::Rgb(_) => panic!("made for packed RGB, given planes"),
            }
            to_rgb.row([y, u, v], target.rgb_row(row), rule.mean, rule.scale);
        }
        target.pad();
    }

    /// As `sample`, from packed RGB.
    ///
    /// # Panics
    /// When the pixels or the tensor are not those of the geometry.
    pub fn sample_rgb(&mut self, rgb: &[u8], rule: &InputRule, tensor: &mut [f32]) {
        let PlaneSamplers::Rgb(pixels) = &mut self.planes else { panic!("made for planes, given packed RGB") };
        let mut target = Target::new(&self.geometry.input, rule, tensor);
        for row in 0..self.geometry.input.content.1 {
            pixels.gather(rgb, self.geometry.frame.0 * 3, row);
            for (channel, out) in target.rgb_row(row).into_iter().enumerate() {
                pixels.write(channel, out);
                out.iter_mut().for_each(|value| *value = (*value - rule.mean) * rule.scale);
            }
        }
        target.pad();
    }
}

/// What is sampled of one plane, in its own samples.
struct Stretches {
    across: Stretch,
    downwards: Stretch,
    content: (usize, usize),
}

impl Stretches {
    fn of_luma(Geometry { frame, region, input, .. }: &Geometry) -> Self {
        let stretch = |offset: f32, extent: f32, source_len| Stretch {
            offset: f64::from(offset),
            extent: f64::from(extent),
            source_len,
        };
        Self {
            across: stretch(region.x, region.w, frame.0),
            downwards: stretch(region.y, region.h, frame.1),
            content: input.content,
        }
    }

    /// Half of luma's in both directions. A chroma sample is taken to lie amid its four pixels: what the standards'
    /// other sitings would shift is half a pixel of the frame, in colour only.
    fn of_chroma(geometry: &Geometry) -> Self {
        let luma = Self::of_luma(geometry);
        let half = |s: Stretch| Stretch {
            offset: s.offset / 2.0,
            extent: s.extent / 2.0,
            source_len: s.source_len.div_ceil(2),
        };
        Self { across: half(luma.across), downwards: half(luma.downwards), content: luma.content }
    }

    fn sampler<const C: usize>(&self) -> PlaneSampler<C> {
        PlaneSampler::new(self.across, self.downwards, self.content.0, self.content.1)
    }
}

/// The tensor, seen as red, green and blue planes.
struct Target<'a> {
    rgb: [&'a mut [f32]; 3],
    size: InputSize,
    black: f32,
}

impl<'a> Target<'a> {
    fn new(size: &InputSize, rule: &InputRule, tensor: &'a mut [f32]) -> Self {
        let area = size.width * size.height;
        assert_eq!(tensor.len(), 3 * area, "tensor of another size");
        let (first, rest) = tensor.split_at_mut(area);
        let (second, third) = rest.split_at_mut(area);
        let rgb = match rule.order {
            PixelOrder::Rgb => [first, second, third],
            PixelOrder::Bgr => [third, second, first],
        };
        Self { rgb, size: *size, black: -rule.mean * rule.scale }
    }

    fn rgb_row(&mut self, row: usize) -> [&mut [f32]; 3] {
        let (start, len) = (row * self.size.width, self.size.content.0);
        self.rgb.each_mut().map(|plane| &mut plane[start..start + len])
    }

    /// Black to the right of and below the content.
    fn pad(&mut self) {
        let (columns, rows) = self.size.content;
        for plane in &mut self.rgb {
            let (content, below) = plane.split_at_mut(rows * self.size.width);
            below.fill(self.black);
            if columns < self.size.width {
                content.chunks_exact_mut(self.size.width).for_each(|row| row[columns..].fill(self.black));
            }
        }
    }
}

#[cfg(test)]
mod tests;
