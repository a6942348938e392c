// Guidance F = U + w (C - U), then x0, eps, noise and the update of the row: src/ops/row.rs.
// state, saved [b, c, hw], history [depth, b, c, hw], f [b or 2 b, hw, cf], table one Row a row.
// One thread four consecutive elements of a sample (one Philox block), 256 threads a workgroup.
// Bandwidth: reads f (twice the state under guidance) and the state, writes it; 50 FLOP an element.
// Reference: src/ops/solver_step.rs
//!include grid
#ifdef HAS_F
//!include output
#endif

struct Params {
//!include step_fields
    per_sample: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: array<state_v>;
#ifdef HAS_F
@group(0) @binding(2) var<storage, read> f: array<f_t>;
#endif
@group(0) @binding(3) var<storage, read> table: array<Row>;
@group(0) @binding(4) var<storage, read> run: array<run_t>;
#ifdef HAS_DRAWS
@group(0) @binding(5) var<storage, read> draws: array<draws_t>;
#endif
#ifdef HAS_SAVED
@group(0) @binding(6) var<storage, read_write> saved: array<saved_v>;
#endif
#ifdef HAS_HISTORY
@group(0) @binding(7) var<storage, read_write> history: array<history_v>;
#endif

//!include step

// The network's outputs for the elements of a block.
fn outputs_of(sample: u32, block: u32, lanes: u32) -> Outputs {
    var outputs = no_outputs();
#ifdef HAS_F
    let row = row_of(sample);
    if row_has(row, ROW_EVAL) {
        let read = reading_of(row);
        for (var i = 0u; i < lanes; i++) {
            let pixel = (4u * block + i) % p.hw;
            let c = (4u * block + i) / p.hw;
            let pair = output(read, sample, pixel, c);
            outputs.f[i] = pair.x;
            outputs.of_eps[i] = pair.y;
            if row_has(row, ROW_LEARNED) {
                outputs.noise_scale[i] = output_noise_scale(row, sample, pixel, c);
            }
        }
    }
#endif
    return outputs;
}

@compute @workgroup_size(256)
fn solver_step(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let numel = state_numel();
    let blocks = (numel + 3u) / 4u;
    let number = workgroup_number(id, grid) * 256u + thread;
    if number >= p.b * blocks {
        return;
    }
    let sample = number / blocks;
    let block = number % blocks;
    let lanes = min(4u, numel - 4u * block);
    take_step(sample, block, lanes, outputs_of(sample, block, lanes));
}
