// y[row] = x: the state after this row of the trajectory.
// x [n], y [rows, n], f32.
// One thread one element, 256 threads a workgroup.
// Bandwidth: one read and one write of the state.
// Reference: src/ops/trace.rs
//!include cursor
//!include grid

struct Params {
    n: u32,
    rows: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_t>;
@group(0) @binding(2) var<storage, read_write> y: array<y_t>;

@compute @workgroup_size(256)
fn trace(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n || cursor.row >= p.rows {
        return;
    }
    y[cursor.row * p.n + at] = x[at];
}
