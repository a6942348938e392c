// y = f_scale (u + w (c - u)), or c if the row does not guide; channels past c: c's alone.
// f [2 b, hw, cf], c its first half, u its second, y [b, hw, cf], run as in src/ops/solver_step.rs.
// One thread one element of y, 256 threads a workgroup.
// Bandwidth: two reads and a write, 12 bytes an element in f32, 6 in f16.
// Reference: src/ops/guidance.rs
//!include grid
//!include row

struct Params {
    b: u32,
    c: u32,
    cf: u32,
    hw: u32,
    per_sample: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> f: array<f_t>;
@group(0) @binding(2) var<storage, read> table: array<Row>;
@group(0) @binding(3) var<storage, read> run: array<run_t>;
@group(0) @binding(4) var<storage, read_write> y: array<y_t>;

@compute @workgroup_size(256)
fn guidance(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let at = workgroup_number(id, grid) * 256u + thread;
    let numel = p.hw * p.cf;
    if at >= p.b * numel {
        return;
    }
    var v = f32(f[at]);
    let sample = at / numel;
    let row = row_of(sample);
    if at % p.cf < p.c && row_has(row, ROW_GUIDE) {
        let unconditional = f32(f[p.b * numel + at]);
        let w = bitcast<f32>(run[RUN_HEADER + RUN_SAMPLE * sample + 1u]);
        v = table[row].f_scale * (unconditional + w * (v - unconditional));
    }
    y[at] = y_t(v);
}
