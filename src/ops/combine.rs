//! The update of a row ([`super::row`]) from predictions and noise already in memory: x, the saved
//! copy and the newest prediction, `[B, C, H, W]` f32.

use super::cases::{history_rows, noisy, plain_row, row_table, saving};
use super::random::Random;
use super::row::{self, Row, State};
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, Span, params};

params! {
    /// `n` elements of the state in all; `z` is `[z0 | z1]`, `history` holds `depth` predictions.
    pub struct Params {
        pub n: u32,
        pub depth: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "combine";
    const ARGS: &'static [Arg] = &[
        Arg::update("x"),
        Arg::read("table"),
        Arg::maybe("x0"),
        Arg::maybe("eps"),
        Arg::maybe("log_scale"),
        Arg::read("z"),
        Arg::maybe_update("saved"),
        Arg::maybe_update("history"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 => super::row::WORDS,
            5 => 2 * self.n as usize,
            7 => (self.depth * self.n) as usize,
            _ => self.n as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.n])
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => span.rows * super::row::WORDS,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        10 * self.n as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [_, table, x0, eps, log_scale, z, ..] = buffers.read;
        let row = Row::at(table, cursor);
        let n = self.n as usize;
        let [x, _, _, _, _, _, saved, history] = &mut buffers.write;
        let history = history.get_mut(..self.elements(7)).unwrap_or_default();
        let at = |values: &[f32], i: usize| values.get(i).copied().unwrap_or(0.0);
        for state in &mut State::parts(x, saved, history, n, n) {
            for i in 0..n {
                let scale = at(log_scale, i).exp();
                let z = [scale * z[i], scale * z[n + i]];
                row.update(state, i, at(x0, i), at(eps, i), z);
            }
        }
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let cursor = Cursor { row: 1, time: 0 };
        let mut case = |what: &str, n: u32, depth: u32, row: Row, scaled: bool| {
            let p = Params { n, depth };
            let mut f32s = |part: bool, arg: usize| match part {
                true => random.f32(p.elements(arg), 2.0),
                false => CaseArg::Absent,
            };
            let evaluated = row.has(row::EVAL);
            let (x, x0, eps) = (f32s(true, 0), f32s(evaluated, 2), f32s(evaluated, 3));
            let (log, z) = (f32s(scaled, 4), f32s(true, 5));
            let saved = f32s(row.has(row::WRITE_SAVED) || row.x_saved != 0.0, 6);
            let history = f32s(depth > 0, 7);
            let args = vec![x, row_table(row, cursor), x0, eps, log, z, saved, history];
            Case::new(format!("combine {n} {what}"), p, args).at(cursor)
        };
        let row = plain_row();
        let start = Row { x_z0: 14.5, ..Row::default() };
        let mut cases = vec![
            case("plain", 1, 0, row, false),
            case("noisy", 35, 0, noisy(row), false),
            case("noisy, scaled", 64, 0, noisy(row), true),
            case("without an evaluation", 21, 0, start, false),
            case("saving", 21, 0, saving(noisy(row)), false),
        ];
        for depth in 1..=4 {
            for (what, row) in history_rows(depth) {
                cases.push(case(&what, 21, depth, row, false));
                cases.push(case(&format!("{what}, saving"), 21, depth, saving(row), false));
            }
        }
        cases
    }
}
