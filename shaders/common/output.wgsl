//!include prediction
// The network's output of a step: src/ops/output.rs. Needs the buffers f, table and run.

// Whether guidance acts.
fn guides(r: Reading) -> bool {
    return p.guided != 0u && reads(r, ROW_GUIDE);
}

// C and U of channel c of a pixel; both C where guidance does not act.
fn output_pair(r: Reading, sample: u32, pixel: u32, c: u32) -> vec2<f32> {
    let conditional = f32(f[(sample * p.hw + pixel) * p.cf + c]);
    if !guides(r) {
        return vec2<f32>(conditional);
    }
    return vec2<f32>(conditional, f32(f[((p.b + sample) * p.hw + pixel) * p.cf + c]));
}

// U + w (C - U).
fn guide(sample: u32, pair: vec2<f32>) -> f32 {
    let w = bitcast<f32>(run[RUN_HEADER + RUN_SAMPLE * sample + 1u]);
    return pair.y + w * (pair.x - pair.y);
}

// F and the output that eps is made of.
fn output(r: Reading, sample: u32, pixel: u32, c: u32) -> vec2<f32> {
    let pair = output_pair(r, sample, pixel, c);
    if !guides(r) {
        return pair;
    }
    let guided = r.f_scale * guide(sample, pair);
    return vec2<f32>(guided, select(guided, pair.y, reads(r, ROW_UNCOND_EPS)));
}

// The factor of the noise: the variance is the conditional half's own, guidance does not touch it.
fn output_noise_scale(row: u32, sample: u32, pixel: u32, c: u32) -> f32 {
    return exp(log_noise_scale(row, f32(f[(sample * p.hw + pixel) * p.cf + p.c + c])));
}
