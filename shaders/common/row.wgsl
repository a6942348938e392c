//!include cursor
// One row of the trajectory; fields and their meaning as in src/ops/row.rs.
struct Mix {
    x: f32, x0: f32, eps: f32, saved: f32, h: array<f32, 9>, z0: f32, z1: f32,
}

struct Row {
    c_in: f32, x0_x: f32, x0_f: f32, clip: f32,
    eps_x: f32, eps_f: f32, eps_x0: f32,
    f_scale: f32, x0_scale: f32,
    x: Mix, saved: Mix, push: Mix,
    log_var_min: f32, log_var_max: f32,
    rescale: f32,
    snr_ratio: f32, snr_factor: f32,
    threshold_rank: u32, threshold_part: f32, threshold_max: f32,
    flags: u32, ring: u32,
    z0_step: u32, z0_stream: u32, z0_index: u32,
    z1_step: u32, z1_stream: u32, z1_index: u32,
    stage: u32, lambda: f32, h: f32, accepted: u32, rejected: u32, retries: u32,
}

// The row of `table` that a sample of the batch reads.
fn row_of(sample: u32) -> u32 {
#ifdef PER_SAMPLE
    return sample;
#else
    return cursor.row;
#endif
}

fn row_has(row: u32, flag: u32) -> bool {
    return (table[row].flags & flag) != 0u;
}

// Whether draw 0 or 1 of the row is used at all.
fn uses_draw(row: u32, i: u32) -> bool {
    if i == 0u {
        return table[row].x.z0 != 0.0 || table[row].saved.z0 != 0.0 || table[row].push.z0 != 0.0;
    }
    return table[row].x.z1 != 0.0 || table[row].saved.z1 != 0.0 || table[row].push.z1 != 0.0;
}

// (step, stream, index) of draw 0 or 1.
fn draw_name(row: u32, i: u32) -> vec3<u32> {
    if i == 0u {
        return vec3<u32>(table[row].z0_step, table[row].z0_stream, table[row].z0_index);
    }
    return vec3<u32>(table[row].z1_step, table[row].z1_stream, table[row].z1_index);
}

// A term of a sum; left out if its coefficient is zero, so that memory never written cannot put a
// NaN into the sum.
fn term(coefficient: f32, value: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), coefficient * value, vec4<bool>(coefficient != 0.0));
}
