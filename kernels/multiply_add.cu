// y = x after rounds * FMA_CHAIN times v = a v + b on every element v.
// x, y [n, 8]; the arithmetic is in their type.
// One thread a row: eight elements, none waits for the other. 256 threads a workgroup.
// Arithmetic: 16 operations for each b of the chain and no byte, the most a device does in a type.
// Reference: src/ops/multiply_add.rs
struct Params {
    u32 n;
    u32 rounds;
    f32 a;
    f32 b;
};

constexpr u32 THREADS = BLOCK;

// Eight elements in registers, as their type computes: singles, or halves in pairs.
template <class T>
struct Row8 {
    u32 pairs[4];

    __device__ void load(const T* x) {
#pragma unroll
        for (u32 i = 0u; i < 4u; i++) {
            pairs[i] = x[2u * i].bits | static_cast<u32>(x[2u * i + 1u].bits) << 16;
        }
    }
    __device__ void multiply_add(f32 a, f32 b) {
        const u32 factors = pack2(T{}, a, a), addends = pack2(T{}, b, b);
#pragma unroll
        for (u32 i = 0u; i < 4u; i++) {
            pairs[i] = multiply_add2(T{}, factors, pairs[i], addends);
        }
    }
    __device__ void store(T* y) const {
#pragma unroll
        for (u32 i = 0u; i < 8u; i++) {
            y[i].bits = static_cast<unsigned short>(pairs[i / 2u] >> 16u * (i % 2u));
        }
    }
};

template <>
struct Row8<f32> {
    f32 v[8];

    __device__ void load(const f32* x) {
#pragma unroll
        for (u32 i = 0u; i < 8u; i++) {
            v[i] = x[i];
        }
    }
    __device__ void multiply_add(f32 a, f32 b) {
#pragma unroll
        for (u32 i = 0u; i < 8u; i++) {
            v[i] = fmaf(a, v[i], b);
        }
    }
    __device__ void store(f32* y) const {
#pragma unroll
        for (u32 i = 0u; i < 8u; i++) {
            y[i] = v[i];
        }
    }
};

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 row = at.block * THREADS + threadIdx.x;
    if (row >= p.n) {
        return;
    }
    Row8<x_t> eight;
    eight.load(a.x + 8u * row);
    for (u32 round = 0u; round < p.rounds; round++) {
#pragma unroll
        for (u32 i = 0u; i < FMA_CHAIN; i++) {
            eight.multiply_add(p.a, p.b);
        }
    }
    eight.store(a.y + 8u * row);
}
