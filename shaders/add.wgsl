// y = (a + b) * scale; either operand through a row map, b a map or one row a sample (broadcast).
// a [.., hw, c], b [.., hw, c] or [.., c], y [n, hw, c], channels innermost.
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: two reads and a write, 12 bytes an element in f32, 6 in f16.
// Reference: src/ops/add.rs
//!include grid
//!include rowmap
//!include vector

struct Params {
    a_map: RowMap,
    b_map: RowMap,
    n: u32,
    hw: u32,
    c: u32,
    broadcast: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<a_v>;
@group(0) @binding(2) var<storage, read> b: array<b_v>;
#ifdef HAS_COND
@group(0) @binding(3) var<storage, read> cond: array<cond_t>;
#endif
@group(0) @binding(4) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn add(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.hw * width {
        return;
    }
    let sample = at / (p.hw * width);
    let inner = at % (p.hw * width);
    let a_at = map_row(p.a_map, sample) * p.hw * width + inner;
    var b_at = map_row(p.b_map, sample);
    if p.broadcast != 0u {
        b_at = b_at * width + inner % width;
    } else {
        b_at = b_at * p.hw * width + inner;
    }
    let v = (V(a[a_at]) + V(b[b_at])) * p.scale;
    y[at] = y_v(v);
}
