// z = [z0 | z1], standard normal, by the row's draws: src/ops/noise.rs.
// z [2, b, numel], draws [.., b, numel] f32, run as in src/ops/solver_step.rs.
// One thread four consecutive elements of a sample for both draws, 256 threads a workgroup.
// Compute: about 100 integer operations a block of four; an unused draw is not written.
// Reference: src/ops/noise.rs
//!include grid
//!include draw

struct Params {
    b: u32,
    numel: u32,
    mode: u32,
    threads: u32,
    calls: u32,
    per_sample: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<Row>;
@group(0) @binding(2) var<storage, read> run: array<run_t>;
#ifdef HAS_DRAWS
@group(0) @binding(3) var<storage, read> draws: array<draws_t>;
#endif
@group(0) @binding(4) var<storage, read_write> z: array<z_t>;

fn state_numel() -> u32 {
    return p.numel;
}

@compute @workgroup_size(256)
fn noise(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let blocks = (p.numel + 3u) / 4u;
    let number = workgroup_number(id, grid) * 256u + thread;
    if number >= p.b * blocks {
        return;
    }
    let b = number / blocks;
    let block = number % blocks;
    let row = row_of(b);
    for (var i = 0u; i < 2u; i++) {
        if !uses_draw(row, i) {
            continue;
        }
        let v = draw_block(row, i, b, block);
        let at = (i * p.b + b) * p.numel + 4u * block;
        for (var lane = 0u; lane < min(4u, p.numel - 4u * block); lane++) {
            z[at + lane] = v[lane];
        }
    }
}
