//! The cases of `conv_step`.

use super::{CHANNELS, Params};
use crate::ops::cases::{history_rows, moments_of, noisy, plain_row, row_table, run_words, saving};
use crate::ops::random::Random;
use crate::ops::row::{self, Row};
use crate::ops::{Act, Case, CaseArg, Cursor, Op, RowMap, conv2d, moments, noise, solver_step};
use bytemuck::Zeroable;

/// Where the cases are in their trajectory.
const AT: Cursor = Cursor { row: 2, time: 1 };
/// Draws in the host's table.
const DRAWS: usize = 3;

fn case(what: &str, p: Params, row: Row) -> Case {
    let (conv, step) = (p.conv, p.step);
    let name =
        format!("conv_step {}x{}x{} c{}->{} {what}", conv.n, conv.h, conv.w, conv.ca, step.c);
    let mut random = Random::new(&name);
    let x = random.uniform(p.elements(0), 2.0);
    let region = moments::Region { at: conv.from_a, n: conv.n, tiles: conv.tiles_a, c: conv.ca };
    let mut vectors = random.uniform(p.elements(2), 1.0);
    vectors.iter_mut().take(conv.ca as usize).for_each(|gamma| *gamma += 1.0);
    let weight = random.padded(
        conv.depth() as usize,
        conv.cout as usize,
        1.0 / (conv.depth() as f32).sqrt(),
    );
    let moments = moments_of(&[(region, &x)], p.elements(3));
    let mut f32s = |part: bool, n: usize, scale| match part {
        true => random.f32(n, scale),
        false => CaseArg::Absent,
    };
    let saved = row.has(row::WRITE_SAVED) || row.x.saved != 0.0;
    let args = vec![
        CaseArg::Data(x),
        weight,
        CaseArg::F32(vectors),
        moments,
        f32s(true, p.elements(4), 2.0),
        row_table(row, AT),
        run_words(step.b as usize),
        f32s(step.mode == noise::MODE_TABLE, DRAWS * p.elements(7), 2.0),
        f32s(saved, p.elements(8), 1.0),
        f32s(step.depth > 0, p.elements(9), 1.0),
    ];
    Case::new(name, p, args).at(AT)
}

/// A 3x3 convolution of `cin` channels to the outputs `cf` of a state of `c`.
fn params((n, h, w): (u32, u32, u32), cin: u32, (c, cf): (u32, u32)) -> Params {
    let hw = h * w;
    let conv = conv2d::Params { map: RowMap::IDENTITY, scale: 1.0, ..conv2d::Params::zeroed() };
    let (kh, kw, top, left) = (3, 3, 1, 1);
    let (stride, up, bias) = (1, 1, 1);
    let conv = conv2d::Params {
        n,
        h,
        w,
        ca: cin,
        ho: h,
        wo: w,
        cout: cf,
        kh,
        kw,
        stride,
        top,
        left,
        up,
        bias,
        ..conv
    };
    let (mode, threads, calls) = (noise::MODE_PHILOX, 256, 2);
    let step = solver_step::Params { b: n, c, cf, hw, mode, threads, calls, ..Zeroable::zeroed() };
    Params { conv, step }
}

/// With GroupNorm and SiLU on load, as networks end.
fn normalised(p: Params) -> Params {
    let tiles_a = moments::tiles(p.conv.h as usize, p.conv.w as usize) as u32;
    let act_in = Act::Silu as u32;
    let conv = conv2d::Params { groups: 2, eps: 1e-5, from_a: 3, tiles_a, act_in, ..p.conv };
    Params { conv, ..p }
}

fn with_mode(p: Params, mode: u32) -> Params {
    Params { step: solver_step::Params { mode, ..p.step }, ..p }
}

fn with_history(p: Params, depth: u32) -> Params {
    Params { step: solver_step::Params { depth, ..p.step }, ..p }
}

pub(super) fn cases() -> Vec<Case> {
    let plain = plain_row();
    let learned = Row { flags: plain.flags | row::LEARNED, ..noisy(plain) };
    let mut cases = vec![
        case("one line", params((1, 1, 4), 1, (1, 1)), plain),
        case("odd channels", params((2, 3, 8), 5, (3, 3)), plain),
        case("unclipped", params((1, 5, 4), 4, (4, 4)), Row { clip: f32::MAX, ..plain }),
        case("norm", normalised(params((2, 9, 20), 8, (3, 3))), plain),
        case("norm, noise", normalised(params((2, 8, 12), 12, (3, 3))), noisy(plain)),
        case("norm, learned", normalised(params((2, 8, 8), 6, (3, 6))), learned),
        case("deep", normalised(params((1, 4, 4), 96, (2, 2))), noisy(plain)),
        case("most channels", normalised(params((1, 4, 8), 16, (8, CHANNELS))), learned),
        case("most channels", normalised(params((3, 6, 12), 4, (CHANNELS, CHANNELS))), plain),
    ];
    for (mode, what) in [(noise::MODE_TABLE, "table"), (noise::MODE_TORCH_CUDA, "torch-cuda")] {
        cases.push(case(what, with_mode(params((3, 6, 8), 4, (3, 3)), mode), noisy(plain)));
    }
    for depth in [1, 3] {
        for (what, row) in history_rows(depth) {
            cases.push(case(&what, with_history(params((2, 5, 4), 4, (2, 2)), depth), row));
        }
    }
    let saved = saving(noisy(plain));
    cases.push(case("saving", params((2, 4, 4), 4, (3, 3)), saved));
    cases
}
