// x0 = clamp(x0_x x + x0_f F), eps = eps_x x + eps_f F + eps_x0 x0, log_scale: src/ops/row.rs.
// x, x0, eps, log_scale [b, c, hw] f32, f [b, hw, cf], table one Row a row.
// One thread one element of the state, 256 threads a workgroup.
// Bandwidth: reads x and f, writes three times the state.
// Reference: src/ops/predict.rs
//!include grid
//!include prediction

struct Params {
    b: u32,
    c: u32,
    cf: u32,
    hw: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_t>;
@group(0) @binding(2) var<storage, read> f: array<f_t>;
@group(0) @binding(3) var<storage, read> table: array<Row>;
@group(0) @binding(4) var<storage, read_write> x0: array<x0_t>;
@group(0) @binding(5) var<storage, read_write> eps: array<eps_t>;
@group(0) @binding(6) var<storage, read_write> log_scale: array<log_scale_t>;

@compute @workgroup_size(256)
fn predict(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let at = workgroup_number(id, grid) * 256u + thread;
    let numel = p.c * p.hw;
    if at >= p.b * numel {
        return;
    }
    let c = at % numel / p.hw;
    let f_at = (at / numel * p.hw + at % p.hw) * p.cf + c;
    let x_value = vec4<f32>(f32(x[at]));
    let f_value = vec4<f32>(f32(f[f_at]));
    let prediction = predict_x0(x_value, f_value);
    x0[at] = prediction.x;
    eps[at] = predict_eps(x_value, f_value, prediction).x;
    var log_value = 0.0;
    if (table[cursor.row].flags & ROW_LEARNED) != 0u {
        log_value = log_noise_scale(f32(f[f_at + p.c]));
    }
    log_scale[at] = log_value;
}
