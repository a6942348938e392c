// The state, the saved copy and the newest prediction from the row's linear update: src/ops/row.rs.
// state, x0, eps, log_scale, saved [b, numel], z [2, b, numel], history [depth, b, numel], all f32.
// One thread four consecutive elements of a sample, 256 threads a workgroup.
// Bandwidth: what the row's coefficients make it read, and one write of the state.
// Reference: src/ops/combine.rs
//!include grid
//!include update
//!include state

struct Params {
    b: u32,
    numel: u32,
    depth: u32,
    per_sample: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: array<state_v>;
@group(0) @binding(2) var<storage, read> table: array<Row>;
#ifdef HAS_X0
@group(0) @binding(3) var<storage, read> x0: array<x0_v>;
#endif
#ifdef HAS_EPS
@group(0) @binding(4) var<storage, read> eps: array<eps_v>;
#endif
#ifdef HAS_LOG_SCALE
@group(0) @binding(5) var<storage, read> log_scale: array<log_scale_v>;
#endif
@group(0) @binding(6) var<storage, read> z: array<z_v>;
#ifdef HAS_SAVED
@group(0) @binding(7) var<storage, read_write> saved: array<saved_v>;
#endif
#ifdef HAS_HISTORY
@group(0) @binding(8) var<storage, read_write> history: array<history_v>;
#endif

fn state_elements() -> u32 {
    return p.b * p.numel;
}

#ifdef HAS_X0
fn load_x0(at: u32, lanes: u32) -> vec4<f32> {
#ifdef STATE4
    return x0[at / 4u];
#else
    var v = vec4<f32>();
    for (var i = 0u; i < lanes; i++) {
        v[i] = x0[at + i];
    }
    return v;
#endif
}
#endif

#ifdef HAS_EPS
fn load_eps(at: u32, lanes: u32) -> vec4<f32> {
#ifdef STATE4
    return eps[at / 4u];
#else
    var v = vec4<f32>();
    for (var i = 0u; i < lanes; i++) {
        v[i] = eps[at + i];
    }
    return v;
#endif
}
#endif

#ifdef HAS_LOG_SCALE
fn load_log_scale(at: u32, lanes: u32) -> vec4<f32> {
#ifdef STATE4
    return log_scale[at / 4u];
#else
    var v = vec4<f32>();
    for (var i = 0u; i < lanes; i++) {
        v[i] = log_scale[at + i];
    }
    return v;
#endif
}
#endif

fn load_z(at: u32, lanes: u32) -> vec4<f32> {
#ifdef STATE4
    return z[at / 4u];
#else
    var v = vec4<f32>();
    for (var i = 0u; i < lanes; i++) {
        v[i] = z[at + i];
    }
    return v;
#endif
}

@compute @workgroup_size(256)
fn combine(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let blocks = (p.numel + 3u) / 4u;
    let number = workgroup_number(id, grid) * 256u + thread;
    if number >= p.b * blocks {
        return;
    }
    let sample = number / blocks;
    let block = number % blocks;
    let lanes = min(4u, p.numel - 4u * block);
    let at = sample * p.numel + 4u * block;
    let row = row_of(sample);
    var v: Values;
    v.x = load_state(at, lanes);
#ifdef HAS_X0
    v.x0 = load_x0(at, lanes);
#endif
#ifdef HAS_EPS
    v.eps = load_eps(at, lanes);
#endif
    var noise_scale = vec4<f32>(1.0);
#ifdef HAS_LOG_SCALE
    noise_scale = exp(load_log_scale(at, lanes));
#endif
    if uses_draw(row, 0u) {
        v.z0 = noise_scale * load_z(at, lanes);
    }
    if uses_draw(row, 1u) {
        v.z1 = noise_scale * load_z(state_elements() + at, lanes);
    }
    store_update(row, update(row, v, at, lanes), at, lanes);
}
