//! The cases of `solver_step`.

use super::Params;
use crate::ops::cases::{diverged, history_rows, noisy, plain_row, row_tables, run_words, saving};
use crate::ops::noise::{MODE_PHILOX, MODE_TABLE, MODE_TORCH_CUDA};
use crate::ops::random::Random;
use crate::ops::row::{self, HISTORY, Mix, Row};
use crate::ops::{Case, CaseArg, Cursor, Op};

/// Draws in the host's table.
const DRAWS: usize = 3;

fn case(what: &str, p: Params, row: Row) -> Case {
    of_rows(what, p, &[row])
}

/// Several rows are read by the samples in turn.
fn of_rows(what: &str, p: Params, rows: &[Row]) -> Case {
    let p = Params { per_sample: (rows.len() > 1).into(), ..p };
    let name = format!("solver_step {}x{}x{} of {} {what}", p.b, p.hw, p.c, p.cf);
    let cursor = Cursor { row: 2, time: 1 };
    let mut random = Random::new(&name);
    let mut f32s = |part: bool, n: usize, scale| match part {
        true => random.f32(n, scale),
        false => CaseArg::Absent,
    };
    let any = |test: fn(&Row) -> bool| rows.iter().any(test);
    let saved = any(|row| row.has(row::WRITE_SAVED) || row.x.saved != 0.0);
    let args = vec![
        f32s(true, p.elements(0), 2.0),
        f32s(any(|row| row.has(row::EVAL)), p.elements(1), 1.0),
        row_tables(rows, p.b, cursor),
        run_words(p.b as usize),
        f32s(p.mode == MODE_TABLE, DRAWS * p.elements(4), 2.0),
        f32s(saved, p.elements(5), 1.0),
        f32s(p.depth > 0, p.elements(6), 1.0),
    ];
    Case::new(name, p, args).at(cursor)
}

/// The case with what its row multiplies by zero, or overwrites, never written before.
fn unwritten(mut case: Case, args: &[usize]) -> Case {
    for arg in args {
        case.args[*arg] = CaseArg::F32(vec![f32::NAN; case.call.elements(*arg)]);
    }
    case
}

fn size(b: u32, c: u32, cf: u32, hw: u32, guided: u32) -> Params {
    let (threads, calls, mode) = (256, 2, MODE_PHILOX);
    Params { b, c, cf, hw, guided, depth: 0, mode, threads, calls, per_sample: 0 }
}

/// Outputs that mix what few rows do, scales, and rows of the samples' own.
fn of_mixes() -> Vec<Case> {
    let plain = plain_row();
    let saved = saving(noisy(plain));
    let mut cases = Vec::new();
    let flags = plain.flags | row::PUSH;
    let push = Mix { x: 0.5, saved: -0.5, z0: 0.25, z1: 1.0, ..Mix::default() };
    let pushed = Row { push, flags: saved.flags | flags, ..saved };
    let p = Params { depth: 1, ..size(2, 3, 3, 7, 1) };
    cases.push(case("pushing noise", p, pushed));
    let off = Row { flags: row::EVAL, ..plain };
    cases.push(case("guidance off", size(2, 3, 3, 7, 1), off));
    let flags = plain.flags | row::UNCOND_EPS;
    let scaled = Row { f_scale: 0.7, x0_scale: 0.8, flags, ..plain };
    cases.push(case("eps unconditional, scaled", size(2, 3, 3, 7, 1), scaled));
    cases.push(case("not guided, nothing scaled", size(2, 3, 3, 7, 0), scaled));
    let each = [plain, scaled, off, saved, noisy(plain)];
    cases.push(of_rows("rows of their own", size(7, 3, 3, 5, 1), &each));
    cases.push(of_rows("rows of their own", size(5, 1, 1, 8, 1), &each));
    cases
}

pub(super) fn cases() -> Vec<Case> {
    let plain = plain_row();
    let mut cases = vec![
        case("one element", size(1, 1, 1, 1, 0), plain),
        case("clipped", size(2, 3, 3, 35, 0), plain),
        case("unclipped", size(2, 3, 3, 7, 0), Row { clip: f32::MAX, ..plain }),
        case("guided", size(3, 1, 1, 25, 1), plain),
        case("guided, of more channels", size(2, 3, 6, 7, 1), plain),
    ];
    let modes = [(MODE_PHILOX, "philox"), (MODE_TABLE, "table"), (MODE_TORCH_CUDA, "torch-cuda")];
    for (mode, noise) in modes {
        for guided in [0, 1] {
            let p = Params { mode, ..size(2, 3, 3, 7, guided) };
            cases.push(case(&format!("{noise} guided {guided}"), p, noisy(plain)));
            let learned = Row { flags: plain.flags | row::LEARNED, ..noisy(plain) };
            let p = Params { mode, ..size(2, 3, 6, 7, guided) };
            cases.push(case(&format!("{noise} learned guided {guided}"), p, learned));
        }
        let p = Params { mode, ..size(3, 1, 1, 64, 0) };
        let noisy_x = noisy(plain).x;
        let one = Row { x: Mix { z0: 0.0, ..noisy_x }, ..noisy(plain) };
        cases.push(case(&format!("{noise} second draw only"), p, one));
        // The first row of a trajectory: x is what the noise makes it.
        let start = Mix { z0: noisy_x.z0, ..Mix::default() };
        let start = Row { x: start, flags: 0, ..noisy(plain) };
        let start = case(&format!("{noise} start"), p, start);
        cases.push(unwritten(start, &[0]));
    }
    for (what, clip) in [("clipped", 1.0), ("unclipped", f32::MAX)] {
        for guided in [0, 1] {
            let what = format!("{what} guided {guided}");
            let case = case(&what, size(2, 3, 3, 7, guided), Row { clip, ..plain });
            cases.push(diverged(case, 1));
        }
    }
    for depth in 1..=HISTORY as u32 {
        for (what, row) in history_rows(depth) {
            let p = Params { depth, ..size(2, 2, 2, 9, depth % 2) };
            cases.push(case(&what, p, row));
            cases.push(case(&format!("{what}, saving"), p, saving(row)));
        }
    }
    let p = Params { depth: 3, ..size(2, 1, 1, 15, 1) };
    let flags = row::EVAL | row::PUSH | row::WRITE_SAVED;
    let push = Mix { x0: 1.0, ..Mix::default() };
    let saved = Mix { x: 1.0, ..Mix::default() };
    let first = Row { flags, ring: 1, push, saved, ..plain };
    cases.push(unwritten(case("first push", p, first), &[5, 6]));
    let saved = saving(noisy(plain));
    let noise = Mix { z0: 0.5, ..saved.saved };
    let learned = Row { flags: saved.flags | row::LEARNED, saved: noise, ..saved };
    cases.push(case("saving learned noise", size(2, 3, 6, 7, 1), learned));
    cases.extend(of_mixes());
    cases
}
