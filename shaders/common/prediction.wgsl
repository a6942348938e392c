//!include row
// The prediction from the network's output f: src/ops/row.rs.

// Clips to [-clip, clip] but for an unclipped row, whose clip is the largest f32 or inf. Told by
// bits: a compiler may assume that no number is NaN or inf, and `clamp` turns a NaN into a bound,
// so that a network which diverged would give a picture.
fn predict_x0(x: vec4<f32>, f: vec4<f32>) -> vec4<f32> {
    let clip = table[cursor.row].clip;
    let x0 = term(table[cursor.row].x0_x, x) + term(table[cursor.row].x0_f, f);
    let clipped = clamp(x0, vec4<f32>(-clip), vec4<f32>(clip));
    let nan = (bitcast<vec4<u32>>(x0) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    let unclipped = vec4<bool>(bitcast<u32>(clip) >= 0x7f7fffffu);
    return select(clipped, x0, nan | unclipped);
}

fn predict_eps(x: vec4<f32>, f: vec4<f32>, x0: vec4<f32>) -> vec4<f32> {
    return term(table[cursor.row].eps_x, x) + term(table[cursor.row].eps_f, f)
        + term(table[cursor.row].eps_x0, x0);
}

// ln of the noise scale that the network's variance output gives: Nichol & Dhariwal 2021, eq. 15.
fn log_noise_scale(variance: f32) -> f32 {
    let v = 0.5 * (variance + 1.0);
    return 0.5 * (v * table[cursor.row].log_var_max + (1.0 - v) * table[cursor.row].log_var_min);
}
