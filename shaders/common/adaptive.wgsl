//!include row
// Adaptive steps: src/ops/control/adapt.rs. Needs the buffer table, whose rows are followed by
// numbers in their histories, from row p.adaptive on.

fn number(place: u32) -> f32 {
    let row = p.adaptive + place / (3u * HISTORY);
    let at = place % HISTORY;
    switch place / HISTORY % 3u {
        case 0u: { return table[row].x.h[at]; }
        case 1u: { return table[row].saved.h[at]; }
        default: { return table[row].push.h[at]; }
    }
}

fn code(place: u32) -> u32 {
    return u32(number(place));
}

struct Progress {
    lambda: f32,
    h: f32,
    accepted: u32,
    rejected: u32,
    retries: u32,
}

fn progress_start() -> Progress {
    return Progress(number(AT_LAMBDA_START), number(AT_FIRST_STEP), 0u, 0u, 0u);
}

fn point_place(point: u32) -> f32 {
    return number(AT_POINTS + point * POINT);
}

// The step that is tried: 0 for a sample that has arrived or spent its budget.
fn step_of(at: Progress) -> f32 {
    if f32(at.accepted + at.rejected) >= number(AT_BUDGET) {
        return 0.0;
    }
    return max(min(at.h, number(AT_LAMBDA_END) - at.lambda), 0.0);
}

fn ln_sigma_of(stage: u32, at: Progress) -> f32 {
    var place = 0.0;
    if stage >= STAGE_STEP {
        place = point_place(stage - STAGE_STEP);
    }
    return -(at.lambda + place * step_of(at));
}

// The time of the clock, which goes on beyond its ends.
fn clock_time(ln_sigma: f32) -> f32 {
    let first = AT_POINTS + POINTS * POINT;
    var low = 0u;
    var high = code(AT_CLOCK) - 1u;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if number(first + 2u * middle) < ln_sigma {
            low = middle;
        } else {
            high = middle;
        }
    }
    let at = first + 2u * low;
    let slope = (number(at + 3u) - number(at + 1u)) / (number(at + 2u) - number(at));
    return number(at + 1u) + slope * (ln_sigma - number(at));
}

// x over the network's own x, where x is x0 + sigma eps.
fn network_norm(s: f32) -> f32 {
    switch code(AT_COORDINATES) {
        case VARIANCE_PRESERVING: { return sqrt(s * s + 1.0); }
        case VARIANCE_EXPLODING: { return 1.0; }
        case SUB_VARIANCE_PRESERVING: { return 0.5 * (sqrt(s * s + 4.0) + s); }
        case FLOW: { return 1.0 + s; }
        default: {
            let data = number(AT_SIGMA_DATA);
            return sqrt(s * s + data * data);
        }
    }
}

// (what the network is told, c_in) at a stage.
fn network_input(stage: u32, at: Progress) -> vec2<f32> {
    let ln_sigma = ln_sigma_of(stage, at);
    let sigma = exp(ln_sigma);
    var time = sigma;
    if code(AT_TOLD_SIGMA) == 0u {
        time = clock_time(ln_sigma);
    }
    return vec2<f32>(time, 1.0 / network_norm(sigma));
}

// (x0_x, x0_f, eps_x, eps_f) at sigma = s.
fn network_reading(s: f32) -> vec4<f32> {
    let sign = number(AT_SIGN);
    if code(AT_COORDINATES) == EDM {
        let skip = s - number(AT_SIGMA_MIN);
        let data = number(AT_SIGMA_DATA);
        let square = skip * skip + data * data;
        let f = sign * skip * data / network_norm(s);
        return vec4<f32>(data * data / square, f, skip * skip / square / s, -f / s);
    }
    let square = 1.0 + s * s;
    let n = sqrt(square);
    switch code(AT_PREDICTION) {
        case EPSILON: { return vec4<f32>(1.0, -sign * s, 0.0, sign); }
        case SAMPLE: { return vec4<f32>(0.0, 1.0, 1.0 / s, -1.0 / s); }
        case V_PREDICTION: { return vec4<f32>(1.0 / square, -s / n, s / square, 1.0 / n); }
        case SCORE: {
            let own = s / network_norm(s);
            return vec4<f32>(1.0, s * own, 0.0, -own);
        }
        default: { return vec4<f32>(1.0, -s, 1.0, 1.0) / (1.0 + s); }
    }
}

// `read` with how the network is read at the place of its stage.
fn read_at(read: Reading, stage: u32, at: Progress) -> Reading {
    let s = exp(ln_sigma_of(stage, at));
    let c = network_reading(s);
    var r = read;
    r.x0_x = c.x;
    r.x0_f = c.y;
    r.eps_x = c.z;
    r.eps_f = c.w;
    r.eps_x0 = 0.0;
    r.flags &= ~(ROW_GUIDE | ROW_UNCOND_EPS);
    if number(AT_ABOVE) < s && s <= number(AT_MOST) {
        r.flags |= select(ROW_GUIDE, ROW_GUIDE | ROW_UNCOND_EPS, code(AT_PLUS_PLUS) != 0u);
    }
    if code(AT_CLIPPED_EPS) != 0u && (r.flags & ROW_UNCOND_EPS) == 0u {
        r.eps_x = 1.0 / s;
        r.eps_f = 0.0;
        r.eps_x0 = -1.0 / s;
    }
    return r;
}

// phi(u) = 1 - exp(-u) and psi(u) = phi(u) / u - exp(-u); their series where they cancel.
fn phi(u: f32) -> f32 {
    if u > 0.25 {
        return 1.0 - exp(-u);
    }
    return u * (1.0 - u / 2.0 * (1.0 - u / 3.0 * (1.0 - u / 4.0 * (1.0 - u / 5.0
        * (1.0 - u / 6.0)))));
}

fn psi(u: f32) -> f32 {
    if u > 0.25 {
        return phi(u) / u - exp(-u);
    }
    return u / 2.0 * (1.0 - 2.0 * u / 3.0 * (1.0 - 3.0 * u / 8.0 * (1.0 - 4.0 * u / 15.0
        * (1.0 - 5.0 * u / 24.0 * (1.0 - 6.0 * u / 35.0)))));
}

// What evaluation e, made at a place of the step, weighs in a point.
fn coefficient(point: u32, e: u32, evaluated: f32, at: Progress) -> f32 {
    let h = step_of(at);
    let weights = AT_POINTS + point * POINT + 1u + 3u * e;
    let u = point_place(point) * h;
    let slope = number(weights) * h * exp(-evaluated * h);
    return -exp(-at.lambda)
        * (slope + number(weights + 1u) * phi(u) + number(weights + 2u) * psi(u));
}

// `mix` with `sign` times a point's sum over the evaluations that `row` knows, its own the last.
fn plus_point(mix: Mix, sign: f32, point: u32, row: u32, at: Progress) -> Mix {
    var m = mix;
    let carried = code(AT_CARRIES);
    for (var e = 0u; e <= row + carried; e++) {
        if e < carried {
            m.h[row] += sign * coefficient(point, e, 0.0, at);
            continue;
        }
        let c = sign * coefficient(point, e, point_place(e - carried), at);
        if e == row + carried {
            m.eps += c;
        } else {
            m.h[row + carried - e - 1u] += c;
        }
    }
    return m;
}

fn mix_of(x: f32, x0: f32, eps: f32, saved: f32) -> Mix {
    return Mix(x, x0, eps, saved, array<f32, 9>(), 0.0, 0.0);
}

// The evaluation carried to the step in which `row` decides.
fn mix_past(row: u32) -> Mix {
    var m = Mix();
    m.h[row] = 1.0;
    return m;
}

// x at the end of the step: by the higher order, and by the lower.
fn mix_end(row: u32, at: Progress) -> Mix {
    if code(AT_CARRIES) != 0u {
        return mix_of(1.0, 0.0, 0.0, 0.0);
    }
    return plus_point(mix_of(0.0, 0.0, 0.0, 1.0), 1.0, row + 1u, row, at);
}

fn mix_lower(row: u32, at: Progress) -> Mix {
    return plus_point(mix_end(row, at), -1.0, POINTS - 1u, row, at);
}

// Whether a row is the last of a step.
fn decides(stage: u32) -> bool {
    return stage == STAGE_STEP + code(AT_ROWS) - 1u;
}

// What the error is measured by.
fn error_scale(a: f32, b: f32) -> f32 {
    let relative = number(AT_RTOL) * max(abs(a), abs(b));
    return select(max(number(AT_ATOL), relative), number(AT_ATOL) + relative,
        code(AT_LIMITER) == 0u);
}

// The progress after a step whose error has that norm; too large where it is not finite.
fn advance(found: f32, at: Progress) -> Progress {
    let step = step_of(at);
    if step == 0.0 {
        return at;
    }
    var norm = found;
    if (bitcast<u32>(norm) & 0x7fffffffu) >= 0x7f800000u {
        norm = 1e30;
    }
    var factor = clamp(0.9 * pow(max(norm, 1e-30), -0.2), 0.2, select(10.0, 1.0, at.retries != 0u));
    var accept = norm < 1.0;
    let order = number(AT_LIMITER);
    if order != 0.0 {
        factor = 1.0 + atan(pow(norm + 1e-8, -1.0 / order) - 1.0);
        accept = factor >= 0.81;
    }
    if !accept {
        return Progress(at.lambda, factor * step, at.accepted, at.rejected + 1u, 1u);
    }
    // This close to the end it has arrived.
    let end = number(AT_LAMBDA_END);
    let lambda = select(at.lambda + step, end, at.lambda + step >= end - 1e-5);
    return Progress(lambda, factor * step, at.accepted + 1u, at.rejected, 0u);
}

// `a + c b` in the terms of adaptive rows.
fn plus_mix(a: Mix, c: f32, b: Mix) -> Mix {
    var m = a;
    m.x += c * b.x;
    m.eps += c * b.eps;
    m.saved += c * b.saved;
    for (var j = 0u; j < HISTORY; j++) {
        m.h[j] += c * b.h[j];
    }
    return m;
}

struct Mixes {
    x: Mix,
    saved: Mix,
    push: Mix,
}

// The update of a row that tried its step in `before`.
fn mixes(stage: u32, before: Progress, after: Progress) -> Mixes {
    let saved = mix_of(0.0, 0.0, 0.0, 1.0);
    let eps = mix_of(0.0, 0.0, 1.0, 0.0);
    // What the carried evaluation adds to reach the first point of the step to come.
    let lead = coefficient(0u, 0u, 0.0, after);
    if stage == STAGE_START {
        return Mixes(mix_of(1.0, 0.0, lead, 0.0), mix_of(1.0, 0.0, 0.0, 0.0), eps);
    }
    if stage == STAGE_FINISH {
        return Mixes(mix_of(0.0, 1.0, 0.0, 0.0), Mix(), Mix());
    }
    let row = stage - STAGE_STEP;
    if !decides(stage) {
        return Mixes(plus_point(saved, 1.0, row + 1u, row, before), Mix(), eps);
    }
    if after.accepted == before.accepted {
        let past = mix_past(row);
        return Mixes(plus_mix(saved, lead, past), saved, past);
    }
    let end = mix_end(row, before);
    var carried = eps;
    if code(AT_CARRIES) == 0u {
        carried = mix_lower(row, before);
    }
    return Mixes(plus_mix(end, lead, carried), end, carried);
}
