// y = table[labels[map(s) per + t]] of vector t of sample s.
// table [classes, c], labels [.., per] u32, y [n, per, c].
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of y, a few kilobytes: launch-bound.
// Reference: src/ops/embedding.rs
//!include grid
//!include rowmap
//!include vector

struct Params {
    map: RowMap,
    n: u32,
    c: u32,
    classes: u32,
    per: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<table_v>;
@group(0) @binding(2) var<storage, read> labels: array<labels_t>;
#ifdef HAS_COND
@group(0) @binding(3) var<storage, read> cond: array<cond_t>;
#endif
@group(0) @binding(4) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn embedding(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.per * width {
        return;
    }
    let vector = at / width;
    let row = map_row(p.map, vector / p.per) * p.per + vector % p.per;
    let label = min(labels[row], p.classes - 1u);
    let v = V(table[label * width + at % width]);
    y[at] = y_v(v);
}
