//! Layers that filter a map and halve or double it.

use super::GraphBuilder;
use crate::error::{Error, Result};
use crate::graph::{Filter, Layer, NodeId, Param, Shape, Stored, Window};

impl GraphBuilder {
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

    /// Filters and halves or doubles a map ([`Layer::FirResample`]).
    pub fn fir_resample(
        &mut self,
        name: &str,
        x: NodeId,
        up: bool,
        mirror: bool,
        taps: &[f32],
    ) -> Result<NodeId> {
        let Shape::Map { h, w, c } = self.shape(x) else { return Err(self.not_a_map(name)) };
        // A mirrored pixel must be there.
        let least = if mirror { taps.len() / 2 } else { 1 };
        if h.min(w) < least.max(if up { 1 } else { 2 }) {
            return Err(Error::invalid(
                name,
                format!("a map of at least {least}x{least}"),
                format!("{h}x{w}"),
                "use a larger sample_size or fewer blocks",
            ));
        }
        let (h, w) = if up { (2 * h, 2 * w) } else { (h / 2, w / 2) };
        let layer = Layer::FirResample { up, mirror, taps: taps.to_vec() };
        Ok(self.push(name, layer, &[x], Shape::Map { h, w, c }))
    }
}
