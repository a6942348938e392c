// y[row, i] = the sum of x[s, i] over splits s, a workgroup each; the last of them adds what the
// others left. The cursor says which row, and the launch steps it. Right as it is, and wrong in one
// way with each of
//     NO_ARRIVE       the last in number adds: the others may not be done
//     KEPT_COUNTER    the counter is not zero for the next launch
//     STALE_CURSOR    the cursor is read when it may have been stepped
//     WRONG_PARAMS    two parameters have changed places: this does not compile
namespace v0 {
using namespace absent;
struct Params {
#ifdef WRONG_PARAMS
    unsigned splits, n;
#else
    unsigned n, splits;
#endif
};
static_assert(__builtin_offsetof(Params, n) == 0, "Params.n");
static_assert(__builtin_offsetof(Params, splits) == 4, "Params.splits");
struct Args {
    const f32* __restrict__ x;
    f32* y;
};
constexpr unsigned THREADS = BLOCK;
struct Shared {
    unsigned last;
};
constexpr unsigned SHARED_BYTES = sizeof(Shared);

__device__ void run(const Params& p, const Args& a, const At& at) {
    Shared& s = shared<Shared>();
    const unsigned i = threadIdx.x;
    at.partial[at.block * BLOCK + i] = i < p.n ? a.x[at.block * p.n + i] : 0.0f;
    __syncthreads();
    if (i == 0u) {
#ifdef NO_ARRIVE
        s.last = at.block + 1u == p.splits;
#else
        s.last = ptx::arrive(at.counters) + 1u == p.splits;
#endif
    }
    __syncthreads();
    if (s.last == 0u) {
        return;
    }
    f32 sum = 0.0f;
    for (unsigned split = 0u; split < p.splits; split++) {
        sum += at.partial[split * BLOCK + i];
    }
    if (i < p.n) {
        a.y[at.cursor.row * p.n + i] = sum;
    }
#ifndef KEPT_COUNTER
    if (i == 0u) {
        at.counters[0] = 0u;
    }
#endif
}
}

extern "C" const unsigned split_facts[8] = {v0::THREADS, v0::SHARED_BYTES};
extern "C" void split(v0::Params p, v0::Args a, Control c) {
#ifdef STALE_CURSOR
    leave(c, gridDim.x);
#endif
    const At at = {enter(c), blockIdx.x, gridDim.x, c.partial, c.counters};
    v0::run(p, a, at);
#ifndef STALE_CURSOR
    leave(c, gridDim.x);
#endif
}
