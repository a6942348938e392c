// y = x row, with a row for each sample.
// x, y [n, hw, c], rows [.., c], channels innermost.
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of the map; rows stay in cache.
// Reference: src/ops/multiply.rs
//!include grid
//!include rowmap
//!include vector

struct Params {
    map: RowMap,
    n: u32,
    hw: u32,
    c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_v>;
@group(0) @binding(2) var<storage, read> rows: array<rows_v>;
#ifdef HAS_COND
@group(0) @binding(3) var<storage, read> cond: array<cond_t>;
#endif
@group(0) @binding(4) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn multiply(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.hw * width {
        return;
    }
    let row = map_row(p.map, at / (p.hw * width)) * width + at % width;
    y[at] = y_v(V(x[at]) * V(rows[row]));
}
