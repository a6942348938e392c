// y = [a | b] along channels.
// a [n, ca], b [n, cb], y [n, ca + cb], channels innermost.
// One thread four channels (one where ca or cb is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of y, 8 bytes an element in f32, 4 in f16.
// Reference: src/ops/concat.rs
//!include grid
//!include vector

struct Params {
    n: u32,
    ca: u32,
    cb: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<a_v>;
@group(0) @binding(2) var<storage, read> b: array<b_v>;
@group(0) @binding(3) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn concat(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let a_width = p.ca / VEC;
    let b_width = p.cb / VEC;
    let width = a_width + b_width;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * width {
        return;
    }
    let vector = at / width;
    let channel = at % width;
    var v: V;
    if channel < a_width {
        v = V(a[vector * a_width + channel]);
    } else {
        v = V(b[vector * b_width + channel - a_width]);
    }
    y[at] = y_v(v);
}
