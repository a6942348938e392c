//! The update of a row ([`super::row`]) from predictions and noise already in memory: x, the saved
//! copy and the newest prediction, `[B, C, H, W]` f32.

use super::cases::{history_rows, noisy, plain_row, row_tables, saving};
use super::random::Random;
use super::row::{self, HISTORY, Mix, Row, Rows, State};
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, Span, params};

params! {
    /// `b` samples of `numel` elements; `z` is `[z0 | z1]`, `history` holds `depth` predictions.
    pub struct Params {
        pub b: u32,
        pub numel: u32,
        pub depth: u32,
        pub per_sample: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "combine";
    const ARGS: &'static [Arg] = &[
        Arg::update("state").wide("STATE4"),
        Arg::read("table"),
        Arg::maybe("x0").wide("STATE4"),
        Arg::maybe("eps").wide("STATE4"),
        Arg::maybe("log_scale").wide("STATE4"),
        Arg::read("z").wide("STATE4"),
        Arg::maybe_update("saved").wide("STATE4"),
        Arg::maybe_update("history").wide("STATE4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        let n = (self.b * self.numel) as usize;
        match arg {
            1 => row::table_elements(self.per_sample, self.b, 1),
            5 => 2 * n,
            7 => self.depth as usize * n,
            _ => n,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        [super::wide("STATE4", &[self.numel]), row::defines(self.per_sample)].concat()
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => row::table_elements(self.per_sample, self.b, span.rows),
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        10 * self.b as u64 * self.numel as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [_, table, x0, eps, log_scale, z, ..] = buffers.read;
        let rows = Rows { table, cursor, per_sample: self.per_sample };
        let (n, numel) = (self.elements(0), self.numel as usize);
        let [x, _, _, _, _, _, saved, history, ..] = &mut buffers.write;
        let history = history.get_mut(..self.elements(7)).unwrap_or_default();
        let at = |values: &[f32], i: usize| values.get(i).copied().unwrap_or(0.0);
        for (sample, state) in State::parts(x, saved, history, n, numel).iter_mut().enumerate() {
            let row = rows.of(sample);
            for i in 0..numel {
                let e = sample * numel + i;
                let scale = at(log_scale, e).exp();
                let z = [scale * z[e], scale * z[n + e]];
                row.update(state, i, at(x0, e), at(eps, e), z);
            }
        }
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let cursor = Cursor { row: 1, time: 0 };
        let mut case = |what: &str, (b, numel), depth: u32, rows: &[Row], scaled: bool| {
            let p = Params { b, numel, depth, per_sample: (rows.len() > 1).into() };
            let mut f32s = |part: bool, arg: usize| match part {
                true => random.f32(p.elements(arg), 2.0),
                false => CaseArg::Absent,
            };
            let evaluated = rows.iter().any(|row| row.has(row::EVAL));
            let (x, x0, eps) = (f32s(true, 0), f32s(evaluated, 2), f32s(evaluated, 3));
            let (log, z) = (f32s(scaled, 4), f32s(true, 5));
            let saves = |row: &Row| row.has(row::WRITE_SAVED) || row.x.saved != 0.0;
            let saved = f32s(rows.iter().any(saves), 6);
            let history = f32s(depth > 0, 7);
            let args = vec![x, row_tables(rows, b, cursor), x0, eps, log, z, saved, history];
            Case::new(format!("combine {b}x{numel} {what}"), p, args).at(cursor)
        };
        let row = plain_row();
        let start = Row { x: Mix { z0: 14.5, ..Mix::default() }, ..Row::default() };
        let each = [row, noisy(row), saving(row), start];
        let mut cases = vec![
            case("plain", (1, 1), 0, &[row], false),
            case("noisy", (1, 35), 0, &[noisy(row)], false),
            case("noisy, scaled", (4, 16), 0, &[noisy(row)], true),
            case("without an evaluation", (3, 7), 0, &[start], false),
            case("saving", (3, 7), 0, &[saving(noisy(row))], false),
            case("rows of their own", (5, 7), 0, &each, false),
            case("rows of their own", (4, 8), 0, &each, true),
        ];
        for depth in 1..=HISTORY as u32 {
            for (what, row) in history_rows(depth) {
                cases.push(case(&what, (3, 7), depth, &[row], false));
                let what = format!("{what}, saving");
                cases.push(case(&what, (3, 7), depth, &[saving(row)], false));
            }
        }
        cases
    }
}
