//!include row
//!include normal
// The noise of a row, by mode: src/ops/noise.rs. Needs the buffers table, run and, for MODE_TABLE,
// draws.

// Four elements of draw i (0 or 1) of the row, of sample `b`, from element `4 block` on; `numel`
// elements a sample, `batch` samples. Lanes past numel hold numbers that nobody stores.
fn draw_block(row: u32, i: u32, b: u32, block: u32) -> vec4<f32> {
    let name = draw_name(row, i);
    let key = vec2<u32>(run[0], run[1]);
    let sample = run[RUN_HEADER + RUN_SAMPLE * b];
    let numel = state_numel();
    switch p.mode {
        case MODE_PHILOX: {
            return normal_block(block, name.x, name.y, sample, key);
        }
        case MODE_TORCH_CUDA: {
            var z = vec4<f32>();
            for (var lane = 0u; lane < 4u; lane++) {
                let e = sample * numel + 4u * block + lane;
                z[lane] = normal_torch_cuda(e, name.z * p.calls, p.threads, key);
            }
            return z;
        }
        default: {
            var z = vec4<f32>();
#ifdef HAS_DRAWS
            for (var lane = 0u; lane < min(4u, numel - 4u * block); lane++) {
                z[lane] = draws[(name.z * p.b + b) * numel + 4u * block + lane];
            }
#endif
            return z;
        }
    }
}
