// y[o] = sum_j k[T - 1 - j] x[2 o + j - (T - 1) / 2], or of x spread by zeros, in each direction.
// x [n, h, w, c], y [n, h / 2, w / 2, c] or [n, 2 h, 2 w, c], channels innermost; up to 8 taps.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: a pixel of x is read (T / 2)^2 times, but for the first time from cache.
// Reference: src/ops/fir_resample.rs
//!include grid
//!include vector

struct Params {
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    mode: u32,
    edge: u32,
    taps: u32,
    flat: u32,
    k0: f32,
    k1: f32,
    k2: f32,
    k3: f32,
    k4: f32,
    k5: f32,
    k6: f32,
    k7: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_v>;
@group(0) @binding(2) var<storage, read_write> y: array<y_v>;

fn tap(j: u32) -> f32 {
    switch j {
        case 0u: { return p.k0; }
        case 1u: { return p.k1; }
        case 2u: { return p.k2; }
        case 3u: { return p.k3; }
        case 4u: { return p.k4; }
        case 5u: { return p.k5; }
        case 6u: { return p.k6; }
        default: { return p.k7; }
    }
}

// The pixel of a side of `size` that the j-th term of output pixel o reads; outside of it: none.
fn source(o: u32, j: u32, size: u32) -> i32 {
    let shift = i32(j) - i32((p.taps - 1u) / 2u);
    let last = i32(size) - 1;
    var at = 2 * i32(o) + shift;
    if p.mode == RESAMPLE_UP {
        at = i32(o) + shift - 1;
        if (at & 1) != 0 {
            return -1 - last;
        }
        at = at >> 1u;
    }
    if p.edge == EDGE_MIRROR {
        at = select(min(at, 2 * last - at), -at, at < 0);
    }
    return at;
}

@compute @workgroup_size(256)
fn fir_resample(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let up = p.mode == RESAMPLE_UP;
    let flat = p.flat == 1u;
    let ho = select(select(p.h / 2u, 2u * p.h, up), p.h, flat);
    let wo = select(p.w / 2u, 2u * p.w, up);
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * ho * wo * width {
        return;
    }
    let channel = at % width;
    let pixel = at / width;
    let ox = pixel % wo;
    let oy = pixel / wo % ho;
    let base = pixel / (wo * ho) * p.h;
    var sum = V(0.0);
    for (var i = 0u; i < select(p.taps, 1u, flat); i++) {
        let py = select(source(oy, i, p.h), i32(oy), flat);
        if py < 0 || py >= i32(p.h) {
            continue;
        }
        let ky = select(tap(p.taps - 1u - i), 1.0, flat);
        for (var j = 0u; j < p.taps; j++) {
            let px = source(ox, j, p.w);
            if px >= 0 && px < i32(p.w) {
                let k = ky * tap(p.taps - 1u - j);
                sum += k * V(x[((base + u32(py)) * p.w + u32(px)) * width + channel]);
            }
        }
    }
    y[at] = y_v(sum);
}
