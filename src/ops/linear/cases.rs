//! The cases of `linear`.

use super::{Params, Rows};
use crate::ops::cases::{MapCase, moments_of, row_maps};
use crate::ops::moments;
use crate::ops::random::Random;
use crate::ops::{Act, Case, CaseArg, Norm, Op, RowMap};
use bytemuck::Zeroable;

/// What a case has beside its parameters.
struct Parts {
    residual: bool,
    cond: CaseArg,
    /// Rows of x where it is a table, which is f32 all along.
    rows: Option<usize>,
    /// Middle and spread of x.
    x: (f32, f32),
    /// Rows of samples there are.
    table: usize,
}

const PLAIN: Parts =
    Parts { residual: false, cond: CaseArg::Absent, rows: None, x: (0.0, 2.0), table: 0 };

fn params(m: u32, k: u32, n: u32) -> Params {
    let map = RowMap::IDENTITY;
    Params { map, m, k, n, hw: m, bias: 1, eps: 1e-5, scale: 1.0, ..Params::zeroed() }
}

/// x normalised over `groups` of channels of each sample of `hw` rows.
fn by_group(p: Params, hw: u32, groups: u32) -> Params {
    let tiles_x = moments::tiles(hw as usize, 1) as u32;
    Params { hw, norm: Norm::Group as u32, groups, from_x: 3, tiles_x, ..p }
}

/// The moments of y kept behind those of x.
fn kept(p: Params, hw: u32) -> Params {
    let p = Params { hw, ..p };
    let into = p.regions()[0].end() as u32 + 2;
    Params { into, tiles: moments::tiles(hw as usize, 1) as u32, ..p }
}

fn case(what: &str, p: Params, parts: Parts) -> Case {
    let name = format!("linear {}x{}->{} {what}", p.m, p.k, p.n);
    let mut random = Random::new(&name);
    let spread = 1.0 / (p.k as f32).sqrt();
    let weight = random.padded(p.k as usize, p.columns() as usize, spread);
    let (center, around) = parts.x;
    let rows = parts.rows.unwrap_or(p.m as usize);
    let x: Vec<f32> =
        random.uniform(rows * p.k as usize, around).iter().map(|v| v + center).collect();
    let residual = random.uniform(p.elements(5), 1.0);
    let mut vectors = random.uniform(p.elements(2), 1.0);
    vectors.iter_mut().take(p.k as usize).for_each(|gamma| *gamma += 1.0);
    let vectors = if vectors.is_empty() { CaseArg::Absent } else { CaseArg::F32(vectors) };
    let [from, _] = p.regions();
    let moments = moments_of(&[(from, &x)], p.elements(3));
    let (values, y): (fn(Vec<f32>) -> CaseArg, _) = match parts.rows {
        Some(_) => (CaseArg::F32, CaseArg::OutputF32),
        None => (CaseArg::Data, CaseArg::Output),
    };
    let skip = if parts.residual { values(residual) } else { CaseArg::Absent };
    let rows = match p.rows {
        0 => CaseArg::Absent,
        _ => random.f32(parts.table * p.row_width(), 0.5),
    };
    Case::new(name, p, vec![values(x), weight, vectors, moments, parts.cond, skip, y, rows])
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes = [
        (1, 1, 1),
        (1, 64, 48),
        (5, 7, 3),
        (33, 20, 18),
        (65, 32, 96),
        (2, 300, 5),
        (130, 3, 17),
        (16, 136, 260),
    ];
    for (i, (m, k, n)) in sizes.into_iter().enumerate() {
        let rows = (i % 2 == 1).then_some(m as usize);
        cases.push(case("bias", params(m, k, n), Parts { rows, ..PLAIN }));
    }
    // Few rows: what ends a sum is the same for every tile, and small ones compile fast.
    for (bias, residual) in [(0, false), (0, true), (1, false), (1, true)] {
        for (act, scale) in [(Act::None, 0.5), (Act::Silu, 1.0), (Act::Gelu, 2.0)] {
            let p = Params { bias, act: act as u32, scale, ..params(9, 24, 10) };
            let what = format!("bias {bias} residual {residual} {act:?} scale {scale}");
            cases.push(case(&what, p, Parts { residual, ..PLAIN }));
        }
    }
    for MapCase { kind, map, cursor, cond, rows } in row_maps(&mut Random::new("rows"), 6) {
        let p = Params { map, act: Act::Silu as u32, ..params(6, 16, 9) };
        let parts = Parts { cond, rows: Some(rows), ..PLAIN };
        cases.push(case(&format!("by {kind}"), p, parts).at(cursor));
    }
    cases.extend(loading());
    for (m, hw, n) in [(35, 35, 12), (3, 1, 5), (132, 66, 20), (32, 16, 64)] {
        let p = kept(params(m, 12, n), hw);
        cases.push(case(&format!("keeps moments of {hw}"), p, Parts { residual: true, ..PLAIN }));
    }
    for (k, n, residual) in [(16, 8, false), (7, 5, true), (24, 68, true)] {
        let p = Params { gate: 1, scale: 0.5, ..params(19, k, n) };
        cases.push(case("gated", p, Parts { residual, ..PLAIN }));
    }
    let p = Params { norm: Norm::Layer as u32, gate: 1, ..params(21, 36, 20) };
    cases.push(case("gated, norm of rows", p, PLAIN));
    cases.extend(whole());
    cases.extend(by_sample());
    cases
}

/// Norms that rows of samples scale and shift, and results that they are factors of.
fn by_sample() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, found) in row_maps(&mut Random::new("samples"), 4).into_iter().enumerate() {
        let MapCase { kind, map, cursor, cond, rows: table } = found;
        let (shifts, times) = (Rows::ScaleShift as u32, Rows::Times as u32);
        let of = |rows, hw, k, n| Params { map, hw, rows, ..params(4 * hw, k, n) };
        let normed = |hw, k, n| Params { norm: Norm::Layer as u32, ..of(shifts, hw, k, n) };
        let act_in = Act::Silu as u32;
        let act = Act::GeluTanh as u32;
        // Of the deep ones the sum is split where there are few tiles.
        let patterns = [
            ("scaled, shifted", normed(9, 24, 20)),
            ("scaled, shifted", Params { act_in, ..normed(40, 7, 5) }),
            ("times", Params { scale: 0.5, act, ..of(times, 17, 20, 12) }),
            ("times", Params { bias: 0, ..of(times, 1, 64, 7) }),
            ("deep, scaled, shifted, keeps moments", kept(normed(32, 256, 48), 32)),
            ("deep, times, keeps moments", kept(of(times, 32, 512, 32), 32)),
            (
                "norm of groups, shifted",
                Params { act_in, ..by_group(of(shifts, 36, 64, 24), 36, 8) },
            ),
        ];
        // Each by some of the maps, and all by the one that loops take.
        let taken = |at: usize| at % 4 == i % 4 || kind == "time x condition";
        for (_, (what, p)) in patterns.into_iter().enumerate().filter(|(at, _)| taken(*at)) {
            let parts = Parts { residual: i % 2 == 1, cond: cond.clone(), table, ..PLAIN };
            cases.push(case(&format!("{what} by {kind}"), p, parts).at(cursor));
        }
    }
    cases
}

/// Depths in multiples of 32 and columns of 16, which cooperative matrices need.
fn whole() -> Vec<Case> {
    let all = || Parts { residual: true, ..PLAIN };
    let act = Act::Silu as u32;
    let gated = |m, k, n| Params { gate: 1, ..params(m, k, n) };
    let normed = kept(by_group(Params { act_in: act, ..params(132, 64, 80) }, 66, 8), 66);
    vec![
        case("whole", Params { act, ..params(37, 64, 48) }, all()),
        case("whole, one row", params(1, 32, 16), PLAIN),
        case("whole, deep", params(5, 512, 32), all()),
        case("whole, gated", gated(70, 32, 48), all()),
        case(
            "whole, gated, norm of rows",
            Params { norm: Norm::Layer as u32, ..gated(33, 64, 64) },
            PLAIN,
        ),
        case(
            "whole, norm of rows",
            Params { norm: Norm::Layer as u32, ..params(70, 96, 64) },
            all(),
        ),
        case("whole, norm, keeps moments", normed, all()),
    ]
}

/// Norms and activations on load.
fn loading() -> Vec<Case> {
    let silu = Act::Silu as u32;
    let layer = Norm::Layer as u32;
    let activated = Params { act_in: silu, ..params(9, 20, 7) };
    let mut cases = vec![case("silu on load", activated, PLAIN)];
    for (m, k, n) in [(1, 8, 4), (37, 24, 20), (70, 5, 3), (16, 260, 32)] {
        let p = Params { norm: layer, ..params(m, k, n) };
        cases.push(case("norm of rows", p, PLAIN));
    }
    // A mean of 100 rounded to f32 is off by up to 4e-6, which division by the deviation of 0.06
    // makes 7e-5.
    let far = || Parts { x: (100.0, 0.1), ..PLAIN };
    let p = Params { norm: layer, ..params(5, 64, 12) };
    cases.push(case("norm of rows, large mean", p, far()).tolerance(3e-4, 1e-5));
    for (m, hw, k, groups) in [(9, 9, 6, 3), (70, 35, 12, 1), (3, 1, 8, 2), (80, 40, 64, 32)] {
        let p = by_group(Params { act_in: silu, ..params(m, k, 20) }, hw, groups);
        cases.push(case(&format!("norm of {groups} groups over {hw}"), p, PLAIN));
    }
    let p = kept(by_group(params(64, 16, 48), 32, 4), 32);
    cases.push(case("norm, keeps moments", p, Parts { residual: true, ..PLAIN }));
    let p = by_group(params(64, 16, 8), 64, 4);
    cases.push(case("norm of groups, large mean", p, far()).tolerance(3e-4, 1e-5));
    // The same of a mean of 1000 and a deviation of 0.03: 3e-5 becomes 1e-3, more where tiles are
    // merged. Squares of 1000 are off by twice the deviation.
    let farther = Parts { x: (1e3, 0.055), ..PLAIN };
    let p = by_group(params(70, 12, 8), 70, 3);
    cases.push(case("norm of groups, tiny variance", p, farther).tolerance(5e-3, 1e-5));
    // So deep for so few rows that the sum is split.
    let p = kept(by_group(params(64, 256, 24), 32, 8), 32);
    cases.push(case("deep, norm, keeps moments", p, Parts { residual: true, ..PLAIN }));
    let p = kept(params(35, 133, 7), 35);
    cases.push(case("deep, keeps moments", p, Parts { residual: true, ..PLAIN }));
    cases
}
