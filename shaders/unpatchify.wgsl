// Tokens become the pixels of their patches: y[s i + u, s j + v, k] = x[i, j, (s u + v) c + k].
// x [n, h, w, side side c], y [n, side h, side w, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of the map.
// Reference: src/ops/unpatchify.rs
//!include grid
//!include vector

struct Params {
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    side: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_v>;
@group(0) @binding(2) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn unpatchify(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let wo = p.side * p.w;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.side * p.h * wo * width {
        return;
    }
    let pixel = at / width;
    let column = pixel % wo;
    let line = pixel / wo; // of all samples, each a multiple of the side
    let token = line / p.side * p.w + column / p.side;
    let part = line % p.side * p.side + column % p.side;
    y[at] = y_v(V(x[(token * p.side * p.side + part) * width + at % width]));
}
