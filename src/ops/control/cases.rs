//! The cases of `control`.

use super::Params;
use crate::ops::cases::{diverged, noisy, plain_row, row_table, run_words};
use crate::ops::noise::{MODE_PHILOX, MODE_TABLE, MODE_TORCH_CUDA};
use crate::ops::random::Random;
use crate::ops::row::{self, Mix, Row};
use crate::ops::{Case, CaseArg, Cursor, Op};

/// Draws in the host's table.
const DRAWS: usize = 3;

fn case(what: &str, p: Params, row: Row) -> Case {
    let batch = if p.batch != 0 { ", the batch's norms" } else { "" };
    let name = format!("control {}x{}x{} of {} {what}{batch}", p.b, p.hw, p.c, p.cf);
    let cursor = Cursor { row: 2, time: 1 };
    let mut random = Random::new(&name);
    let args = vec![
        random.f32(p.elements(0), 2.0),
        random.f32(p.elements(1), 2.0),
        row_table(row, cursor),
        run_words(p.b as usize),
        match p.mode {
            MODE_TABLE => random.f32(DRAWS * p.elements(4), 2.0),
            _ => CaseArg::Absent,
        },
        CaseArg::F32(vec![f32::NAN; p.elements(5)]),
        CaseArg::Absent,
        CaseArg::Absent,
        CaseArg::Absent,
    ];
    Case::new(name, p, args).at(cursor)
}

/// The case with every element of the state and the output the same.
fn equal(mut case: Case) -> Case {
    case.name.push_str(", all equal");
    for (arg, value) in [(0, 2.5), (1, 0.7)] {
        case.args[arg] = CaseArg::F32(vec![value; case.call.elements(arg)]);
    }
    case
}

/// The case with elements of few sizes and both signs.
fn tied(mut case: Case) -> Case {
    case.name.push_str(", ties");
    for arg in [0, 1] {
        if let CaseArg::F32(values) = &mut case.args[arg] {
            values.iter_mut().for_each(|v| *v = (1.5 * *v).round());
        }
    }
    case
}

/// The row with the quantile of `numel` elements; of all x0 some are above 1.
fn threshold(row: Row, quantile: f64, numel: u32) -> Row {
    let at = quantile * f64::from(numel - 1);
    Row {
        clip: f32::MAX,
        threshold_rank: at.floor() as u32,
        threshold_part: at.fract() as f32,
        threshold_max: 2.5,
        flags: row.flags | row::THRESHOLD,
        ..row
    }
}

fn corrector(row: Row) -> Row {
    let row = noisy(row);
    let x = Mix { eps: -1.25, ..row.x };
    Row { x, snr_ratio: 0.16, snr_factor: 0.9, flags: row.flags | row::SNR, ..row }
}

pub(super) fn cases() -> Vec<Case> {
    let plain = plain_row();
    let size = |b, c, cf, hw, guided| {
        let (threads, calls, mode, batch) = (256, 2, MODE_PHILOX, 0);
        let (depth, adaptive) = (0, 0);
        Params { b, c, cf, hw, guided, depth, mode, threads, calls, batch, adaptive }
    };
    let shapes =
        [(1, 1, 1, 1), (2, 1, 1, 2), (3, 3, 3, 35), (2, 3, 6, 7), (5, 1, 1, 64), (1, 3, 3, 3001)];
    let mut cases = vec![case("nothing to tell", size(2, 3, 3, 7, 1), plain)];
    for (b, c, cf, hw) in shapes {
        for quantile in [0.0, 0.5, 0.995, 1.0] {
            let row = threshold(plain, quantile, c * hw);
            let name = format!("threshold {quantile}");
            cases.push(case(&name, size(b, c, cf, hw, 0), row));
            cases.push(tied(case(&name, size(b, c, cf, hw, 1), row)));
        }
        let flags = plain.flags | if cf > c { row::LEARNED } else { 0 };
        let rescaled = Row { rescale: 0.7, ..plain };
        if c * hw > 1 {
            cases.push(case("rescale", size(b, c, cf, hw, 1), rescaled));
        }
        let corrected = Row { flags: corrector(plain).flags | flags, ..corrector(plain) };
        for batch in [0, 1] {
            let p = Params { batch, ..size(b, c, cf, hw, 0) };
            cases.push(case("corrector", p, corrected));
        }
    }
    for (mode, noise) in [(MODE_TABLE, "table"), (MODE_TORCH_CUDA, "torch-cuda")] {
        let p = Params { mode, ..size(3, 3, 3, 7, 0) };
        cases.push(case(&format!("corrector {noise}"), p, corrector(plain)));
    }
    // Each in turn: the scale changes x0, its bound changes eps, and that the norm.
    let all = Row { rescale: 0.7, ..threshold(corrector(plain), 0.9, 21) };
    let flags = all.flags | row::UNCOND_EPS;
    for batch in [0, 1] {
        let p = Params { batch, ..size(4, 3, 3, 7, 1) };
        cases.push(case("all at once", p, all));
        cases.push(case("all at once, eps unconditional", p, Row { flags, ..all }));
        let p = Params { guided: 0, ..p };
        cases.push(case("all at once, not guided", p, all));
    }
    let off = Row { flags: plain.flags & !row::GUIDE, rescale: 0.7, ..plain };
    cases.push(case("rescale, guidance off", size(2, 3, 3, 7, 1), off));
    let clipped = Row { clip: 1.5, ..threshold(plain, 0.9, 21) };
    cases.push(case("threshold, clipped", size(2, 3, 3, 7, 0), clipped));
    let middle = threshold(plain, 0.9, 21);
    cases.push(equal(case("threshold", size(2, 3, 3, 7, 0), middle)));
    cases.push(equal(case("corrector", size(2, 3, 3, 7, 0), corrector(plain))));
    let same = Row { rescale: 0.7, ..plain };
    cases.push(equal(case("rescale", size(2, 3, 3, 7, 1), same)));
    cases.push(diverged(case("threshold", size(2, 3, 3, 7, 0), middle), 1));
    cases.push(diverged(case("corrector", size(2, 3, 3, 7, 0), corrector(plain)), 1));
    cases.push(diverged(case("rescale", size(2, 3, 3, 7, 1), same), 1));
    cases
}
