// y = x after rounds * FMA_CHAIN times v = a v + b on every element v.
// x, y [n, 8]; the arithmetic is in f32, as in every kernel: halves are what matrix units take.
// One thread a row: eight elements, none waits for the other. 256 threads a workgroup.
// Arithmetic: 16 operations for each b of the chain and no byte, the most a device does in f32.
// Reference: src/ops/multiply_add.rs
struct Params {
    u32 n;
    u32 rounds;
    f32 a;
    f32 b;
};

constexpr u32 THREADS = BLOCK;

__device__ inline float4 multiply_add(float4 v, f32 a, f32 b) {
    return make_float4(fmaf(a, v.x, b), fmaf(a, v.y, b), fmaf(a, v.z, b), fmaf(a, v.w, b));
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 row = at.block * THREADS + threadIdx.x;
    if (row >= p.n) {
        return;
    }
    float4 left = load4(a.x, 8u * row);
    float4 right = load4(a.x, 8u * row + 4u);
    for (u32 round = 0u; round < p.rounds; round++) {
#pragma unroll
        for (u32 i = 0u; i < FMA_CHAIN; i++) {
            left = multiply_add(left, p.a, p.b);
            right = multiply_add(right, p.a, p.b);
        }
    }
    store4(a.y, 8u * row, left);
    store4(a.y, 8u * row + 4u, right);
}
