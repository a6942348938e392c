// A corner of the blocks [c, ho, wo] of the samples, from the row's block on every step-th.
// x [n, th, tw, c], y [blocks, c, ho, wo] f32, places [count] of (sample, block, top, left).
// One thread one pixel with its channels, 256 threads a workgroup.
// Bandwidth: one read and one write of the pixels.
// Reference: src/ops/picture_tile.rs
//!include cursor
//!include grid

struct Params {
    n: u32,
    c: u32,
    th: u32,
    tw: u32,
    ho: u32,
    wo: u32,
    blocks: u32,
    step: u32,
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_t>;
@group(0) @binding(2) var<storage, read> places: array<places_t>;
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;

@compute @workgroup_size(256)
fn picture_tile(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.th * p.tw {
        return;
    }
    let block = u32(places[4u * (cursor.row - p.first) + 1u]) + at / (p.th * p.tw) * p.step;
    let to = block * p.c * p.ho * p.wo + at / p.tw % p.th * p.wo + at % p.tw;
    for (var c = 0u; c < p.c; c++) {
        y[to + c * p.ho * p.wo] = f32(x[at * p.c + c]);
    }
}
