// A map at another size: each pixel of y by the four of x around its place, bilinearly.
// x [n, h, w, c], y [n, ho, wo, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: four reads a write, most of them from the cache.
// Reference: src/ops/interpolate.rs
//!include grid
//!include vector

struct Params {
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    ho: u32,
    wo: u32,
    offset: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_v>;
@group(0) @binding(2) var<storage, read_write> y: array<y_v>;

// Where place `i` of `places` lies along `size` pixels.
fn place_of(i: u32, size: u32, places: u32) -> f32 {
    let scale = f32(size) / f32(places);
    return max((f32(i) + p.offset) * scale - p.offset, 0.0);
}

@compute @workgroup_size(256)
fn interpolate(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let width = p.c / VEC;
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * p.ho * p.wo * width {
        return;
    }
    let channel = at % width;
    let pixel = at / width;
    let down = place_of(pixel / p.wo % p.ho, p.h, p.ho);
    let across = place_of(pixel % p.wo, p.w, p.wo);
    let above = min(u32(down), p.h - 1u);
    let left = min(u32(across), p.w - 1u);
    let right = min(left + 1u, p.w - 1u) - left;
    let base = pixel / (p.wo * p.ho) * p.h;
    let first = (base + above) * p.w + left;
    let next = (base + min(above + 1u, p.h - 1u)) * p.w + left;
    let a = V(x[first * width + channel]);
    let b = V(x[(first + right) * width + channel]);
    let c = V(x[next * width + channel]);
    let d = V(x[(next + right) * width + channel]);
    let part = across - f32(left);
    let upper = a + (b - a) * part;
    let lower = c + (d - c) * part;
    y[at] = y_v(upper + (lower - upper) * (down - f32(above)));
}
