// y = act(h (1 + scale) + shift), h = (x - mean) / sqrt(var + eps) * gamma + beta over a group.
// x, y [n, hw, c], gamma, beta [c], rows [.., 2 c] = [scale | shift], channels innermost.
// One workgroup of 256 threads a group of a sample: mean, then centred moments, then the result.
// Bandwidth: one read from memory, two from cache, one write; 8 bytes an element in f32, 4 in f16.
// Reference: src/ops/group_norm.rs
//!include grid
//!include rowmap
//!include vector
//!include activate

struct Params {
    map: RowMap,
    n: u32,
    hw: u32,
    c: u32,
    groups: u32,
    eps: f32,
    act: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_v>;
@group(0) @binding(2) var<storage, read> gamma: array<gamma_v>;
@group(0) @binding(3) var<storage, read> beta: array<beta_v>;
#ifdef HAS_ROWS
@group(0) @binding(4) var<storage, read> rows: array<rows_v>;
#endif
#ifdef HAS_COND
@group(0) @binding(5) var<storage, read> cond: array<cond_t>;
#endif
@group(0) @binding(6) var<storage, read_write> y: array<y_v>;

var<workgroup> partial: array<vec2<f32>, 256>;

// The sum of v over the workgroup, by a tree: the same on every device.
fn workgroup_sum(v: vec2<f32>, thread: u32) -> vec2<f32> {
    workgroupBarrier();
    partial[thread] = v;
    for (var half = 128u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            partial[thread] += partial[thread + half];
        }
    }
    workgroupBarrier();
    return partial[0];
}

fn total(v: V) -> f32 {
#ifdef VEC4
    return (v.x + v.y) + (v.z + v.w);
#else
    return v;
#endif
}

@compute @workgroup_size(256)
fn group_norm(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let number = workgroup_number(id, grid);
    if number >= p.n * p.groups {
        return;
    }
    let sample = number / p.groups;
    let width = p.c / VEC; // of a vector
    let group = p.c / p.groups / VEC; // of a group in it
    let first = number % p.groups * group;
    let base = sample * p.hw * width + first;
    let count = p.hw * group;
    let size = f32(p.hw) * f32(p.c / p.groups);

    var sum = 0.0;
    for (var i = thread; i < count; i += 256u) {
        sum += total(V(x[base + i / group * width + i % group]));
    }
    let mean = workgroup_sum(vec2<f32>(sum, 0.0), thread).x / size;

    // The first moment about `mean` is what its rounding left: a large mean over a tiny variance
    // stays exact.
    var moments = vec2<f32>();
    for (var i = thread; i < count; i += 256u) {
        let d = V(x[base + i / group * width + i % group]) - mean;
        moments += vec2<f32>(total(d), total(d * d));
    }
    moments = workgroup_sum(moments, thread) / size;
    let rest = moments.x;
    let gain = 1.0 / sqrt(max(moments.y - rest * rest, 0.0) + p.eps);

#ifdef HAS_ROWS
    let row = map_row(p.map, sample) * 2u * width;
#endif
    for (var i = thread; i < count; i += 256u) {
        let c = first + i % group;
        let at = base + i / group * width + i % group;
        var v = ((V(x[at]) - mean) - rest) * gain * V(gamma[c]) + V(beta[c]);
#ifdef HAS_ROWS
        v = v * (1.0 + V(rows[row + c])) + V(rows[row + width + c]);
#endif
        v = activate(v, p.act);
        y[at] = y_v(v);
    }
}
