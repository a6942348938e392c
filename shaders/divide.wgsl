// y = x / t with the time t of the sample.
// x, y [n, hw, c], times [..] f32, channels innermost.
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of the map.
// Reference: src/ops/divide.rs
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
@group(0) @binding(2) var<storage, read> times: array<times_t>;
#ifdef HAS_COND
@group(0) @binding(3) var<storage, read> cond: array<cond_t>;
#endif
@group(0) @binding(4) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn divide(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.hw * width {
        return;
    }
    y[at] = y_v(V(x[at]) / f32(times[map_row(p.map, at / (p.hw * width))]));
}
