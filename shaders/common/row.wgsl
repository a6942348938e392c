//!include cursor
// One row of the trajectory; fields and their meaning as in src/ops/row.rs.
struct Row {
    c_in: f32, x0_x: f32, x0_f: f32, clip: f32,
    eps_x: f32, eps_f: f32, eps_x0: f32,
    x_x: f32, x_x0: f32, x_eps: f32, x_saved: f32, x_h: array<f32, 4>, x_z0: f32, x_z1: f32,
    s_x: f32, s_x0: f32, s_eps: f32, s_saved: f32, s_h: array<f32, 4>, s_z0: f32, s_z1: f32,
    p_x: f32, p_x0: f32, p_eps: f32,
    log_var_min: f32, log_var_max: f32,
    flags: u32, ring: u32,
    z0_step: u32, z0_stream: u32, z0_index: u32,
    z1_step: u32, z1_stream: u32, z1_index: u32,
}

// Whether draw 0 or 1 of the row is used at all.
fn uses_draw(i: u32) -> bool {
    if i == 0u {
        return table[cursor.row].x_z0 != 0.0 || table[cursor.row].s_z0 != 0.0;
    }
    return table[cursor.row].x_z1 != 0.0 || table[cursor.row].s_z1 != 0.0;
}

// (step, stream, index) of draw 0 or 1.
fn draw_name(i: u32) -> vec3<u32> {
    if i == 0u {
        return vec3<u32>(table[cursor.row].z0_step, table[cursor.row].z0_stream,
            table[cursor.row].z0_index);
    }
    return vec3<u32>(table[cursor.row].z1_step, table[cursor.row].z1_stream,
        table[cursor.row].z1_index);
}

// A term of a sum; left out if its coefficient is zero, so that memory never written cannot put a
// NaN into the sum.
fn term(coefficient: f32, value: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), coefficient * value, vec4<bool>(coefficient != 0.0));
}
