// y = x w in tiles of 64 by 64 by tensor cores, through a ring of copied stages: right as it is,
// and wrong in one way with each of
//     MISSING_WAIT      nobody waits for a copy: NaN
//     LEFT_COPY         nobody waits for the last copies
//     EARLY_REFILL      a stage is filled again while others still read it
//     WRONG_FRAGMENT    the halves of a B fragment are exchanged: another sum
//     WRONG_TRANS       B is loaded as it lies, not by columns: another sum
//     PAST_END          row m is read
namespace v0 {
using namespace absent;
struct Params {
    unsigned m, n, k;
};
struct Args {
    const f16* __restrict__ x;
    const f16* __restrict__ w;
    f32* y;
};
constexpr unsigned THREADS = BLOCK;
constexpr unsigned TILE = 64u, STAGE_K = 32u, STAGES = 4u;
struct Stage {
    alignas(16) f16 a[TILE * STAGE_K];
    alignas(16) f16 b[STAGE_K * TILE];
};
struct Shared {
    Stage stages[STAGES];
};
constexpr unsigned SHARED_BYTES = sizeof(Shared);

// Chunk c of 8 halves of a row of 4 or of 8 chunks, so that eight rows lie in all banks.
__device__ inline unsigned chunk_a(unsigned row, unsigned c) {
    return STAGE_K * row + 8u * (c ^ (row >> 1 & 3u));
}
__device__ inline unsigned chunk_b(unsigned row, unsigned c) {
    return TILE * row + 8u * (c ^ (row & 7u));
}

__device__ inline void fill(
    const Params& p, const Args& a, Stage& s, unsigned m0, unsigned n0, unsigned k0) {
    const unsigned t = threadIdx.x;
    const unsigned row = t / 4u, k = k0 + 8u * (t % 4u);
#ifdef PAST_END
    const bool inside = m0 + row <= p.m && k < p.k;
#else
    const bool inside = m0 + row < p.m && k < p.k;
#endif
    ptx::copy16(s.a + chunk_a(row, t % 4u), a.x + (m0 + row) * p.k + k, inside);
    const unsigned column = n0 + 8u * (t % 8u), down = t / 8u;
    const bool within = k0 + down < p.k && column < p.n;
    ptx::copy16(s.b + chunk_b(down, t % 8u), a.w + (k0 + down) * p.n + column, within);
}

__device__ inline void multiply_stage(const Stage& s, f32 (&sums)[4][4]) {
    const unsigned warp = threadIdx.x / 32u, lane = threadIdx.x % 32u;
    const unsigned m = 16u * (warp / 2u), n = 32u * (warp % 2u);
    for (unsigned k = 0u; k < STAGE_K; k += 16u) {
        unsigned fa[4];
        ptx::load_matrices(fa, s.a + chunk_a(m + lane % 16u, k / 8u + lane / 16u));
        for (unsigned j = 0u; j < 4u; j += 2u) {
            unsigned fb[4];
            const f16* row = s.b + chunk_b(k + lane % 16u, n / 8u + j + lane / 16u);
#ifdef WRONG_TRANS
            ptx::load_matrices(fb, row);
#else
            ptx::load_matrices_transposed(fb, row);
#endif
#ifdef WRONG_FRAGMENT
            multiply(f16(), sums[j], fa, fb[1], fb[0]);
#else
            multiply(f16(), sums[j], fa, fb[0], fb[1]);
#endif
            multiply(f16(), sums[j + 1u], fa, fb[2], fb[3]);
        }
    }
}

__device__ void run(const Params& p, const Args& a, const At& at) {
    Shared& s = shared<Shared>();
    const unsigned across = parts_of(p.n, TILE), steps = parts_of(p.k, STAGE_K);
    const unsigned m0 = TILE * (at.block / across), n0 = TILE * (at.block % across);
    f32 sums[4][4] = {};
    for (unsigned i = 0u; i < STAGES - 1u; i++) {
        fill(p, a, s.stages[i], m0, n0, STAGE_K * i);
        ptx::commit();
    }
    for (unsigned i = 0u; i < steps; i++) {
#ifndef MISSING_WAIT
        ptx::wait<STAGES - 2>();
#endif
        __syncthreads();
#ifdef EARLY_REFILL
        const unsigned next = i + STAGES;
#else
        const unsigned next = i + STAGES - 1u;
#endif
        fill(p, a, s.stages[next % STAGES], m0, n0, STAGE_K * (i + STAGES - 1u));
        ptx::commit();
        multiply_stage(s.stages[i % STAGES], sums);
    }
#ifndef LEFT_COPY
    ptx::wait<0>();
#endif
    const unsigned warp = threadIdx.x / 32u, g = threadIdx.x % 32u / 4u, t = threadIdx.x % 4u;
    for (unsigned j = 0u; j < 4u; j++) {
        for (unsigned i = 0u; i < 4u; i++) {
            const unsigned row = m0 + 16u * (warp / 2u) + g + 8u * (i / 2u);
            const unsigned column = n0 + 32u * (warp % 2u) + 8u * j + 2u * t + i % 2u;
            if (row < p.m && column < p.n) {
                a.y[row * p.n + column] = sums[j][i];
            }
        }
    }
}
}

extern "C" const unsigned product_facts[8] = {v0::THREADS, v0::SHARED_BYTES};
extern "C" void product(v0::Params p, v0::Args a, Control c) {
    const At at = {enter(c), blockIdx.x, gridDim.x, c.partial, c.counters};
    v0::run(p, a, at);
    leave(c, gridDim.x);
}
