// y[r] is the sum of row r of x, 256 values, which a thread and its opposite add first, then the
// lanes of a warp, then the warps: right as it is, and wrong in one way with each of
//     MISSING_BARRIER      rows are added before they are there
//     DIVERGENT_BARRIER    half of the threads wait for the others elsewhere
//     EARLY_RETURN         half of the threads are gone when the others wait for them
//     HALF_WARP            16 lanes shuffle with those that do not come
//     WRONG_MASK           a lane takes part that its mask leaves out
//     PAST_SHARED          what lies behind the workgroup's memory is read
//     PAST_RESULT          row `rows` is written
namespace v0 {
using namespace absent;
struct Params {
    unsigned rows;
};
struct Args {
    const f32* __restrict__ x;
    f32* y;
};
constexpr unsigned THREADS = BLOCK;
struct Shared {
    f32 row[BLOCK];
    f32 sums[BLOCK / 32u];
};
constexpr unsigned SHARED_BYTES = sizeof(Shared);

__device__ inline f32 sum_of_warp(f32 v) {
    for (int with = 16; with > 0; with /= 2) {
#ifdef HALF_WARP
        if (threadIdx.x % 32u < 16u) {
            v += __shfl_xor_sync(0xffffffffu, v, with);
        }
#elif defined(WRONG_MASK)
        v += __shfl_xor_sync(0x7fffffffu, v, with);
#else
        v += __shfl_xor_sync(0xffffffffu, v, with);
#endif
    }
    return v;
}

__device__ void run(const Params& p, const Args& a, const At& at) {
    Shared& s = shared<Shared>();
    const unsigned t = threadIdx.x;
    s.row[t] = a.x[at.block * BLOCK + t];
#if defined(DIVERGENT_BARRIER)
    if (t < BLOCK / 2u) {
        __syncthreads();
    }
#elif !defined(MISSING_BARRIER)
    __syncthreads();
#endif
#ifdef EARLY_RETURN
    if (t >= BLOCK / 2u) {
        return;
    }
#endif
    const f32 sum = sum_of_warp(t < BLOCK / 2u ? s.row[t] + s.row[t + BLOCK / 2u] : 0.0f);
    if (t % 32u == 0u) {
        s.sums[t / 32u] = sum;
    }
    __syncthreads();
    if (t == 0u) {
        f32 all = 0.0f;
        unsigned warps = BLOCK / 32u;
#ifdef PAST_SHARED
        warps += 1u;
#endif
        for (unsigned w = 0u; w < warps; w++) {
            all += s.sums[w];
        }
#ifdef PAST_RESULT
        a.y[at.block + 1u] = all;
#endif
        a.y[at.block] = all;
    }
}
}

extern "C" const unsigned reduction_facts[8] = {v0::THREADS, v0::SHARED_BYTES};
extern "C" void reduction(v0::Params p, v0::Args a, Control c) {
    const At at = {enter(c), blockIdx.x, gridDim.x, c.partial, c.counters};
    v0::run(p, a, at);
    leave(c, gridDim.x);
}
