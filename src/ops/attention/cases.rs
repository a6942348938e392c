//! The cases of `attention`.

use super::Params;
use crate::ops::random::Random;
use crate::ops::{Case, CaseArg, Op, RowMap, Span, moments};
use bytemuck::Zeroable;

/// What a case has beside its parameters.
#[derive(Clone, Copy)]
struct Parts {
    /// Of q and k; of 0 all scores are equal.
    spread: f32,
    /// Middle and spread of v.
    v: (f32, f32),
    residual: bool,
}

const PLAIN: Parts = Parts { spread: 2.0, v: (0.0, 2.0), residual: false };

/// The condition of each sample, where a case has them.
const CONDITIONS: [u32; 4] = [2, 0, 1, 2];

fn params(n: u32, (tq, tk): (u32, u32), heads: u32, d: u32) -> Params {
    let stride = heads * d;
    let score_scale = 1.0 / (d as f32).sqrt();
    let (q_stride, k_stride, v_stride, scale) = (stride, stride, stride, 1.0);
    let strides = Params { q_stride, k_stride, v_stride, score_scale, scale, ..Params::zeroed() };
    Params { map: RowMap::IDENTITY, n, tq, tk, heads, d, ..strides }
}

/// q, k and v beside each other in a row.
fn packed(p: Params) -> Params {
    let c = p.heads * p.d;
    let (q_stride, k_stride, v_stride) = (3 * c, 3 * c, 3 * c);
    Params { q_stride, k_stride, v_stride, k_first: c, v_first: 2 * c, ..p }
}

/// The moments of y kept.
fn kept(p: Params) -> Params {
    Params { into: 3, tiles: moments::tiles(p.tq as usize, 1) as u32, ..p }
}

fn case(what: &str, p: Params, parts: Parts) -> Case {
    let shape = format!("{}x{}x{} h{} d{}", p.n, p.tq, p.tk, p.heads, p.d);
    let name = format!("attention {shape} {what}");
    let mut random = Random::new(&name);
    let span = Span { times: 1, conditions: 3, rows: 1, draws: 0 };
    let [q, k] = [0, 1].map(|arg| random.data(p.reach(arg, &span), parts.spread));
    let (center, around) = parts.v;
    let v = random.uniform(p.reach(2, &span), around).iter().map(|v| v + center).collect();
    let cond = match p.map.needs_condition() {
        true => CaseArg::U32(CONDITIONS[..p.n as usize].to_vec()),
        false => CaseArg::Absent,
    };
    let moments = match p.elements(4) {
        0 => CaseArg::Absent,
        len => CaseArg::F32(vec![0.0; len]),
    };
    let skip = match parts.residual {
        true => random.data(p.elements(5), 1.0),
        false => CaseArg::Absent,
    };
    Case::new(name, p, vec![q, k, CaseArg::Data(v), cond, moments, skip, CaseArg::Output])
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes = [
        (1, (1, 1), 1, 8),
        (2, (7, 7), 3, 8),
        (1, (65, 65), 1, 8),
        (2, (16, 16), 2, 16),
        (1, (100, 100), 1, 40),
        (2, (16, 7), 2, 40),
        (2, (65, 65), 1, 64),
        (1, (16, 16), 2, 32),
        (2, (33, 40), 1, 80),
        (1, (16, 130), 2, 96),
        (1, (9, 300), 1, 128),
        (1, (5, 9), 2, 6),
        (1, (16, 16), 1, 160),
        (1, (7, 100), 1, 256),
        (1, (16, 16), 1, 512),
    ];
    for (n, tokens, heads, d) in sizes {
        cases.push(case("", params(n, tokens, heads, d), PLAIN));
    }
    for (n, t, heads, d) in [(2, 16, 2, 8), (1, 65, 1, 96), (3, 7, 4, 16)] {
        cases.push(case("packed q, k, v", packed(params(n, (t, t), heads, d)), PLAIN));
    }
    let mut p = params(2, (16, 65), 2, 16);
    (p.q_stride, p.k_stride, p.v_stride) = (32, 64, 68);
    (p.q_first, p.k_first, p.v_first) = (0, 4, 36);
    cases.push(case("cross, packed k, v", p, PLAIN));
    // Scores of hundreds overflow an exponential without its maximum. A score is rounded to f32
    // (1e-5 at 200), and so is, relatively, what comes after.
    let sharp = Params { score_scale: 4.0, ..params(1, (33, 33), 1, 16) };
    let parts = Parts { spread: 4.0, ..PLAIN };
    cases.push(case("large scores", sharp, parts).tolerance(2e-4, 1e-4));
    let parts = Parts { spread: 0.0, ..PLAIN };
    cases.push(case("equal scores", params(1, (9, 17), 2, 8), parts));
    cases.extend(finishing());
    cases.extend(texts());
    cases
}

/// Keys of texts, found by the sample's condition, and queries that see no later key.
fn texts() -> Vec<Case> {
    let mut cases = Vec::new();
    let by_condition = RowMap { time: 0, cond: 1, div: 1, modulo: 1 };
    for (n, tokens, heads, d) in [(4, (16, 7), 2, 8), (3, (33, 77), 1, 40), (2, (5, 9), 2, 6)] {
        let p = Params { map: by_condition, ..params(n, tokens, heads, d) };
        cases.push(case("keys by condition", p, PLAIN));
    }
    let (k_stride, v_stride) = (64, 64);
    let p =
        Params { map: by_condition, k_stride, v_stride, v_first: 32, ..params(2, (65, 12), 2, 16) };
    let parts = Parts { residual: true, ..PLAIN };
    cases.push(case("packed k, v by condition, residual", p, parts));
    let shared = RowMap { time: 0, cond: 0, div: 2, modulo: 1 };
    cases.push(case("keys shared", Params { map: shared, ..params(3, (9, 20), 2, 8) }, PLAIN));
    let sizes = [
        (1, 1, 1, 8),
        (2, 7, 3, 8),
        (1, 77, 2, 64),
        (2, 65, 1, 40),
        (1, 130, 2, 64),
        (1, 40, 1, 6),
        (1, 70, 1, 256),
    ];
    for (n, t, heads, d) in sizes {
        let p = Params { causal: 1, ..params(n, (t, t), heads, d) };
        cases.push(case("causal", p, PLAIN));
    }
    let p = Params { causal: 1, ..packed(params(2, (33, 33), 2, 16)) };
    cases.push(case("causal, packed, residual", p, parts));
    cases
}

/// Residuals, scales and moments.
fn finishing() -> Vec<Case> {
    let residual = Parts { residual: true, ..PLAIN };
    let mut cases = Vec::new();
    for (n, tokens, heads, d) in [(2, (7, 9), 1, 8), (1, (40, 40), 3, 16), (2, (5, 5), 2, 6)] {
        let p = Params { scale: 0.5, ..params(n, tokens, heads, d) };
        cases.push(case("residual, scale", p, residual));
    }
    // One query; a ragged second tile; heads whose last quad is not full; several tiles a sample.
    let measured = [
        (3, (1, 5), 1, 8),
        (2, (37, 37), 1, 36),
        (2, (33, 12), 3, 6),
        (1, (70, 20), 2, 5),
        (1, (64, 64), 1, 256),
        (2, (130, 50), 2, 64),
    ];
    for (i, (n, tokens, heads, d)) in measured.into_iter().enumerate() {
        let parts = Parts { residual: i % 2 == 1, ..PLAIN };
        let p = Params { scale: 0.75, ..kept(params(n, tokens, heads, d)) };
        cases.push(case("keeps moments", p, parts));
    }
    let p = kept(packed(params(2, (65, 65), 1, 64)));
    cases.push(case("packed, residual, keeps moments", p, residual));
    // Averages of v differ by hundredths and lie around 100: squares of f32 would lose them.
    let far = Parts { v: (100.0, 0.1), ..PLAIN };
    let p = kept(params(1, (45, 45), 2, 12));
    cases.push(case("keeps moments, large mean", p, far));
    cases
}
