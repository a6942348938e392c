// Every instruction that C++ has no word for. The CPU emulator has the same functions in
// tests/emulator/ptx.hpp. Layouts of fragments: PTX ISA, "Matrix Fragments for mma.m16n8k16".
namespace ptx {

__device__ inline unsigned char* shared_memory() {
    extern __shared__ __align__(128) unsigned char memory[];
    return memory;
}

__device__ inline unsigned shared_address(const void* at) {
    return static_cast<unsigned>(__cvta_generic_to_shared(at));
}

__device__ inline float widen_f16(unsigned short bits) {
    float v;
    asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
    return v;
}
__device__ inline float widen_bf16(unsigned short bits) {
    return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

// Rounded to nearest even; the first in the low half.
__device__ inline unsigned pack_f16(float low, float high) {
#if __CUDA_ARCH__ >= 800
    unsigned both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
#else
    unsigned short a, b;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(a) : "f"(low));
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(b) : "f"(high));
    return static_cast<unsigned>(a) | static_cast<unsigned>(b) << 16;
#endif
}
__device__ inline unsigned round_bf16(float v) {
    const unsigned bits = __float_as_uint(v);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return nan ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
__device__ inline unsigned pack_bf16(float low, float high) {
#if __CUDA_ARCH__ >= 800
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
#else
    return round_bf16(low) | round_bf16(high) << 16;
#endif
}

// a x + b on both halves, rounded once.
__device__ inline unsigned multiply_add_f16(unsigned a, unsigned x, unsigned b) {
    unsigned both;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(both) : "r"(a), "r"(x), "r"(b));
    return both;
}
__device__ inline unsigned multiply_add_bf16(unsigned a, unsigned x, unsigned b) {
#if __CUDA_ARCH__ >= 800
    unsigned both;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(both) : "r"(a), "r"(x), "r"(b));
    return both;
#else
    const float low = fmaf(widen_bf16(a & 0xffffu), widen_bf16(x & 0xffffu), widen_bf16(b & 0xffffu));
    const float high = fmaf(widen_bf16(a >> 16), widen_bf16(x >> 16), widen_bf16(b >> 16));
    return pack_bf16(low, high);
#endif
}

// Copies 16 (8) bytes to the workgroup's memory, zeros if not `inside`; from sm_80 on it does not
// wait for them: they are there after `wait` and a barrier.
__device__ inline void copy16(void* to, const void* from, bool inside) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
        "l"(from), "r"(inside ? 16 : 0));
#else
    *static_cast<uint4*>(to) =
        inside ? *static_cast<const uint4*>(from) : make_uint4(0u, 0u, 0u, 0u);
#endif
}
__device__ inline void copy8(void* to, const void* from, bool inside) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared_address(to)),
        "l"(from), "r"(inside ? 8 : 0));
#else
    *static_cast<uint2*>(to) = inside ? *static_cast<const uint2*>(from) : make_uint2(0u, 0u);
#endif
}
// Ends a group of copies.
__device__ inline void commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;");
#endif
}
// Waits for this thread's copies, but for its newest N groups.
template <int N>
__device__ inline void wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// Four 8x8 matrices of halves: lanes 8 j .. 8 j + 7 give the 16-byte rows of matrix j; lane l gets
// elements 2 (l % 4), 2 (l % 4) + 1 of row l / 4 of each, or of column l / 4 if transposed.
__device__ inline void load_matrices(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
__device__ inline void load_matrices_transposed(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c += a b: a 16x16 by rows, b 16x8 by columns, sums in f32. With g = lane / 4 and t = lane % 4
//     a: (g, 2t) (g + 8, 2t) (g, 2t + 8) (g + 8, 2t + 8), two steps of k each
//     b: (2t, g) (2t + 8, g), two steps of k each
//     c: (g, 2t) (g, 2t + 1) (g + 8, 2t) (g + 8, 2t + 1)
__device__ inline void multiply_f16(
    float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, "
                 "{%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, "
                 "{%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}
__device__ inline void multiply_bf16(
    float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Tells the compiler, where it cannot know: `at` is in global memory.
__device__ inline void in_global(const void* at) {
    __builtin_assume(__isGlobal(at));
}

// Adds one to a counter that several workgroups share and gives what it was. What this thread
// wrote before is seen by whoever reads a later value of it here.
__device__ inline unsigned arrive(unsigned* counter) {
    unsigned before;
    asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;"
                 : "=r"(before)
                 : "l"(counter)
                 : "memory");
    return before;
}

// A word that other workgroups change. `peek` and `post` order nothing else; what was written before
// an `arrive` is seen after an `acquire` that gives what it left, or anything later.
__device__ inline unsigned peek(const unsigned* at) {
    unsigned v;
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(at) : "memory");
    return v;
}
__device__ inline void post(unsigned* at, unsigned v) {
    asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(at), "r"(v) : "memory");
}
__device__ inline unsigned acquire(const unsigned* at) {
    unsigned v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(at) : "memory");
    return v;
}
// Leaves the processor to others for some cycles, between two looks at a word.
__device__ inline void pause() {
    asm volatile("nanosleep.u32 20;");
}
// A word of the host's memory.
__device__ inline unsigned peek_host(const unsigned* at) {
    unsigned v;
    asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(at) : "memory");
    return v;
}

// Until the launch before has ended and all that it wrote is seen; where launches may overlap.
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The next launch may begin once all workgroups of this one have said so, or have ended.
__device__ inline void launch_next() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

}
