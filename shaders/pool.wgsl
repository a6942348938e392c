// The largest or the mean of the pixels under a window, those of the padding left out.
// x [n, h, w, c], y [n, ho, wo, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: kh kw reads a write, most of them from the cache.
// Reference: src/ops/pool.rs
//!include grid
//!include vector

struct Params {
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    ho: u32,
    wo: u32,
    kh: u32,
    kw: u32,
    stride: u32,
    top: u32,
    left: u32,
    bottom: u32,
    right: u32,
    mode: u32,
    count_padding: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_v>;
@group(0) @binding(2) var<storage, read_write> y: array<y_v>;

@compute @workgroup_size(256)
fn pool(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.ho * p.wo * width {
        return;
    }
    let channel = at % width;
    let pixel = at / width;
    // The window in the padded map, and the part of it that is the map's.
    let above = pixel / p.wo % p.ho * p.stride;
    let before = pixel % p.wo * p.stride;
    let first_line = max(above, p.top) - p.top;
    let last_line = max(min(above + p.kh, p.top + p.h), p.top) - p.top;
    let first_column = max(before, p.left) - p.left;
    let last_column = max(min(before + p.kw, p.left + p.w), p.left) - p.left;
    let base = pixel / (p.wo * p.ho) * p.h;
    let largest = p.mode == POOL_MAX;
    var v = V(select(0.0, -3.4028234e38, largest));
    for (var line = first_line; line < last_line; line++) {
        for (var column = first_column; column < last_column; column++) {
            let own = V(x[((base + line) * p.w + column) * width + channel]);
            v = select(v + own, max(v, own), largest);
        }
    }
    if !largest {
        var count = (last_line - first_line) * (last_column - first_column);
        if p.count_padding != 0u {
            count = (min(above + p.kh, p.top + p.h + p.bottom) - above)
                * (min(before + p.kw, p.left + p.w + p.right) - before);
        }
        v /= f32(count);
    }
    y[at] = y_v(v);
}
