// The operands of linear: rows of x, normalised and activated, and quads of the weight.
#ifdef METHOD_SUBGROUP
//!include subgroup
#endif

// What loading four channels of a row applies; of both norms.
struct Channels {
    gamma: vec4<f32>,
    beta: vec4<f32>,
    mean: vec4<f32>,
    rstd: vec4<f32>,
}

// The row map is that of samples where they have rows.
fn row_of_x(row: u32) -> u32 {
#ifdef HAS_ROWS
    return row;
#else
    return map_row(p.map, row);
#endif
}

// Channels k .. k + 4; of the norm of a sample's rows, which it may scale and shift.
fn channels(k: u32, lane: u32, sample: u32) -> Channels {
    var c: Channels;
#ifdef NORM
#ifdef SCALE_SHIFT
    let row = map_row(p.map, sample) * 2u * p.k;
#endif
#ifdef METHOD_SUBGROUP
    // Each lane loads one of the eight values, which all lanes need.
    let channel = min(k + lane % 4u, p.k - 1u);
    let affine = vectors[channel + select(0u, p.k, lane >= 4u)];
    c.gamma = gather_low(affine);
    c.beta = gather_high(affine);
#ifdef SCALE_SHIFT
    let own = rows[row + channel + select(0u, p.k, lane >= 4u)];
    let scale = 1.0 + gather_low(own);
    c.gamma *= scale;
    c.beta = c.beta * scale + gather_high(own);
#endif
#ifdef GROUPS
    let norm = group_norms[group_of(channel, p.k)];
    let part = select(norm.x, norm.y, lane >= 4u);
    c.mean = gather_low(part);
    c.rstd = gather_high(part);
#endif
#else
    for (var i = 0u; i < 4u; i++) {
        let channel = min(k + i, p.k - 1u);
        c.gamma[i] = vectors[channel];
        c.beta[i] = vectors[p.k + channel];
#ifdef SCALE_SHIFT
        let scale = 1.0 + rows[row + channel];
        c.gamma[i] *= scale;
        c.beta[i] = c.beta[i] * scale + rows[row + p.k + channel];
#endif
#ifdef GROUPS
        c.mean[i] = group_norms[group_of(channel, p.k)].x;
        c.rstd[i] = group_norms[group_of(channel, p.k)].y;
#endif
    }
#endif
#endif
    return c;
}

// x[row][k .. k + 4] as stored, zero past the end of the row, which starts at `base`; k < p.k.
fn load_raw(base: u32, k: u32) -> vec4<f32> {
#ifdef VEC4
    return vec4<f32>(x[(base + k) / 4u]);
#else
    var v = vec4<f32>();
    for (var i = 0u; i < min(4u, p.k - k); i++) {
        v[i] = f32(x[base + k + i]);
    }
    return v;
#endif
}

// x[row][k .. k + 4], normalised and activated; `row` is of `row_norms`.
fn load_x(base: u32, k: u32, c: Channels, row: vec4<f32>) -> vec4<f32> {
    var v = load_raw(base, k);
#ifdef GROUPS
    v = (v - c.mean) * c.rstd * c.gamma + c.beta;
#endif
#ifdef NORM_ROWS
    v = (v - row.x - row.y) * row.z * c.gamma + c.beta;
#endif
#ifdef ACT_IN
    v = activate(v, ACT_IN);
#endif
#ifndef VEC4
    v = select(vec4<f32>(), v, vec4<u32>(k) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.k));
#endif
    return v;
}

#ifndef METHOD_MATRIX
// Columns 4 quad .. 4 quad + 4 of a row of the weight (part 1: of the gates), held inside it.
fn load_weight(k: u32, quad: u32, part: u32) -> vec4<f32> {
    let row = min(k, p.k - 1u);
    let inside = min(quad, (p.n + 3u) / 4u - 1u);
#ifdef GATE
    let width = (2u * p.n + 3u) / 4u;
#ifdef STORE4
    return vec4<f32>(weight[row * width + part * p.n / 4u + inside]);
#else
    var v = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        let column = part * p.n + min(4u * inside + i, p.n - 1u);
        v[i] = f32(weight[row * width + column / 4u][column % 4u]);
    }
    return v;
#endif
#else
    return vec4<f32>(weight[row * ((p.n + 3u) / 4u) + inside]);
#endif
}

fn weight_block(k: u32, quad: u32, part: u32) -> mat4x4<f32> {
    return mat4x4<f32>(load_weight(k, quad, part), load_weight(k + 1u, quad, part),
        load_weight(k + 2u, quad, part), load_weight(k + 3u, quad, part));
}
#endif

#ifdef NORM_ROWS
// Threads that share a row.
const SHARE: u32 = max(1u, THREADS / TILE_M);

// Of each row its first value, its mean less that value, and 1 / sqrt(variance + eps): sums over
// differences, so that a large mean over a tiny variance costs nothing.
var<workgroup> row_norms: array<vec4<f32>, TILE_M>;
var<workgroup> shares: array<f32, THREADS>;

// The sum over the threads of a row, in uniform control flow.
fn share_total(v: f32, thread: u32) -> f32 {
    if SHARE == 1u {
        return v;
    }
    workgroupBarrier();
    shares[thread] = v;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < SHARE; i++) {
        total += shares[thread / SHARE * SHARE + i];
    }
    return total;
}

// The sum of (x - center) to the first or second power over this thread's values of a row.
fn deviations(base: u32, center: f32, squared: bool, thread: u32) -> f32 {
    var sum = vec4<f32>();
    for (var k = 4u * (thread % SHARE); k < p.k; k += 4u * SHARE) {
        let d = load_raw(base, k) - center;
        let inside = vec4<u32>(k) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.k);
        sum += select(vec4<f32>(), select(d, d * d, squared), inside);
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

fn load_row_norms(at: Place, thread: u32) {
    for (var i = 0u; i < TILE_M * SHARE / THREADS; i++) {
        let row = i * (THREADS / SHARE) + thread / SHARE;
        let base = row_of_x(min(at.row + row, at.end - 1u)) * p.k;
        let first = load_raw(base, 0u).x;
        let mean = share_total(deviations(base, first, false, thread), thread) / f32(p.k);
        let m2 = share_total(deviations(base, first + mean, true, thread), thread);
        row_norms[row] = vec4<f32>(first, mean, inverseSqrt(m2 / f32(p.k) + p.eps), 0.0);
    }
    workgroupBarrier();
}
#endif
