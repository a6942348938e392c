// The words of CUDA C++ that kernels use, as C++. Nothing of the standard library is included:
// kernels have all names to themselves, as under NVRTC.
#pragma once

#include "fibers.hpp"
#include "half.hpp"

#define __device__
#define __global__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __grid_constant__
#define __launch_bounds__(...)

// Where a call stands, said by its default arguments.
#define EMULATED_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define EMULATED_HERE emulator::Site{file, line}

extern emulator::Index threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) float2 {
    float x, y;
};
struct float3 {
    float x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
inline float2 make_float2(float x, float y) {
    return {x, y};
}
inline float3 make_float3(float x, float y, float z) {
    return {x, y, z};
}
inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) {
    return {x, y, z};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}
inline int2 make_int2(int x, int y) {
    return {x, y};
}
inline int4 make_int4(int x, int y, int z, int w) {
    return {x, y, z, w};
}

// Barriers and warps.
inline void __syncthreads(EMULATED_SITE) {
    emulator::barrier(EMULATED_HERE);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATED_SITE) {
    emulator::meet(EMULATED_HERE, mask);
}

template <class T>
inline T emulated_shuffle(
    emulator::Site site, const char* what, unsigned mask, T value, unsigned from) {
    static_assert(sizeof(T) == 4, "a word");
    const unsigned word = __builtin_bit_cast(unsigned, value);
    return __builtin_bit_cast(T, emulator::shuffle(site, what, mask, word, from));
}
// A warp is cut into groups of `width` lanes; whoever would read across a border reads itself.
template <class T>
inline T __shfl_sync(unsigned mask, T value, int from, int width = 32, EMULATED_SITE) {
    const unsigned lane = threadIdx.x % 32u, first = lane & ~(unsigned(width) - 1u);
    const unsigned to = first + (unsigned(from) & (unsigned(width) - 1u));
    return emulated_shuffle(EMULATED_HERE, "__shfl_sync", mask, value, to);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32, EMULATED_SITE) {
    const unsigned lane = threadIdx.x % 32u, last = lane | (unsigned(width) - 1u);
    const unsigned to = (lane ^ unsigned(with)) > last ? lane : lane ^ unsigned(with);
    return emulated_shuffle(EMULATED_HERE, "__shfl_xor_sync", mask, value, to);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATED_SITE) {
    const unsigned lane = threadIdx.x % 32u, first = lane & ~(unsigned(width) - 1u);
    const unsigned to = lane >= first + by ? lane - by : lane;
    return emulated_shuffle(EMULATED_HERE, "__shfl_up_sync", mask, value, to);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATED_SITE) {
    const unsigned lane = threadIdx.x % 32u, last = lane | (unsigned(width) - 1u);
    const unsigned to = lane + by <= last ? lane + by : lane;
    return emulated_shuffle(EMULATED_HERE, "__shfl_down_sync", mask, value, to);
}
inline unsigned __ballot_sync(unsigned mask, int says, EMULATED_SITE) {
    return emulator::ballot(EMULATED_HERE, "__ballot_sync", mask, says != 0);
}
inline int __any_sync(unsigned mask, int says, EMULATED_SITE) {
    return emulator::ballot(EMULATED_HERE, "__any_sync", mask, says != 0) != 0u;
}
inline int __all_sync(unsigned mask, int says, EMULATED_SITE) {
    return emulator::ballot(EMULATED_HERE, "__all_sync", mask, says != 0) == mask;
}

// Atomics; none of them orders other accesses.
inline unsigned atomicAdd(unsigned* at, unsigned v) {
    return __atomic_fetch_add(at, v, __ATOMIC_RELAXED);
}
inline unsigned atomicOr(unsigned* at, unsigned v) {
    return __atomic_fetch_or(at, v, __ATOMIC_RELAXED);
}
inline unsigned atomicAnd(unsigned* at, unsigned v) {
    return __atomic_fetch_and(at, v, __ATOMIC_RELAXED);
}
inline unsigned atomicExch(unsigned* at, unsigned v) {
    return __atomic_exchange_n(at, v, __ATOMIC_RELAXED);
}
inline unsigned atomicCAS(unsigned* at, unsigned expected, unsigned v) {
    __atomic_compare_exchange_n(at, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
// The word at `at` becomes `change` of itself.
template <class F>
inline unsigned emulated_update(unsigned* at, F change) {
    unsigned before = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(
        at, &before, change(before), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return before;
}
inline unsigned atomicMax(unsigned* at, unsigned v) {
    return emulated_update(at, [v](unsigned old) { return old > v ? old : v; });
}
inline unsigned atomicMin(unsigned* at, unsigned v) {
    return emulated_update(at, [v](unsigned old) { return old < v ? old : v; });
}
inline float atomicAdd(float* at, float v) {
    const auto sum = [v](unsigned old) {
        return emulator::bits_of(emulator::of_bits(old) + v);
    };
    return emulator::of_bits(emulated_update(reinterpret_cast<unsigned*>(at), sum));
}

// Words.
inline unsigned __float_as_uint(float v) {
    return emulator::bits_of(v);
}
inline int __float_as_int(float v) {
    return static_cast<int>(emulator::bits_of(v));
}
inline float __uint_as_float(unsigned v) {
    return emulator::of_bits(v);
}
inline float __int_as_float(int v) {
    return emulator::of_bits(static_cast<unsigned>(v));
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline int __popc(unsigned v) {
    return __builtin_popcount(v);
}
inline int __clz(int v) {
    return v == 0 ? 32 : __builtin_clz(static_cast<unsigned>(v));
}
inline int __ffs(int v) {
    return __builtin_ffs(v);
}
template <class T>
inline T __ldg(const T* at) {
    return *at;
}

// Functions of floats. Those of the host's library are as close as CUDA's, or closer.
extern "C" {
float expf(float) noexcept;
float exp2f(float) noexcept;
float expm1f(float) noexcept;
float logf(float) noexcept;
float log2f(float) noexcept;
float log10f(float) noexcept;
float log1pf(float) noexcept;
float powf(float, float) noexcept;
float sqrtf(float) noexcept;
float cbrtf(float) noexcept;
float sinf(float) noexcept;
float cosf(float) noexcept;
float tanf(float) noexcept;
float tanhf(float) noexcept;
float asinhf(float) noexcept;
float sinhf(float) noexcept;
float coshf(float) noexcept;
float atanf(float) noexcept;
float atan2f(float, float) noexcept;
float erff(float) noexcept;
float erfcf(float) noexcept;
float fmaf(float, float, float) noexcept;
float fminf(float, float) noexcept;
float fmaxf(float, float) noexcept;
float fabsf(float) noexcept;
float floorf(float) noexcept;
float ceilf(float) noexcept;
float truncf(float) noexcept;
float rintf(float) noexcept;
float nearbyintf(float) noexcept;
float roundf(float) noexcept;
float fmodf(float, float) noexcept;
float ldexpf(float, int) noexcept;
float copysignf(float, float) noexcept;
void sincosf(float, float*, float*) noexcept;
}
inline float rsqrtf(float v) {
    return 1.0f / sqrtf(v);
}
inline float __expf(float v) {
    return expf(v);
}
inline float __exp2f(float v) {
    return exp2f(v);
}
inline float __logf(float v) {
    return logf(v);
}
inline float __log2f(float v) {
    return log2f(v);
}
inline float __sinf(float v) {
    return sinf(v);
}
inline float __cosf(float v) {
    return cosf(v);
}
inline float __powf(float a, float b) {
    return powf(a, b);
}
inline float __fdividef(float a, float b) {
    return a / b;
}
inline float __fdiv_rn(float a, float b) {
    return a / b;
}
inline float __frcp_rn(float v) {
    return 1.0f / v;
}
inline float __fsqrt_rn(float v) {
    return sqrtf(v);
}
inline float __frsqrt_rn(float v) {
    return static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(v)));
}
inline float __fadd_rn(float a, float b) {
    return a + b;
}
inline float __fsub_rn(float a, float b) {
    return a - b;
}
inline float __fmul_rn(float a, float b) {
    return a * b;
}
inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}
inline float __saturatef(float v) {
    return v > 0.0f ? (v < 1.0f ? v : 1.0f) : 0.0f;
}
inline bool isnan(float v) {
    return __builtin_isnan(v);
}
inline bool isinf(float v) {
    return __builtin_isinf(v);
}
inline bool isfinite(float v) {
    return __builtin_isfinite(v);
}
inline bool signbit(float v) {
    return __builtin_signbit(v);
}
// A float beyond the whole numbers becomes the nearest of them, NaN becomes 0.
inline unsigned __float2uint_rz(float v) {
    return !(v > 0.0f) ? 0u : v >= 0x1p32f ? 0xffffffffu : static_cast<unsigned>(v);
}
inline int __float2int_rz(float v) {
    return __builtin_isnan(v) ? 0
        : v >= 0x1p31f        ? 0x7fffffff
        : v < -0x1p31f        ? -0x7fffffff - 1
                              : static_cast<int>(v);
}
inline unsigned __float2uint_rn(float v) {
    return __float2uint_rz(rintf(v));
}
inline int __float2int_rn(float v) {
    return __float2int_rz(rintf(v));
}
inline float __uint2float_rn(unsigned v) {
    return static_cast<float>(v);
}
inline float __int2float_rn(int v) {
    return static_cast<float>(v);
}
inline unsigned min(unsigned a, unsigned b) {
    return a < b ? a : b;
}
inline unsigned max(unsigned a, unsigned b) {
    return a > b ? a : b;
}
inline int min(int a, int b) {
    return a < b ? a : b;
}
inline int max(int a, int b) {
    return a > b ? a : b;
}
