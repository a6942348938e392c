//! `y = act((x W + bias + residual) * scale)`: rows of x, through a row map, times a matrix.
//!
//! `weight` is packed `[k][n_padded]`, K-major, n padded with zeros to a multiple of 4
//! ([`crate::program::Pack::Linear`]).

use super::activation::Act;
use super::cases::{MapCase, row_maps};
use super::epilogue::Epilogue;
use super::matrix::{self, View};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};
use std::cell::RefCell;

/// Rows of one product.
const BLOCK: usize = 128;

thread_local! {
    /// The rows of a block where the map does not leave them in order.
    static ROWS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

params! {
    /// x `[m, k]`, weight `[k, n]`, y `[m, n]`.
    pub struct Params {
        pub map: RowMap,
        pub m: u32,
        pub k: u32,
        pub n: u32,
        pub act: u32,
        pub scale: f32,
    }
}

impl Op for Params {
    const NAME: &'static str = "linear";
    const ARGS: &'static [Arg] = &[
        Arg::read("x"),
        Arg::read("weight"),
        Arg::maybe("bias"),
        Arg::maybe("residual"),
        Arg::maybe("cond"),
        Arg::write("y"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => self.map.vectors(self.m) * self.k as usize,
            1 => (self.k * self.n.next_multiple_of(4)) as usize,
            2 => self.n as usize,
            4 => self.m as usize,
            _ => (self.m * self.n) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::tile(self.k, self.n)
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            0 => self.map.reach(self.m, span) * self.k as usize,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        2 * self.m as u64 * self.k as u64 * self.n as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, weight, bias, residual, cond, ..] = buffers.read;
        let (k, n) = (self.k as usize, self.n as usize);
        let weight = View::rows(weight, k, n, n.next_multiple_of(4));
        let epilogue = Epilogue { bias, scale: self.scale, act: self.act };
        let y = &mut buffers.write[5][..self.elements(5)];
        parallel::blocks(y, n, BLOCK, |first, y| {
            let rows = y.len() / n;
            let residual = residual.get(first * n..(first + rows) * n).unwrap_or_default();
            ROWS.with_borrow_mut(|gathered| {
                let block = if self.map == RowMap::IDENTITY {
                    &x[first * k..][..rows * k]
                } else {
                    gathered.clear();
                    for i in first..first + rows {
                        let row = self.map.row(cursor, words(cond), i);
                        gathered.extend_from_slice(&x[row * k..][..k]);
                    }
                    gathered
                };
                matrix::product(View::rows(block, rows, k, k), weight, y, n, false);
            });
            epilogue.apply(y, n, &[], residual);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut cases = Vec::new();
        let mut case =
            |what: &str, p: Params, parts: [bool; 2], cond: CaseArg, rows: Option<usize>| {
                let spread = 1.0 / (p.k as f32).sqrt();
                let weight = random.padded(p.k as usize, p.n as usize, spread);
                let x = rows.unwrap_or(p.m as usize) * p.k as usize;
                let out = p.elements(5);
                // Rows of a table are f32 all along, pixels are stored like activations.
                let mut values = |n, scale| match rows {
                    Some(_) => random.f32(n, scale),
                    None => random.data(n, scale),
                };
                let (x, residual) = (values(x, 2.0), values(out, 1.0));
                let bias = random.f32(p.n as usize, 1.0);
                let y = if rows.is_some() { CaseArg::OutputF32 } else { CaseArg::Output };
                let keep = |part: bool, arg| if part { arg } else { CaseArg::Absent };
                let args = vec![x, weight, keep(parts[0], bias), keep(parts[1], residual), cond, y];
                Case::new(format!("linear {}x{}->{} {what}", p.m, p.k, p.n), p, args)
            };
        let params = |m, k, n, act: Act, scale| Params {
            map: RowMap::IDENTITY,
            m,
            k,
            n,
            act: act as u32,
            scale,
        };
        let absent = || CaseArg::Absent;
        let sizes = [
            (1, 1, 1),
            (1, 64, 48),
            (5, 7, 3),
            (33, 20, 18),
            (65, 32, 96),
            (2, 300, 5),
            (130, 3, 17),
        ];
        for (i, (m, k, n)) in sizes.into_iter().enumerate() {
            let p = params(m, k, n, Act::None, 1.0);
            cases.push(case(
                "bias",
                p,
                [true, false],
                absent(),
                (i % 2 == 1).then_some(m as usize),
            ));
        }
        for (bias, residual) in [(false, false), (false, true), (true, false), (true, true)] {
            for (act, scale) in [(Act::None, 0.5), (Act::Silu, 1.0), (Act::Gelu, 2.0)] {
                let p = params(17, 24, 10, act, scale);
                let what = format!("bias {bias} residual {residual} {act:?} scale {scale}");
                cases.push(case(&what, p, [bias, residual], absent(), None));
            }
        }
        for MapCase { kind, map, cursor, cond, rows } in row_maps(&mut Random::new("rows"), 6) {
            let p = Params { map, ..params(6, 16, 9, Act::Silu, 1.0) };
            let what = format!("by {kind}");
            cases.push(case(&what, p, [true, false], cond, Some(rows)).at(cursor));
        }
        cases
    }
}
