//!include row
// The prediction from the network's output f: src/ops/row.rs.

// How a row reads the network.
struct Reading {
    x0_x: f32,
    x0_f: f32,
    clip: f32,
    x0_scale: f32,
    eps_x: f32,
    eps_f: f32,
    eps_x0: f32,
    f_scale: f32,
    flags: u32,
}

fn reading_of(row: u32) -> Reading {
    return Reading(table[row].x0_x, table[row].x0_f, table[row].clip, table[row].x0_scale,
        table[row].eps_x, table[row].eps_f, table[row].eps_x0, table[row].f_scale,
        table[row].flags);
}

fn reads(r: Reading, flag: u32) -> bool {
    return (r.flags & flag) != 0u;
}

// Clips to [-clip, clip] but for a clip that is the largest f32 or inf. Told by bits: a compiler
// may assume that no number is NaN or inf, and `clamp` turns a NaN into a bound, so that a network
// which diverged would give a picture.
fn clipped(v: vec4<f32>, clip: f32) -> vec4<f32> {
    let nan = (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    let unclipped = vec4<bool>(bitcast<u32>(clip) >= 0x7f7fffffu);
    return select(clamp(v, vec4<f32>(-clip), vec4<f32>(clip)), v, nan | unclipped);
}

fn predict_x0(r: Reading, x: vec4<f32>, f: vec4<f32>) -> vec4<f32> {
    let x0 = term(r.x0_x, x) + term(r.x0_f, f);
    return r.x0_scale * clipped(x0, r.clip);
}

// `f` is the output that eps is made of.
fn predict_eps(r: Reading, x: vec4<f32>, f: vec4<f32>, x0: vec4<f32>) -> vec4<f32> {
    return term(r.eps_x, x) + term(r.eps_f, f) + term(r.eps_x0, x0);
}

// ln of the noise scale that the network's variance output gives: Nichol & Dhariwal 2021, eq. 15.
fn log_noise_scale(row: u32, variance: f32) -> f32 {
    let v = 0.5 * (variance + 1.0);
    return 0.5 * (v * table[row].log_var_max + (1.0 - v) * table[row].log_var_min);
}
