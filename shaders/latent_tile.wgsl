// y = scale x, of th x tw pixels of the state from the row's place on.
// x [b, c, h, w] f32, y [n, th, tw, c], places [count] of (sample, block, top, left).
// One thread one pixel with its channels, 256 threads a workgroup.
// Bandwidth: one read of the part and one write of the input.
// Reference: src/ops/latent_tile.rs
//!include cursor
//!include grid

struct Params {
    b: u32,
    n: u32,
    c: u32,
    h: u32,
    w: u32,
    th: u32,
    tw: u32,
    scale: f32,
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_t>;
@group(0) @binding(2) var<storage, read> places: array<places_t>;
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;

@compute @workgroup_size(256)
fn latent_tile(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.th * p.tw {
        return;
    }
    let place = 4u * (cursor.row - p.first);
    let sample = u32(places[place]) + at / (p.th * p.tw);
    let line = u32(places[place + 2u]) + at / p.tw % p.th;
    let source = sample * p.c * p.h * p.w + line * p.w + u32(places[place + 3u]) + at % p.tw;
    for (var c = 0u; c < p.c; c++) {
        y[at * p.c + c] = y_t(p.scale * f32(x[source + c * p.h * p.w]));
    }
}
