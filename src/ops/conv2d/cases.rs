//! The cases of `conv2d`.

use super::Params;
use crate::ops::cases::{MapCase, moments_of, row_maps, row_tables};
use crate::ops::moments;
use crate::ops::random::Random;
use crate::ops::row::Row;
use crate::ops::{Act, Case, CaseArg, Cursor, Op, RowMap};
use bytemuck::Zeroable;

/// What follows the sum.
#[derive(Clone)]
struct Parts {
    bias: bool,
    /// Rows of the row table, its map's condition.
    row: Option<(usize, CaseArg)>,
    residual: bool,
    f32_output: bool,
    /// Middle and spread of x and x2.
    x: (f32, f32),
    /// The trajectory's row at [`AT`], or one for each state.
    table: Vec<Row>,
}

/// Where a case that reads the state is in its trajectory.
const AT: Cursor = Cursor { row: 2, time: 0 };

impl Default for Parts {
    fn default() -> Self {
        let (x, table) = ((0.0, 2.0), Vec::new());
        Parts { bias: false, row: None, residual: false, f32_output: false, x, table }
    }
}

fn case(what: &str, p: Params, parts: Parts) -> Case {
    let size = format!("{}x{}x{} c{}->{}", p.n, p.h, p.w, p.cin(), p.cout);
    let name = format!("conv2d {}x{} s{} {size} {what}", p.kh, p.kw, p.stride);
    let mut random = Random::new(&name);
    let bias = if parts.bias { 1 } else { 0 };
    let p = Params { bias, ..p };
    let (center, spread) = parts.x;
    let mut map = |arg| -> Vec<f32> {
        random.uniform(p.elements(arg), spread).iter().map(|v| v + center).collect()
    };
    let (x, x2) = (map(0), map(1));
    let [a, b, _] = p.regions();
    let moments = moments_of(&[(a, &x), (b, &x2)], p.elements(4));
    let weight =
        random.padded(p.depth() as usize, p.cout as usize, 1.0 / (p.depth() as f32).sqrt());
    let mut vectors = random.uniform(p.elements(3), 1.0);
    vectors.iter_mut().take(p.cin() as usize).for_each(|gamma| *gamma += 1.0);
    let bound = |values: Vec<f32>| match values.is_empty() {
        true => CaseArg::Absent,
        false => CaseArg::Data(values),
    };
    let vectors = if vectors.is_empty() { CaseArg::Absent } else { CaseArg::F32(vectors) };
    let skips = [7, 8].map(|arg| match arg == 7 && !parts.residual && p.sa == 0 {
        true => CaseArg::Absent,
        false => bound(random.uniform(p.elements(arg), 1.0)),
    });
    let (rows, cond) = match parts.row {
        Some((rows, cond)) => (random.f32(rows * p.row_width(), 1.0), cond),
        None => (CaseArg::Absent, CaseArg::Absent),
    };
    let y = if parts.f32_output { CaseArg::OutputF32 } else { CaseArg::Output };
    let [skip, skip2] = skips;
    let (x, table) = match &parts.table[..] {
        [] => (CaseArg::Data(x), CaseArg::Absent),
        rows => (CaseArg::F32(x), row_tables(rows, p.states, AT)),
    };
    let args = vec![x, bound(x2), weight, vectors, moments, rows, cond, skip, skip2, table, y];
    Case::new(name, p, args)
}

/// A convolution with `pad` before and `end` after each side.
fn params(
    (n, h, w): (u32, u32, u32),
    (cin, cout): (u32, u32),
    (k, stride): (u32, u32),
    pad: (u32, u32),
) -> Params {
    oblong((n, h, w), (cin, cout), (k, k), stride, [pad, pad])
}

/// A convolution with a kernel of `kh` x `kw` and, of lines and of columns, the padding before and
/// after.
fn oblong(
    (n, h, w): (u32, u32, u32),
    (cin, cout): (u32, u32),
    (kh, kw): (u32, u32),
    stride: u32,
    [(top, bottom), (left, right)]: [(u32, u32); 2],
) -> Params {
    let ho = (h + top + bottom - kh) / stride + 1;
    let wo = (w + left + right - kw) / stride + 1;
    let map = RowMap::IDENTITY;
    let size = Params { map, n, h, w, ca: cin, ho, wo, cout, ..Params::zeroed() };
    Params { kh, kw, stride, top, left, up: 1, scale: 1.0, ..size }
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
        case("kernel 7", params((1, 9, 10), (6, 8), (7, 1), (3, 3)), bias.clone()),
        case("kernel 7 halves", params((2, 19, 11), (5, 6), (7, 2), (3, 3)), bias.clone()),
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
    // A small map: what ends a sum is the same for every tile, and small ones compile fast.
    for bits in 0..8 {
        let rows = (bits & 2 != 0).then_some((2, CaseArg::Absent));
        let parts =
            Parts { bias: bits & 1 != 0, row: rows, residual: bits & 4 != 0, ..Parts::default() };
        let what = ["", "+bias", "+row", "+bias+row"][bits & 3];
        let what = format!("{what}{}", ["", "+residual"][bits >> 2]);
        let mut p = params((2, 3, 5), (6, 10), (3, 1), (1, 1));
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
    cases.extend(loading());
    cases.extend(of_state());
    cases.extend(storing());
    cases.extend(whole());
    cases.extend(oblongs());
    cases
}

/// GroupNorm on load, and the moments it needs.
fn normalised(p: Params, groups: u32) -> Params {
    let tiles = moments::tiles(p.h as usize, p.w as usize) as u32;
    let tiles_b = if p.cb > 0 { tiles } else { 0 };
    let p = Params { groups, eps: 1e-5, from_a: 3, tiles_a: tiles, tiles_b, ..p };
    Params { from_b: p.regions()[0].end() as u32 + 1, ..p }
}

/// The moments of y kept behind those of x and x2.
fn kept(p: Params) -> Params {
    let into = 1 + p.regions().iter().take(2).map(|r| r.end()).max().unwrap_or(0) as u32;
    Params { into, tiles: moments::tiles(p.ho as usize, p.wo as usize) as u32, ..p }
}

/// The second source has `cb` of the channels.
fn joined(p: Params, cb: u32) -> Params {
    Params { ca: p.ca - cb, cb, ..p }
}

/// What happens to the input on the way in.
fn loading() -> Vec<Case> {
    let silu = Act::Silu as u32;
    let bias = Parts { bias: true, ..Parts::default() };
    let plain = |n, (h, w), cin, cout| params((n, h, w), (cin, cout), (3, 1), (1, 1));
    let enlarged = |n, (h, w), cin, cout| {
        let p = params((n, 2 * h, 2 * w), (cin, cout), (3, 1), (1, 1));
        Params { h, w, up: 2, ..p }
    };
    let active = |p| Params { act_in: silu, ..p };
    let mut cases = vec![
        case("silu on load", active(plain(1, (5, 6), 8, 12)), bias.clone()),
        case("joined", joined(plain(2, (5, 6), 12, 8), 4), bias.clone()),
        case("joined, odd", joined(plain(1, (4, 5), 7, 5), 3), bias.clone()),
        case("enlarged", enlarged(2, (4, 5), 8, 12), bias.clone()),
        case("enlarged, odd", enlarged(1, (3, 3), 5, 3), bias.clone()),
        case("enlarged, large", enlarged(1, (9, 10), 4, 8), bias.clone()),
        case("norm", normalised(plain(1, (5, 7), 12, 8), 3), bias.clone()),
        case("norm, one pixel", normalised(plain(2, (1, 1), 8, 8), 2), bias.clone()),
        case("norm, silu", active(normalised(plain(3, (9, 7), 16, 20), 4)), bias.clone()),
        case("norm, odd", active(normalised(plain(2, (5, 5), 9, 7), 3)), bias.clone()),
        case("norm, 32 groups", active(normalised(plain(2, (6, 6), 64, 36), 32)), bias.clone()),
        case("norm, tiles", active(normalised(plain(2, (17, 19), 8, 8), 2)), bias.clone()),
        case(
            "norm, a group of both",
            active(normalised(joined(plain(2, (5, 6), 24, 8), 8), 3)),
            bias.clone(),
        ),
        case(
            "norm, joined, enlarged",
            active(normalised(joined(enlarged(1, (4, 3), 16, 8), 4), 4)),
            bias.clone(),
        ),
    ];
    let halved = params((2, 9, 8), (8, 12), (3, 2), (1, 1));
    cases.push(case("norm, halves", active(normalised(halved, 2)), bias.clone()));
    let pixels = params((2, 5, 3), (8, 12), (1, 1), (0, 0));
    cases.push(case("norm, pixels", active(normalised(pixels, 4)), bias.clone()));
    // A mean of 100 rounded to f32 is off by up to 4e-6, which division by the deviation of 0.06
    // makes 7e-5.
    let far = Parts { x: (100.0, 0.1), ..bias.clone() };
    let p = normalised(plain(1, (6, 6), 16, 12), 4);
    cases.push(case("norm, large mean", p, far).tolerance(3e-4, 1e-5));
    // The same of a mean of 1000 and a deviation of 0.03: 3e-5 becomes 1e-3, more where tiles are
    // merged. Squares of 1000 are off by twice the deviation.
    let far = Parts { x: (1e3, 0.055), ..bias.clone() };
    let p = normalised(plain(1, (17, 11), 12, 8), 3);
    cases.push(case("norm, tiny variance", p, far).tolerance(5e-3, 1e-5));
    for MapCase { kind, map, cursor, cond, rows } in row_maps(&mut Random::new("scale"), 4) {
        let p = active(normalised(plain(4, (3, 3), 8, 6), 2));
        let p = Params { map, rows_norm: 1, ..p };
        let parts = Parts { row: Some((rows, cond)), residual: true, ..bias.clone() };
        cases.push(case(&format!("norm with row by {kind}"), p, parts).at(cursor));
    }
    cases
}

/// The first layer of a network, which reads the state.
fn of_state() -> Vec<Case> {
    let case = |what: &str, p: Params, states, rows: &[f32]| {
        let own_rows = (rows.len() > 1).into();
        let p = Params { states, gain: 2.0, shift: -1.0, own_rows, ..p };
        let table = rows.iter().map(|c_in| Row { c_in: *c_in, ..Row::default() }).collect();
        let parts = Parts { bias: true, table, ..Parts::default() };
        case(&format!("of the state, {what}"), p, parts).at(AT)
    };
    let plain = |n, (h, w), cin, cout| params((n, h, w), (cin, cout), (3, 1), (1, 1));
    let rows = [0.3, -1.5, 0.9];
    vec![
        case("one element", params((1, 1, 1), (1, 1), (1, 1), (0, 0)), 1, &[0.3]),
        case("odd", plain(2, (5, 7), 3, 6), 2, &[0.3]),
        case("guided", plain(6, (4, 5), 4, 8), 3, &[-0.7]),
        case("guided, rows of their own", plain(6, (3, 3), 1, 5), 3, &rows),
        case("keeps moments", kept(plain(2, (9, 17), 3, 16)), 1, &[0.3]),
        case("patches", params((3, 8, 6), (4, 20), (2, 2), (0, 0)), 3, &rows),
        case("deep", plain(1, (4, 4), 70, 12), 1, &[0.3]),
        case("whole", plain(2, (4, 4), 16, 16), 2, &[0.3]),
    ]
}

/// What happens to the sum on the way out, beyond what every convolution has.
fn storing() -> Vec<Case> {
    let bias = Parts { bias: true, ..Parts::default() };
    let all = Parts { row: Some((2, CaseArg::Absent)), residual: true, ..bias.clone() };
    let plain = |n, (h, w), cin, cout| params((n, h, w), (cin, cout), (3, 1), (1, 1));
    let shortcut = |p, sa, sb| Params { sa, sb, ..p };
    let both = |p| kept(normalised(p, 2));
    let far = Parts { x: (300.0, 0.1), ..bias.clone() };
    let halved = params((1, 37, 35), (12, 20), (3, 2), (1, 1));
    // So many channels for so few pixels that the sum is split.
    let deep = |p| Params { rows_norm: 1, ..kept(normalised(p, 8)) };
    vec![
        case("keeps moments", kept(plain(1, (5, 7), 6, 10)), bias.clone()),
        case("keeps moments of one pixel", kept(plain(2, (1, 1), 4, 8)), bias.clone()),
        case("keeps moments of tiles", kept(plain(2, (19, 17), 4, 12)), all.clone()),
        case("keeps moments, large mean", kept(plain(1, (8, 8), 4, 8)), far).tolerance(1e-3, 3e-5),
        case("shortcut", shortcut(plain(2, (5, 4), 8, 12), 8, 0), bias.clone()),
        case("shortcut, odd", shortcut(plain(1, (5, 4), 6, 5), 3, 2), bias.clone()),
        case("shortcut of both", shortcut(plain(2, (9, 8), 8, 68), 12, 4), bias.clone()),
        case(
            "norm, shortcut, keeps moments",
            shortcut(both(plain(2, (8, 8), 16, 16)), 8, 20),
            bias.clone(),
        ),
        case("norm, row, residual, keeps moments", both(plain(2, (4, 4), 8, 32)), all.clone()),
        case("halves, norm, keeps moments of tiles", both(halved), bias.clone()),
        case("deep, keeps moments", kept(plain(2, (5, 4), 68, 12)), all.clone()),
        case("deep, norm with row, keeps moments", deep(joined(plain(1, (6, 7), 96, 20), 32)), all),
    ]
}

/// Channels in multiples of 16, which cooperative matrices need.
fn whole() -> Vec<Case> {
    let bias = Parts { bias: true, ..Parts::default() };
    let all = Parts { row: Some((2, CaseArg::Absent)), residual: true, ..bias.clone() };
    let plain = |n, (h, w), cin, cout| params((n, h, w), (cin, cout), (3, 1), (1, 1));
    let active = |p| Params { act_in: Act::Silu as u32, ..p };
    let enlarged = Params { h: 5, w: 3, up: 2, ..plain(2, (10, 6), 16, 32) };
    let joint = active(normalised(joined(plain(2, (9, 10), 48, 32), 16), 3));
    let scaled = Params { rows_norm: 1, ..active(normalised(plain(2, (4, 9), 32, 16), 4)) };
    vec![
        case("whole", plain(2, (5, 7), 32, 48), bias.clone()),
        case("whole, all", kept(plain(2, (9, 17), 16, 64)), all.clone()),
        case("whole, deep", plain(1, (4, 4), 128, 32), bias.clone()),
        case("whole, 80", plain(1, (8, 9), 16, 80), bias.clone()),
        case("whole, joined, shortcut", Params { sa: 32, sb: 16, ..kept(joint) }, bias.clone()),
        case("whole, enlarged", enlarged, bias.clone()),
        case("whole, norm with row", scaled, all.clone()),
        case("whole, pixels", params((2, 5, 3), (48, 16), (1, 1), (0, 0)), all.clone()),
        case("whole, pixels strided", params((1, 9, 9), (16, 16), (1, 2), (0, 0)), bias.clone()),
        case("whole, halves", params((2, 17, 9), (16, 48), (3, 2), (1, 1)), bias.clone()),
        case("whole, even kernel", params((1, 4, 18), (16, 16), (2, 1), (1, 0)), bias.clone()),
        case("whole, wide kernel", params((1, 9, 9), (16, 32), (5, 1), (2, 2)), bias),
    ]
}

/// Kernels that are not square, and padding that differs from side to side.
fn oblongs() -> Vec<Case> {
    let bias = Parts { bias: true, ..Parts::default() };
    let all = Parts { row: Some((2, CaseArg::Absent)), residual: true, ..bias.clone() };
    let of =
        |(n, h, w), channels, sides, stride, pads| oblong((n, h, w), channels, sides, stride, pads);
    let wide = of((2, 6, 9), (12, 20), (1, 7), 1, [(0, 0), (3, 3)]);
    let high = of((2, 9, 6), (12, 20), (7, 1), 1, [(3, 3), (0, 0)]);
    let signal = of((2, 1, 33), (8, 12), (1, 5), 2, [(0, 0), (2, 2)]);
    let silu = Act::Silu as u32;
    let normed = |p| Params { act_in: silu, ..normalised(p, 4) };
    vec![
        case("wide", wide, bias.clone()),
        case("high", high, bias.clone()),
        case("high, norm, keeps moments", kept(normed(high)), all.clone()),
        case("wide, shortcut", Params { sa: 8, sb: 4, ..kept(normed(wide)) }, bias.clone()),
        case("a line, halves", signal, bias.clone()),
        case("a line, norm", normed(signal), all.clone()),
        case("sides", of((1, 7, 8), (5, 6), (3, 3), 2, [(0, 1), (2, 0)]), bias.clone()),
        case("lines, wide", of((1, 5, 20), (4, 8), (1, 3), 1, [(0, 0), (1, 1)]), bias.clone()),
        case("lines, high", of((2, 9, 17), (3, 5), (3, 1), 1, [(1, 1), (0, 0)]), bias.clone()),
        case("lines, sides", of((1, 6, 18), (4, 6), (2, 3), 1, [(1, 0), (0, 2)]), bias.clone()),
        case("whole, wide", of((2, 5, 9), (32, 48), (1, 7), 1, [(0, 0), (3, 3)]), bias.clone()),
        case("whole, high", of((1, 9, 9), (16, 32), (3, 1), 2, [(1, 1), (0, 0)]), bias.clone()),
        case(
            "whole, wide, norm",
            normed(of((2, 4, 9), (32, 16), (1, 3), 1, [(0, 0), (1, 1)])),
            all,
        ),
    ]
}
