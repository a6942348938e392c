// y = x after rounds * FMA_CHAIN times v = a v + b on every element v.
// x, y [n, 8]; the arithmetic is in their type.
// One thread a row: two vectors of four, neither waits for the other. 256 threads a workgroup.
// Arithmetic: 16 operations for each b of the chain and no byte, the most a device does in a type.
// Reference: src/ops/multiply_add.rs
//!include grid

struct Params {
    n: u32,
    rounds: u32,
    a: f32,
    b: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<x_t>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<y_t>>;

@compute @workgroup_size(256)
fn multiply_add(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let row = workgroup_number(id, grid) * 256u + thread;
    if row >= p.n {
        return;
    }
    let a = vec4(x_t(p.a));
    let b = vec4(x_t(p.b));
    var left = x[2u * row];
    var right = x[2u * row + 1u];
    for (var round = 0u; round < p.rounds; round++) {
        for (var i = 0u; i < FMA_CHAIN; i++) {
            left = fma(left, a, b);
            right = fma(right, a, b);
        }
    }
    y[2u * row] = left;
    y[2u * row + 1u] = right;
}
