// Down: the mean of 2x2 pixels. Up: each pixel repeated 2x2.
// x [n, h, w, c], y [n, h / 2, w / 2, c] or [n, 2 h, 2 w, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: down reads four times what it writes, up writes four times what it reads.
// Reference: src/ops/resample.rs
//!include grid
//!include vector

struct Params {
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    mode: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_v>;
@group(0) @binding(2) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn resample(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let down = p.mode == RESAMPLE_DOWN;
    let ho = select(2u * p.h, p.h / 2u, down);
    let wo = select(2u * p.w, p.w / 2u, down);
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * ho * wo * width {
        return;
    }
    let channel = at % width;
    let pixel = at / width;
    let ox = pixel % wo;
    let oy = pixel / wo % ho;
    let base = pixel / (wo * ho) * p.h;
    var v: V;
    if down {
        let source = ((base + 2u * oy) * p.w + 2u * ox) * width + channel;
        let below = source + p.w * width;
        v = 0.25 * ((V(x[source]) + V(x[source + width])) + (V(x[below]) + V(x[below + width])));
    } else {
        v = V(x[((base + oy / 2u) * p.w + ox / 2u) * width + channel]);
    }
    y[at] = y_v(v);
}
