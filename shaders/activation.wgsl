// y = act(x): SiLU, GELU, ReLU or Mish; vector i of x is read at map(i).
// x [.., c], y [n, c], channels innermost.
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of the map, 8 bytes an element in f32, 4 in f16.
// Reference: src/ops/activation.rs
//!include grid
//!include rowmap
//!include vector
//!include activate

struct Params {
    map: RowMap,
    n: u32,
    c: u32,
    act: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_v>;
#ifdef HAS_COND
@group(0) @binding(2) var<storage, read> cond: array<cond_t>;
#endif
@group(0) @binding(3) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn activation(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * width {
        return;
    }
    let source = map_row(p.map, at / width) * width + at % width;
    let v = activate(V(x[source]), p.act);
    y[at] = y_v(v);
}
