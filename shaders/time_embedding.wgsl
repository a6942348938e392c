// y = [sin(s t f) | cos(s t f)], or [cos | sin] if flip; an odd last channel is zero; t or ln t.
// times [..] f32, freqs [dim / 2] f32, y [n, dim].
// One thread one frequency of one vector, 256 threads a workgroup.
// Compute: about 40 operations a pair; n dim is small, so launch-bound.
// Reference: src/ops/time_embedding.rs
//!include grid
//!include rowmap
//!include sincos

struct Params {
    map: RowMap,
    n: u32,
    dim: u32,
    flip: u32,
    log: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> times: array<times_t>;
@group(0) @binding(2) var<storage, read> freqs: array<freqs_t>;
#ifdef HAS_COND
@group(0) @binding(3) var<storage, read> cond: array<cond_t>;
#endif
@group(0) @binding(4) var<storage, read_write> y: array<y_t>;

@compute @workgroup_size(256)
fn time_embedding(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let half = p.dim / 2u;
    let width = (p.dim + 1u) / 2u; // an odd last channel is a pair without frequency
    let at = workgroup_number(id, grid) * 256u + thread;
    if at >= p.n * width {
        return;
    }
    let vector = at / width;
    let i = at % width;
    let to = vector * p.dim;
    if i == half {
        y[to + 2u * half] = y_t(0.0);
        return;
    }
    var time = f32(times[map_row(p.map, vector)]);
    if p.log != 0u {
        time = log(time);
    }
    let sc = sincos(time * f32(freqs[i]) * p.scale);
    y[to + i] = y_t(select(sc.x, sc.y, p.flip != 0u));
    y[to + half + i] = y_t(select(sc.y, sc.x, p.flip != 0u));
}
