//! Lowers the layers that are matrix products, with all that they took in.

use super::lower::{At, Lowered, map_size};
use super::slots::{Slots, piece};
use super::{Pack, Piece, SlotId};
use crate::graph::{ParamId, Shape, Window};
use crate::ops::linear::Rows;
use crate::ops::moments::Region;
use crate::ops::{Norm, attention, conv2d, linear};
use crate::plan::KernelId;
use crate::tensor::DType;

/// A weight and its bias.
type Affine = (ParamId, Option<ParamId>);

impl At<'_> {
    pub fn linear(&self, slots: &mut Slots, own: Affine) -> Lowered {
        let (x, head, tail) = (self.inputs[0], self.kernel.head, self.kernel.tail);
        let row = matches!(self.kernel.shape, Shape::Row { .. });
        let shifts = head.norm.and_then(|norm| norm.scale_shift);
        let rows = shifts.or(tail.times);
        let map = self.map_of(if row { Some(x) } else { rows });
        let of_rows = match (shifts, tail.times) {
            (Some(_), _) => Rows::ScaleShift,
            (None, Some(_)) => Rows::Times,
            (None, None) => Rows::None,
        };
        // Rows stay f32, weights too: their tables are small and every later row reads them.
        let dtype = if row { DType::F32 } else { self.l.storage };
        let k = self.shape(x).channels();
        let norm = match head.norm {
            None => Norm::None,
            Some(norm) if norm.groups.is_some() => Norm::Group,
            Some(_) => Norm::Layer,
        };
        let (from, into) =
            (self.region(norm == Norm::Group, x), self.region(tail.moments, self.id));
        let all: Vec<Affine> = std::iter::once(own).chain(self.kernel.beside.clone()).collect();
        let (weight, biases) = self.columns(slots, &all, k, dtype);
        let columns = if tail.gate { 2 * self.c() } else { self.c() };
        let (vectors, bias) = self.vectors(slots, k, biases, columns);
        let params = linear::Params {
            map,
            m: self.n() * self.hw(),
            k: k as u32,
            n: self.c(),
            hw: self.hw(),
            norm: norm as u32,
            groups: head.norm.and_then(|n| n.groups).unwrap_or(0) as u32,
            eps: head.norm.map_or(0.0, |n| n.eps as f32),
            act_in: head.act as u32,
            from_x: from.at,
            tiles_x: from.tiles,
            into: into.at,
            tiles: into.tiles,
            bias,
            rows: of_rows as u32,
            gate: tail.gate.into(),
            act: tail.act as u32,
            scale: tail.scale,
        };
        let skip = tail.residual.and_then(|r| self.slot(r));
        let cond = self.condition(&[map]);
        let moments = self.moments(&[from, into]);
        let rows = rows.and_then(|id| self.slot(id));
        let x = self.slot(x);
        (params.into(), vec![x, Some(weight), vectors, moments, cond, skip, self.y, rows])
    }

    pub fn conv2d(&self, slots: &mut Slots, own: Affine, window: &Window) -> Lowered {
        let (x, x2) = (self.inputs.first().copied(), self.inputs.get(1).copied());
        let (head, tail) = (self.kernel.head, self.kernel.tail);
        let scale_shift = head.norm.and_then(|n| n.scale_shift);
        let rows = scale_shift.or(tail.row);
        let map = self.map_of(rows);
        let input = head.state.map_or_else(|| self.shape(self.inputs[0]), |state| state.shape);
        let (h, w, ca) = map_size(input);
        let cb = x2.map_or(0, |x2| map_size(self.shape(x2)).2);
        let (ho, wo, cout) = map_size(self.kernel.shape);
        let normed = head.norm.is_some();
        let into = self.region(tail.moments, self.id);
        let [from_a, from_b] = [x, x2].map(|x| x.map_or(Region::NONE, |x| self.region(normed, x)));
        let channels = |id: KernelId| self.shape(id).channels();
        let [sa, sb] = tail.shortcut.map_or([0, 0], |s| {
            [channels(s.inputs.0) as u32, s.inputs.1.map_or(0, |b| channels(b) as u32)]
        });
        let cin = (ca + cb) as usize;
        let weight = self.taps(slots, own.0, window.size.iter().product::<usize>() * cin);
        let biases = [own.1, tail.shortcut.and_then(|s| s.bias)];
        let biases = biases.into_iter().flatten().map(|b| self.flat(b, 0)).collect();
        let (vectors, bias) = self.vectors(slots, cin, biases, cout);
        let params = conv2d::Params {
            map,
            n: self.n(),
            h,
            w,
            ca,
            cb,
            ho,
            wo,
            cout,
            kh: window.size[0] as u32,
            kw: window.size[1] as u32,
            stride: window.stride as u32,
            top: window.before[0] as u32,
            left: window.before[1] as u32,
            up: head.up as u32,
            groups: head.norm.and_then(|n| n.groups).unwrap_or(0) as u32,
            eps: head.norm.map_or(0.0, |n| n.eps as f32),
            act_in: head.act as u32,
            from_a: from_a.at,
            tiles_a: from_a.tiles,
            from_b: from_b.at,
            tiles_b: from_b.tiles,
            into: into.at,
            tiles: into.tiles,
            sa,
            sb,
            rows_norm: scale_shift.is_some().into(),
            bias,
            act: tail.act as u32,
            scale: tail.scale,
            states: head.state.map_or(0, |_| self.l.batch as u32),
            gain: head.state.map_or(0.0, |state| state.scale),
            shift: head.state.map_or(0.0, |state| state.offset),
            own_rows: head.state.map_or(0, |_| self.l.per_sample()),
        };
        let skip = tail.shortcut.map(|s| s.inputs.0).or(tail.residual);
        let skip2 = tail.shortcut.and_then(|s| s.inputs.1);
        let slot = |id: Option<KernelId>| id.and_then(|id| self.slot(id));
        let args = vec![
            head.state.map(|_| self.l.state).or(slot(x)),
            slot(x2),
            Some(weight),
            vectors,
            self.moments(&[from_a, from_b, into]),
            slot(rows),
            self.condition(&[map]),
            slot(skip),
            slot(skip2),
            head.state.map(|_| self.l.table),
            self.y,
        ];
        (params.into(), args)
    }

    pub fn attention(&self, heads: usize, score_scale: f32, causal: bool) -> Lowered {
        let (c, tail) = (self.c(), self.kernel.tail);
        let into = self.region(tail.moments, self.id);
        let width = |i: usize| self.shape(self.inputs[i]).channels() as u32;
        // One value that holds several operands holds them in order.
        let first = |i: usize| {
            let before = self.inputs[..i].iter().filter(|id| **id == self.inputs[i]).count();
            if width(i) > c { before as u32 * c } else { 0 }
        };
        let map = self.map_of(Some(self.inputs[1]));
        let params = attention::Params {
            map,
            n: self.n(),
            tq: self.hw(),
            tk: self.shape(self.inputs[1]).pixels() as u32,
            heads: heads as u32,
            d: c / heads as u32,
            q_stride: width(0),
            k_stride: width(1),
            v_stride: width(2),
            q_first: first(0),
            k_first: first(1),
            v_first: first(2),
            score_scale,
            into: into.at,
            tiles: into.tiles,
            scale: tail.scale,
            causal: causal.into(),
        };
        let [q, k, v] = [0, 1, 2].map(|i| self.slot(self.inputs[i]));
        let skip = tail.residual.and_then(|r| self.slot(r));
        let cond = self.condition(&[map]);
        (params.into(), vec![q, k, v, cond, self.moments(&[into]), skip, self.y])
    }

    /// The moments of kernel `id`'s value, if they are `wanted`.
    fn region(&self, wanted: bool, id: KernelId) -> Region {
        self.l.regions[id].filter(|_| wanted).unwrap_or(Region::NONE)
    }

    /// The buffer of moments, if one of these lies there.
    fn moments(&self, regions: &[Region]) -> Option<SlotId> {
        self.l.moments.filter(|_| regions.iter().any(|r| r.tiles > 0))
    }

    /// The weights of linear layers, column beside column, and the biases, each from its column on.
    /// A layer [behind](crate::plan::Kernel::behind) the last one is multiplied into it:
    /// `W2 (W x + b) + b2 = (W2 W) x + W2 b + b2`.
    fn columns(
        &self,
        slots: &mut Slots,
        all: &[Affine],
        k: usize,
        dtype: DType,
    ) -> (SlotId, Vec<Piece>) {
        let (mut pieces, mut biases, mut columns) = (Vec::new(), Vec::new(), 0);
        for (i, (weight, bias)) in all.iter().enumerate() {
            let behind = self.kernel.behind.filter(|_| i + 1 == all.len());
            let left = behind.map(|(weight, _)| self.l.graph.param(weight).clone());
            let own = self.l.graph.param(*weight);
            let product = |piece| Piece { left: left.clone(), ..piece };
            pieces.push(product(piece(own, Pack::Linear, columns)));
            biases.extend(bias.map(|b| product(self.flat(b, columns))));
            biases.extend(behind.and_then(|(_, b)| b).map(|b| self.flat(b, columns)));
            columns += left.map_or(own.shape[0], |left| left.shape[0]);
        }
        (slots.matrix(pieces, (k, columns.next_multiple_of(4)), dtype), biases)
    }

    /// The weight of a convolution, and below it that of its shortcut.
    fn taps(&self, slots: &mut Slots, weight: ParamId, depth: usize) -> SlotId {
        let param = self.l.graph.param(weight);
        let width = param.shape[0].next_multiple_of(4);
        let (mut pieces, mut rows) = (vec![piece(param, Pack::Conv, 0)], depth);
        if let Some(shortcut) = self.kernel.tail.shortcut {
            let param = self.l.graph.param(shortcut.weight);
            pieces.push(piece(param, Pack::Conv, depth * width));
            rows += param.shape[1];
        }
        slots.matrix(pieces, (rows, width), self.l.storage)
    }

    /// A vector from element `at` on.
    fn flat(&self, id: ParamId, at: usize) -> Piece {
        piece(self.l.graph.param(id), Pack::Flat, at)
    }

    /// Gamma and beta of the norm on load of `k` channels, then the sum of the biases, each from
    /// its column on; whether there is a bias.
    fn vectors(
        &self,
        slots: &mut Slots,
        k: usize,
        biases: Vec<Piece>,
        columns: u32,
    ) -> (Option<SlotId>, u32) {
        let bias = !biases.is_empty();
        let mut pieces: Vec<Piece> = Vec::new();
        let mut len = 0;
        if let Some(norm) = self.kernel.head.norm {
            pieces.extend([self.flat(norm.gamma, 0), self.flat(norm.beta, k)]);
            len = 2 * k;
        }
        pieces.extend(biases.into_iter().map(|b| Piece { at: len + b.at, ..b }));
        if bias {
            len += columns as usize;
        }
        let slot = (len > 0).then(|| slots.matrix(pieces, (len, 1), DType::F32));
        (slot, bias.into())
    }
}
