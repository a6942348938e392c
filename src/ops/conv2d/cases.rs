//! The cases of `conv2d`.

use super::Params;
use crate::ops::cases::{MapCase, row_maps};
use crate::ops::random::Random;
use crate::ops::{Act, Case, CaseArg, Op, RowMap};

/// What follows the sum.
#[derive(Clone, Default)]
struct Parts {
    bias: bool,
    /// Rows of the row table, its map's condition.
    row: Option<(usize, CaseArg)>,
    residual: bool,
    f32_output: bool,
}

fn case(what: &str, p: Params, parts: Parts) -> Case {
    let shape = format!("{}x{}x{} c{}->{}", p.n, p.h, p.w, p.cin, p.cout);
    let name = format!("conv2d {k}x{k} s{} {shape} {what}", p.stride, k = p.k);
    let mut random = Random::new(&name);
    let terms = (p.k * p.k * p.cin) as usize;
    let x = random.data(p.elements(0), 2.0);
    let weight = random.padded(terms, p.cout as usize, 1.0 / (terms as f32).sqrt());
    let bias = random.f32(p.elements(2), 1.0);
    let residual = random.data(p.elements(4), 1.0);
    let keep = |part: bool, arg| if part { arg } else { CaseArg::Absent };
    let (rows, cond) = match parts.row {
        Some((rows, cond)) => (random.f32(rows * p.cout as usize, 1.0), cond),
        None => (CaseArg::Absent, CaseArg::Absent),
    };
    let y = if parts.f32_output { CaseArg::OutputF32 } else { CaseArg::Output };
    let (bias, residual) = (keep(parts.bias, bias), keep(parts.residual, residual));
    Case::new(name, p, vec![x, weight, bias, rows, residual, cond, y])
}

/// A convolution with `pad` before and `end` after each side.
fn params(
    (n, h, w): (u32, u32, u32),
    (cin, cout): (u32, u32),
    (k, stride): (u32, u32),
    (pad, end): (u32, u32),
) -> Params {
    let size = |s: u32| (s + pad + end - k) / stride + 1;
    let (ho, wo) = (size(h), size(w));
    let map = RowMap::IDENTITY;
    Params { map, n, h, w, cin, ho, wo, cout, k, stride, pad, act: 0, scale: 1.0 }
}

pub(super) fn cases() -> Vec<Case> {
    let bias = Parts { bias: true, ..Parts::default() };
    let mut cases = vec![
        case("one element", params((1, 1, 1), (1, 1), (1, 1), (0, 0)), bias.clone()),
        case("one pixel", params((1, 1, 1), (5, 7), (3, 1), (1, 1)), bias.clone()),
        case("first layer", params((2, 9, 9), (1, 16), (3, 1), (1, 1)), bias.clone()),
        case("cout 1", params((2, 6, 5), (12, 1), (3, 1), (1, 1)), bias.clone()),
        case("cin 3, cout 3", params((1, 8, 8), (3, 3), (3, 1), (1, 1)), bias.clone()),
        case("odd", params((2, 5, 7), (3, 5), (3, 1), (1, 1)), bias.clone()),
        case("no padding", params((1, 5, 6), (4, 8), (3, 1), (0, 0)), bias.clone()),
        case("wide padding", params((1, 2, 2), (4, 4), (3, 1), (2, 2)), bias.clone()),
        case("halves", params((2, 6, 8), (4, 6), (3, 2), (1, 1)), bias.clone()),
        case("halves odd", params((1, 5, 7), (3, 5), (3, 2), (1, 1)), bias.clone()),
        case("padded at the end only", params((2, 8, 6), (4, 8), (3, 2), (0, 1)), bias.clone()),
        case("padded at the end, odd", params((1, 7, 5), (5, 4), (3, 2), (0, 1)), bias.clone()),
        case("pixels", params((2, 5, 3), (7, 9), (1, 1), (0, 0)), bias.clone()),
        case("pixels", params((3, 4, 4), (16, 32), (1, 1), (0, 0)), bias.clone()),
        case("pixels strided", params((1, 5, 5), (4, 6), (1, 2), (0, 0)), bias.clone()),
        case("many channels", params((1, 4, 4), (96, 68), (3, 1), (1, 1)), bias.clone()),
        case("small batch", params((7, 3, 3), (20, 36), (3, 1), (1, 1)), bias.clone()),
        case("several blocks", params((1, 33, 31), (8, 16), (3, 1), (1, 1)), bias.clone()),
        // Maps of 16 pixels and more a line are where a kernel may treat whole lines.
        case("lines", params((2, 18, 20), (3, 3), (3, 1), (1, 1)), bias.clone()),
        case("lines, cout 1", params((1, 16, 17), (5, 1), (3, 1), (1, 1)), bias.clone()),
        case("lines, no padding", params((1, 9, 21), (4, 32), (3, 1), (0, 0)), bias.clone()),
        case("lines, wide padding", params((2, 3, 16), (6, 5), (3, 1), (2, 2)), bias.clone()),
        case("lines, padded at the end", params((1, 5, 17), (2, 20), (3, 1), (0, 2)), bias.clone()),
        case("lines, even kernel", params((1, 4, 18), (3, 6), (2, 1), (1, 0)), bias.clone()),
        case(
            "last layer",
            params((2, 8, 8), (16, 1), (3, 1), (1, 1)),
            Parts { bias: true, f32_output: true, ..Parts::default() },
        ),
    ];
    for bits in 0..8 {
        let rows = (bits & 2 != 0).then_some((2, CaseArg::Absent));
        let parts =
            Parts { bias: bits & 1 != 0, row: rows, residual: bits & 4 != 0, f32_output: false };
        let what = ["", "+bias", "+row", "+bias+row"][bits & 3];
        let what = format!("{what}{}", ["", "+residual"][bits >> 2]);
        let mut p = params((2, 5, 7), (6, 10), (3, 1), (1, 1));
        cases.push(case(&what, p, parts.clone()));
        (p.act, p.scale) = (Act::Silu as u32, 0.5);
        cases.push(case(&format!("{what}+silu scaled"), p, parts));
    }
    let all = Parts { bias: true, row: Some((4, CaseArg::Absent)), residual: true, ..bias.clone() };
    for (act, scale) in [(Act::Relu, 1.0), (Act::Gelu, 0.7), (Act::Mish, 1.0)] {
        let mut p = params((4, 3, 3), (8, 8), (1, 1), (0, 0));
        (p.act, p.scale) = (act as u32, scale);
        cases.push(case(&format!("all, {act:?} scale {scale}"), p, all.clone()));
    }
    for MapCase { kind, map, cursor, cond, rows } in row_maps(&mut Random::new("conv2d rows"), 4) {
        let p = Params { map, ..params((4, 3, 3), (4, 6), (3, 1), (1, 1)) };
        let parts = Parts { row: Some((rows, cond)), ..bias.clone() };
        cases.push(case(&format!("row by {kind}"), p, parts).at(cursor));
    }
    cases
}
