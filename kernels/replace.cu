// x = x + P (alpha y + sigma z - x): a part of the state becomes known data, see src/ops/replace.rs.
// state, known [b, c, h, w], mask [b, h, w], table one Row a row, run as in src/ops/solver_step.rs.
// One thread four consecutive elements of a sample, or a group of pixels; 256 threads a workgroup.
// Bandwidth: reads state and known data, writes the state.
// Reference: src/ops/replace.rs
struct Params {
    u32 b;
    u32 c;
    u32 h;
    u32 w;
    u32 kind;
    u32 side;
    u32 mode;
    u32 threads;
    u32 calls;
};

constexpr u32 THREADS = BLOCK;

__device__ inline u32 state_numel(const Params& p) {
    return p.c * p.h * p.w;
}

//!include draw
//!include state

// What the state is to become: four elements of a sample, from element `4 block` on.
__device__ inline float4 wanted(
    const Params& p, const Args& a, const Row& row, u32 sample, u32 block, u32 lanes) {
    const u32 at = sample * state_numel(p) + 4u * block;
    float4 v = term(row.x.x0, load_state(a.known, at, lanes));
    if (uses_draw(row, 0u)) {
        v = v + row.x.z0 * draw_block(p, a, row, 0u, sample, block);
    }
    return v;
}

#ifdef GROUPED
__device__ inline u32 member(const Params& p, u32 g, u32 i) {
    if (p.kind == REPLACE_CHANNELS) {
        return i * p.h * p.w + g;
    }
    const u32 down = p.h / p.side;
    const u32 across = p.w / p.side;
    const u32 y = g / across % down * p.side + i / p.side;
    return (g / (down * across) * p.h + y) * p.w + g % across * p.side + i % p.side;
}

__device__ inline void replace_mean(
    const Params& p, const Args& a, const Row& row, u32 sample, u32 g, u32 size) {
    const u32 numel = state_numel(p);
    f32 off = 0.0f;
    for (u32 i = 0u; i < size; i++) {
        const u32 e = member(p, g, i);
        const u32 block = e / 4u;
        const u32 rest = numel - 4u * block;
        float4 to = wanted(p, a, row, sample, block, rest < 4u ? rest : 4u);
        off += element(to, e % 4u) - a.state[sample * numel + e];
    }
    off /= static_cast<f32>(size);
    for (u32 i = 0u; i < size; i++) {
        a.state[sample * numel + member(p, g, i)] += off;
    }
}
#else
__device__ inline void replace_four(
    const Params& p, const Args& a, const Row& row, u32 sample, u32 block) {
    const u32 numel = state_numel(p);
    const u32 rest = numel - 4u * block;
    const u32 lanes = rest < 4u ? rest : 4u;
    const u32 at = sample * numel + 4u * block;
    float4 x = load_state(a.state, at, lanes);
    float4 to = wanted(p, a, row, sample, block, lanes);
#ifdef HAS_MASK
    const u32 pixels = p.h * p.w;
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        if (i < lanes) {
            const f32 m = a.mask[sample * pixels + (4u * block + i) % pixels];
            // Neither reads the other where the mask is 0 or 1: memory may hold a NaN.
            if (m == 1.0f) {
                element(to, i) = element(x, i);
            } else if (m != 0.0f) {
                element(to, i) += m * (element(x, i) - element(to, i));
            }
        }
    }
#endif
    store_state(a.state, at, lanes, to);
}
#endif

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 number = at.block * THREADS + threadIdx.x;
#ifdef GROUPED
    const bool channels = p.kind == REPLACE_CHANNELS;
    const u32 squares = p.c * (p.h / p.side) * (p.w / p.side);
    const u32 groups = channels ? p.h * p.w : squares;
    if (number >= p.b * groups) {
        return;
    }
    const u32 sample = number / groups;
    const u32 size = channels ? p.c : p.side * p.side;
    replace_mean(p, a, row_of(a, at, sample), sample, number % groups, size);
#else
    const u32 blocks = (state_numel(p) + 3u) / 4u;
    if (number >= p.b * blocks) {
        return;
    }
    const u32 sample = number / blocks;
    replace_four(p, a, row_of(a, at, sample), sample, number % blocks);
#endif
}
