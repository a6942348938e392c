//! The cases of `solver_step`.

use super::Params;
use crate::ops::cases::{diverged, history_rows, noisy, plain_row, row_table, run_words, saving};
use crate::ops::noise::{MODE_PHILOX, MODE_TABLE, MODE_TORCH_CUDA};
use crate::ops::random::Random;
use crate::ops::row::{self, Row};
use crate::ops::{Case, CaseArg, Cursor, Op};

/// Draws in the host's table.
const DRAWS: usize = 3;

fn case(what: &str, p: Params, row: Row) -> Case {
    let name = format!("solver_step {}x{}x{} of {} {what}", p.b, p.hw, p.c, p.cf);
    let cursor = Cursor { row: 2, time: 1 };
    let mut random = Random::new(&name);
    let mut f32s = |part: bool, n: usize, scale| match part {
        true => random.f32(n, scale),
        false => CaseArg::Absent,
    };
    let saved = row.has(row::WRITE_SAVED) || row.x_saved != 0.0;
    let args = vec![
        f32s(true, p.elements(0), 2.0),
        f32s(row.has(row::EVAL), p.elements(1), 1.0),
        row_table(row, cursor),
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

pub(super) fn cases() -> Vec<Case> {
    let plain = plain_row();
    let size = |b, c, cf, hw, guided| {
        let (threads, calls, mode) = (256, 2, MODE_PHILOX);
        Params { b, c, cf, hw, guided, depth: 0, mode, threads, calls }
    };
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
        let one = Row { x_z0: 0.0, ..noisy(plain) };
        cases.push(case(&format!("{noise} second draw only"), p, one));
        // The first row of a trajectory: x is what the noise makes it.
        let start = Row { x_x: 0.0, x_x0: 0.0, x_eps: 0.0, x_z1: 0.0, flags: 0, ..noisy(plain) };
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
    for depth in 1..=4 {
        for (what, row) in history_rows(depth) {
            let p = Params { depth, ..size(2, 2, 2, 9, depth % 2) };
            cases.push(case(&what, p, row));
            cases.push(case(&format!("{what}, saving"), p, saving(row)));
        }
    }
    let p = Params { depth: 3, ..size(2, 1, 1, 15, 1) };
    let flags = row::EVAL | row::PUSH | row::WRITE_SAVED;
    let first = Row { flags, ring: 1, p_x0: 1.0, s_x: 1.0, ..plain };
    cases.push(unwritten(case("first push", p, first), &[5, 6]));
    let learned =
        Row { flags: saving(plain).flags | row::LEARNED, s_z0: 0.5, ..saving(noisy(plain)) };
    cases.push(case("saving learned noise", size(2, 3, 6, 7, 1), learned));
    cases
}
