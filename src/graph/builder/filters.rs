//! Filters, and the convolutions of networks for series, whose maps have one line.

use super::GraphBuilder;
use crate::error::{Error, Result};
use crate::graph::{Filter, Fir, Layer, NodeId, Param, Shape, Stored, Window};

/// Before a transposed convolution each pixel is followed by a zero.
const SPREAD: [f32; 2] = [1.0, 0.0];

impl GraphBuilder {
    /// Filters and halves or doubles a map ([`Layer::FirResample`]).
    pub fn fir_resample(
        &mut self,
        name: &str,
        x: NodeId,
        how: Fir,
        taps: &[f32],
    ) -> Result<NodeId> {
        let Shape::Map { h, w, c } = self.shape(x) else { return Err(self.not_a_map(name)) };
        // A mirrored pixel must be there; every other one of an enlarged map is between two.
        let least = match how {
            Fir { mirror: false, up, .. } => 2 - usize::from(up),
            Fir { up: true, .. } => taps.len() / 4 + 1,
            Fir { up: false, .. } => (taps.len() / 2).max(2),
        };
        if w < least || (h < least && !how.flat) {
            return Err(Error::invalid(
                name,
                format!("a map with sides of {least} or more"),
                format!("{h}x{w}"),
                "use a larger sample_size or fewer blocks",
            ));
        }
        let side = |n| if how.up { 2 * n } else { n / 2 };
        let h = if how.flat { h } else { side(h) };
        let layer = Layer::FirResample { how, taps: taps.to_vec() };
        Ok(self.push(name, layer, &[x], Shape::Map { h, w: side(w), c }))
    }

    /// A `k x k` convolution with a pixel of the map in every place, then `taps` in both directions
    /// and every other pixel: as one, with more zeros around the map.
    pub fn conv2d_down(
        &mut self,
        name: &str,
        x: NodeId,
        out: usize,
        k: usize,
        taps: &[f32],
    ) -> Result<NodeId> {
        let c = self.shape(x).channels();
        let size = k + taps.len() - 1;
        let before = k / 2 + (taps.len() - 1) / 2;
        let window = Window::square(size, 2, (before, (size - 2).saturating_sub(before)));
        let shape = self.under(name, x, window, out)?;
        let stored = Stored::Filtered(Filter::new(taps));
        let weight = Param::new(format!("{name}.weight"), &[out, c, size, size]);
        let weight = self.stored(Param { stored, ..weight });
        let bias = Some(self.param(format!("{name}.bias"), &[out]));
        Ok(self.push(name, Layer::Conv2d { weight, bias, window }, &[x], shape))
    }

    /// The map at another size ([`Layer::Interpolate`]).
    pub fn interpolate(
        &mut self,
        name: &str,
        x: NodeId,
        [h, w]: [usize; 2],
        offset: f32,
    ) -> Result<NodeId> {
        let Shape::Map { c, .. } = self.shape(x) else { return Err(self.not_a_map(name)) };
        Ok(self.push(name, Layer::Interpolate { offset }, &[x], Shape::Map { h, w, c }))
    }

    /// A convolution along lines, stored as `[out, in, k]`; an odd number of taps keeps the length
    /// at a stride of 1.
    pub fn line_conv(
        &mut self,
        name: &str,
        x: NodeId,
        out: usize,
        (k, stride): (usize, usize),
        bias: bool,
    ) -> Result<NodeId> {
        let window = Window { stride, ..Window::same([1, k]) };
        let shape = [out, self.shape(x).channels(), 1, k];
        self.line(name, x, Stored::Line, shape, window, bias)
    }

    /// A transposed convolution of four taps that doubles the length, stored as `[in, out, 4]`: an
    /// ordinary one of the line with a zero behind each pixel.
    pub fn line_double(&mut self, name: &str, x: NodeId, out: usize) -> Result<NodeId> {
        let how = Fir { up: true, mirror: false, flat: true };
        let spread = self.fir_resample(&format!("{name}.spread"), x, how, &SPREAD)?;
        let window = Window { size: [1, 4], stride: 1, before: [0, 2], after: [0, 1] };
        let shape = [out, self.shape(x).channels(), 1, 4];
        self.line(name, spread, Stored::TransposedLine, shape, window, true)
    }

    fn line(
        &mut self,
        name: &str,
        x: NodeId,
        stored: Stored,
        shape: [usize; 4],
        window: Window,
        bias: bool,
    ) -> Result<NodeId> {
        let place = self.under(name, x, window, shape[0])?;
        let weight = Param { stored, ..Param::new(format!("{name}.weight"), &shape) };
        let weight = self.stored(weight);
        let bias = bias.then(|| self.param(format!("{name}.bias"), &shape[..1]));
        Ok(self.push(name, Layer::Conv2d { weight, bias, window }, &[x], place))
    }

    /// A row at every pixel of a map as large as `like`: a convolution of nothing, to which it is
    /// added.
    pub fn everywhere(&mut self, name: &str, row: NodeId, like: NodeId) -> Result<NodeId> {
        let (c, window) = (self.shape(row).channels(), Window::square(1, 1, (0, 0)));
        let shape = match self.shape(like) {
            Shape::Map { h, w, .. } => Shape::Map { h, w, c },
            Shape::Row { .. } => Shape::Row { c },
        };
        let weight = self.constant(&[c, self.shape(like).channels(), 1, 1], 0.0);
        let layer = Layer::Conv2d { weight, bias: None, window };
        let nothing = self.push(&format!("{name}.nothing"), layer, &[like], shape);
        self.add(name, nothing, row, 1.0)
    }
}
