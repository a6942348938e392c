// y = scale * c_in * x + offset, with c_in of the row; sample i of y reads state i % b.
// x [b, c, hw] f32, y [n, hw, c].
// One thread one pixel with its channels, 256 threads a workgroup.
// Bandwidth: one read of the state and one write of the input.
// Reference: src/ops/model_input.rs
//!include grid
//!include row

struct Params {
    b: u32,
    n: u32,
    c: u32,
    hw: u32,
    scale: f32,
    offset: f32,
    per_sample: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_t>;
@group(0) @binding(2) var<storage, read> table: array<Row>;
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;

@compute @workgroup_size(256)
fn model_input(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.hw {
        return;
    }
    let sample = at / p.hw % p.b;
    let source = sample * p.c * p.hw + at % p.hw;
    let gain = p.scale * table[row_of(sample)].c_in;
    for (var c = 0u; c < p.c; c++) {
        y[at * p.c + c] = y_t(gain * f32(x[source + c * p.hw]) + p.offset);
    }
}
