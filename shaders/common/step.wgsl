//!include prediction
//!include update
//!include draw
//!include state
// The step of the solver for a block, four consecutive elements of a sample: solver_step.rs.

// Elements of a sample, and of the state.
fn state_numel() -> u32 {
    return p.c * p.hw;
}

fn state_elements() -> u32 {
    return p.b * p.c * p.hw;
}

// The network's outputs for a block: F, the output that eps is made of, the factor of the noise.
struct Outputs {
    f: vec4<f32>,
    of_eps: vec4<f32>,
    noise_scale: vec4<f32>,
}

fn no_outputs() -> Outputs {
    return Outputs(vec4<f32>(), vec4<f32>(), vec4<f32>(1.0));
}

fn take_step(sample: u32, block: u32, lanes: u32, outputs: Outputs) {
    let at = sample * state_numel() + 4u * block;
    let row = row_of(sample);
    let read = reading_of(row);
    var v: Values;
    v.x = load_state(at, lanes);
    v.x0 = predict_x0(read, v.x, outputs.f);
    v.eps = predict_eps(read, v.x, outputs.of_eps, v.x0);
    if uses_draw(row, 0u) {
        v.z0 = outputs.noise_scale * draw_block(row, 0u, sample, block);
    }
    if uses_draw(row, 1u) {
        v.z1 = outputs.noise_scale * draw_block(row, 1u, sample, block);
    }
    store_update(row, update(row, v, at, lanes), at, lanes);
}
