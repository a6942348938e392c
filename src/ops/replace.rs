//! A part P of the state is replaced by known data y as the forward process has them:
//! `x' = x + P (alpha y + sigma z - x)`, alpha and sigma being `x.x0` and `x.z0` of the row
//! ([`super::row`]), z its draw 0.
//!
//! ```text
//! ALL       P x = x
//! MASK      P x = (1 - m) x, m of each pixel; at m = 1 y is not read, at m = 0 x is not
//! CHANNELS  P x = the mean of each pixel's channels
//! SQUARES   P x = in each channel the mean of each square of `side` pixels
//! ```
//!
//! The replacement of Song et al. 2021 (arXiv:2011.13456, appendix I.2) and of ILVR (Choi et al.
//! 2021, arXiv:2108.02938, eq. 8). Bandwidth-bound.

use super::noise::{self, Generator, MODE_PHILOX, MODE_TABLE, MODE_TORCH_CUDA};
use super::random::Random;
use super::row::{self, Mix, Row, Rows};
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, Span, cases, parallel, params, words};

/// What is replaced; see the module.
pub const ALL: u32 = 0;
pub const MASK: u32 = 1;
pub const CHANNELS: u32 = 2;
pub const SQUARES: u32 = 3;

pub(super) const CONSTANTS: &[(&str, u32)] = &[
    ("REPLACE_ALL", ALL),
    ("REPLACE_MASK", MASK),
    ("REPLACE_CHANNELS", CHANNELS),
    ("REPLACE_SQUARES", SQUARES),
];

params! {
    /// `b` samples, state and known data `[b, c, h, w]`, mask `[b, h, w]`; `side` divides h and w.
    pub struct Params {
        pub b: u32,
        pub c: u32,
        pub h: u32,
        pub w: u32,
        pub kind: u32,
        pub side: u32,
        pub mode: u32,
        pub threads: u32,
        pub calls: u32,
    }
}

impl Params {
    /// Elements of a sample.
    pub fn numel(&self) -> u32 {
        self.c * self.h * self.w
    }

    /// Whether means of groups are replaced, and not elements one by one.
    pub fn grouped(&self) -> bool {
        matches!(self.kind, CHANNELS | SQUARES)
    }

    /// Groups of a sample, and elements of a group.
    pub fn groups(&self) -> (u32, u32) {
        match self.kind {
            CHANNELS => (self.h * self.w, self.c),
            SQUARES => {
                (self.c * (self.h / self.side) * (self.w / self.side), self.side * self.side)
            }
            _ => (self.numel(), 1),
        }
    }

    /// Element `i` of group `g`.
    fn member(&self, g: usize, i: usize) -> usize {
        let (h, w, side) = (self.h as usize, self.w as usize, self.side as usize);
        if self.kind == CHANNELS {
            return i * h * w + g;
        }
        let (down, across) = (h / side, w / side);
        let (k, y, x) = (g / (down * across), g / across % down, g % across);
        (k * h + y * side + i / side) * w + x * side + i % side
    }
}

impl Op for Params {
    const NAME: &'static str = "replace";
    const ARGS: &'static [Arg] = &[
        Arg::update("state").wide("STATE4"),
        Arg::read("known").wide("STATE4"),
        Arg::maybe("mask"),
        Arg::read("table"),
        Arg::read("run"),
        Arg::maybe("draws"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            2 => (self.b * self.h * self.w) as usize,
            3 => row::WORDS,
            4 => super::solver_step::run_words(self.b as usize),
            _ => (self.b * self.numel()) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            3 => row::table_elements(0, self.b, span.rows),
            5 => span.draws * self.elements(arg),
            _ => self.elements(arg),
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        let grouped = if self.grouped() { vec![("GROUPED", 1)] } else { Vec::new() };
        [super::wide("STATE4", &[self.numel()]), grouped].concat()
    }
    fn flops(&self) -> u64 {
        40 * u64::from(self.b) * u64::from(self.numel())
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [_, known, mask, table, run, draws, ..] = buffers.read;
        let rows = Rows { table, cursor, per_sample: 0 };
        let (b, numel, mode) = (self.b, self.numel(), self.mode);
        let (threads, calls) = (self.threads, self.calls);
        let params = noise::Params { b, numel, mode, threads, calls, per_sample: 0 };
        let generator = Generator { params, run: words(run), draws };
        let (numel, hw) = (numel as usize, (self.h * self.w) as usize);
        let states = &mut buffers.write[0][..b as usize * numel];
        parallel::vectors(states, numel, |sample, x| {
            let row = rows.of(sample);
            let mut z = vec![0.0; numel];
            if let [Some(draw), _] = row.draws() {
                generator.fill(draw, sample, &mut z);
            }
            let to = |i: usize| row.x.x0 * known[sample * numel + i] + row.x.z0 * z[i];
            match self.kind {
                ALL => (0..numel).for_each(|i| x[i] = to(i)),
                MASK => {
                    (0..numel).for_each(|i| x[i] = mixed(mask[sample * hw + i % hw], x[i], to(i)))
                }
                _ => {
                    let (groups, count) = self.groups();
                    for g in 0..groups as usize {
                        let members = (0..count as usize).map(|i| self.member(g, i));
                        let off: f32 = members.clone().map(|i| to(i) - x[i]).sum();
                        members.for_each(|i| x[i] += off / count as f32);
                    }
                }
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let cursor = Cursor { row: 1, time: 0 };
        let names = cases::noisy(cases::plain_row());
        let row = |x0, z0| Row { x: Mix { x0, z0, ..Mix::default() }, ..names };
        let mut all = Vec::new();
        let sizes = [(1, 1, 1, 1, 1), (2, 3, 4, 6, 2), (3, 1, 5, 7, 1), (2, 2, 6, 3, 3)];
        for (b, c, h, w, side) in sizes {
            for (kind, what) in
                [(ALL, "all"), (MASK, "mask"), (CHANNELS, "channels"), (SQUARES, "squares")]
            {
                for (mode, x0, z0) in [
                    (MODE_PHILOX, 0.6, 0.8),
                    (MODE_TABLE, 0.9, 0.3),
                    (MODE_TORCH_CUDA, 0.5, 1.5),
                    (MODE_PHILOX, 1.0, 0.0),
                ] {
                    let p = Params { b, c, h, w, kind, side, mode, threads: 256, calls: 2 };
                    let mut f32s = |wanted: bool, n: usize| match wanted {
                        true => random.f32(n, 1.5),
                        false => CaseArg::Absent,
                    };
                    let (x, known) = (f32s(true, p.elements(0)), f32s(true, p.elements(1)));
                    let draws = f32s(mode == MODE_TABLE, 3 * p.elements(5));
                    let mask = (0..p.elements(2)).map(|i| [0.0, 1.0, 0.25][i % 3]).collect();
                    let mask = if kind == MASK { CaseArg::F32(mask) } else { CaseArg::Absent };
                    let table = cases::row_tables(&[row(x0, z0)], b, cursor);
                    let args = vec![x, known, mask, table, cases::run_words(b as usize), draws];
                    let name = format!("replace {what} {b}x{c}x{h}x{w}/{side} mode {mode} z {z0}");
                    all.push(Case::new(name, p, args).at(cursor));
                }
            }
        }
        all.push(unwritten(&mut random, cursor, row(0.6, 0.8)));
        all
    }
}

/// x where the mask is 1, `to` where it is 0: neither reads the other, which may be a NaN.
fn mixed(mask: f32, x: f32, to: f32) -> f32 {
    match mask {
        1.0 => x,
        0.0 => to,
        m => to + m * (x - to),
    }
}

/// A start from known data: the state was never written.
fn unwritten(random: &mut Random, cursor: Cursor, row: Row) -> Case {
    let mode = MODE_PHILOX;
    let p = Params { b: 2, c: 1, h: 3, w: 4, kind: ALL, side: 1, mode, threads: 1, calls: 1 };
    let x = CaseArg::F32(vec![f32::NAN; p.elements(0)]);
    let table = cases::row_tables(&[row], 2, cursor);
    let known = random.f32(p.elements(1), 1.0);
    let run = cases::run_words(2);
    let args = vec![x, known, CaseArg::Absent, table, run, CaseArg::Absent];
    Case::new("replace start", p, args).at(cursor)
}
