// One picture of tiles, each fading in over the one above and then over the one to the left.
// x [n, down, across, c, side, side], y [b, c, h, w] f32, places [count] of (sample, ..).
// One thread one element of y, 256 threads a workgroup.
// Bandwidth: one write of the pictures, up to four reads of each pixel.
// Reference: src/ops/blend_tiles.rs
//!include cursor
//!include grid

struct Params {
    b: u32,
    n: u32,
    c: u32,
    h: u32,
    w: u32,
    side: u32,
    stride: u32,
    extent: u32,
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_t>;
@group(0) @binding(2) var<storage, read> places: array<places_t>;
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;

// Where a line or column lies: its tile, its place there, and the share of that tile.
struct Along {
    tile: u32,
    at: u32,
    share: f32,
}

fn along(i: u32, size: u32) -> Along {
    let tile = i / p.stride;
    let at = i % p.stride;
    let extent = min(p.extent, min(size - tile * p.stride, p.side));
    return Along(tile, at, select(1.0, f32(at) / f32(extent), tile > 0u && at < extent));
}

// Of a channel of a sample.
fn pixel(channel: u32, row: u32, column: u32, line: u32, left: u32) -> f32 {
    let down = (p.h + p.stride - 1u) / p.stride;
    let across = (p.w + p.stride - 1u) / p.stride;
    let tile = (channel / p.c * down + row) * across + column;
    return f32(x[((tile * p.c + channel % p.c) * p.side + line) * p.side + left]);
}

@compute @workgroup_size(256)
fn blend_tiles(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.c * p.h * p.w {
        return;
    }
    let line = along(at / p.w % p.h, p.h);
    let column = along(at % p.w, p.w);
    let channel = at / (p.w * p.h);
    let a = column.share;
    let b = line.share;
    let above = line.at + p.stride;
    let left = column.at + p.stride;
    var v = pixel(channel, line.tile, column.tile, line.at, column.at);
    var before = 0.0;
    if a < 1.0 {
        before = pixel(channel, line.tile, column.tile - 1u, line.at, left);
    }
    if b < 1.0 {
        var over = pixel(channel, line.tile - 1u, column.tile, above, column.at);
        if a < 1.0 {
            let corner = pixel(channel, line.tile - 1u, column.tile - 1u, above, left);
            over = (1.0 - a) * corner + a * over;
            before = (1.0 - b) * corner + b * before;
        }
        v = (1.0 - b) * over + b * v;
    }
    if a < 1.0 {
        v = (1.0 - a) * before + a * v;
    }
    let first = u32(places[4u * (cursor.row - p.first)]) * p.c * p.h * p.w;
    y[first + at] = v;
}
