// The product of linear by fragments: a ring of STAGES stages of both operands. What happens to x
// on load happens in registers, one stage ahead; else it is copied as the weight is.
struct Operands {
    uint4 a[STAGES][TILE_M * CHUNKS_K];
    uint4 b[STAGES][PARTS * STAGE_K * CHUNKS_N];
};

// Starts the copies of the stage that begins with step k, if there is one.
__device__ inline void copy_stage(const Params& p, const Args& a, const Place& here,
    const u32 (&base)[LOADS], Operands& operands, u32 number) {
    const u32 k = here.first_k + number * STAGE_K;
    const u32 slot = number % STAGES;
    if (k < here.end_k) {
        if (!ON_LOAD) {
            copy_rows(a, operands.a[slot], base, k, here.end_k);
        }
        const u32 columns = (p.n + 3u) / 4u * 4u;
#pragma unroll
        for (u32 part = 0u; part < PARTS; part++) {
            // Gates begin at a multiple of four columns: see the tiles of linear.
            copy_weight(operands.b[slot] + part * STAGE_K * CHUNKS_N, a.weight, k, here.end_k,
                part * p.n + 4u * here.quad, columns - 4u * here.quad, PARTS * columns);
        }
    }
    ptx::commit();
}

__device__ inline void add_products(const Params& p, const Args& a, const At& at,
    const Place& here, Operands& operands, Norms& norms, float4* scratch, Sums& sums) {
    u32 base[LOADS];
#pragma unroll
    for (u32 i = 0u; i < LOADS; i++) {
        // Rows past the end read the last one; their sums are not stored.
        const u32 row = smaller(here.row + load_row(i), here.end - 1u);
        base[i] = row_of_x(p, a, at, row) * p.k;
    }
    u32 rows[BLOCKS_M];
#pragma unroll
    for (u32 i = 0u; i < BLOCKS_M; i++) {
        rows[i] = lane_row(i);
    }
#pragma unroll
    for (u32 i = 0u; i + 1u < STAGES; i++) {
        copy_stage(p, a, here, base, operands, i);
    }
    if (ON_LOAD) {
        // What the norms are made of is read meanwhile.
        const Loaded first = load_rows(a, base, here.first_k, here.end_k);
        load_norms(p, a, at, here, norms, scratch);
        keep_rows(p, a, operands.a[0], first, here.first_k, here.end_k, norms);
    }
    const u32 stages = parts_of(here.end_k - here.first_k, STAGE_K);
    for (u32 i = 0u; i < stages; i++) {
        // This stage is there, and all are done with the one before, whose place is filled anew.
        ptx::wait<(int)STAGES - 2>();
        __syncthreads();
        copy_stage(p, a, here, base, operands, i + STAGES - 1u);
        const u32 next = here.first_k + (i + 1u) * STAGE_K;
        Loaded loaded;
        if (ON_LOAD) {
            loaded = load_rows(a, base, next, here.end_k);
        }
        multiply_stage(sums, operands.a[i % STAGES], rows, operands.b[i % STAGES]);
        if (ON_LOAD) {
            keep_rows(p, a, operands.a[(i + 1u) % STAGES], loaded, next, here.end_k, norms);
        }
    }
    ptx::wait<0>();
}
