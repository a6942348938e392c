// y = value * gelu(gate) of vectors [values | gates].
// x [n, 2 c], y [n, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: two reads and one write an element.
// Reference: src/ops/geglu.rs
//!include grid
//!include vector
//!include activate

struct Params {
    n: u32,
    c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_v>;
@group(0) @binding(2) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn geglu(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * width {
        return;
    }
    let value = at / width * 2u * width + at % width;
    let v = V(x[value]) * activate(V(x[value + width]), ACT_GELU);
    y[at] = y_v(v);
}
