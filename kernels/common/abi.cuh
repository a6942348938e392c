// What every kernel is written against, once a unit. A kernel is a function
//     __device__ void run(const Params& p, const Args& a, const At& at)
// of 256 threads; the loader makes Args, the constants and the entry point around it
// (src/backend/source/cuda.rs). Words are 32 bits wide.

// Threads of every workgroup.
constexpr unsigned BLOCK = 256u;

// Where the program is. It lies in device memory, so that one graph serves every row.
struct Cursor {
    unsigned row, time;
};

// Steps the cursor to the next row at the end of a body.
struct Advance {
    Cursor cursor;
    unsigned done, rows;
    const unsigned* times;
    volatile unsigned* progress;
};

// What the entry point of a launch is given besides its parameters and buffers.
struct Control {
    const Cursor* cursor;
    // Of a body's last launch, else null.
    Advance* advance;
    // Sums of splits, and a counter for each tile; zero between launches.
    float* partial;
    unsigned* counters;
};

// Where a workgroup is: of `blocks`, in the program, and what it shares with others.
struct At {
    Cursor cursor;
    unsigned block, blocks;
    float* partial;
    unsigned* counters;
};

using f32 = float;
using u32 = unsigned;

// Halves are stored and never computed with.
struct f16 {
    unsigned short bits;
};
struct bf16 {
    unsigned short bits;
};

// Four elements, one access.
template <class T>
struct alignas(4 * sizeof(T)) quad {
    T v[4];
};

__device__ inline f32 load1(const f32* x, unsigned i) {
    return x[i];
}
__device__ inline f32 load1(const f16* x, unsigned i) {
    return ptx::widen_f16(x[i].bits);
}
__device__ inline f32 load1(const bf16* x, unsigned i) {
    return ptx::widen_bf16(x[i].bits);
}

__device__ inline void store1(f32* y, unsigned i, f32 v) {
    y[i] = v;
}
__device__ inline void store1(f16* y, unsigned i, f32 v) {
    y[i].bits = (unsigned short)ptx::pack_f16(v, 0.0f);
}
__device__ inline void store1(bf16* y, unsigned i, f32 v) {
    y[i].bits = (unsigned short)ptx::pack_bf16(v, 0.0f);
}

// Elements i .. i + 4 of x; i is a multiple of 4.
template <class T>
__device__ inline float4 load4(const T* x, unsigned i) {
    const quad<T> q = *reinterpret_cast<const quad<T>*>(x + i);
    return make_float4(load1(q.v, 0), load1(q.v, 1), load1(q.v, 2), load1(q.v, 3));
}

template <class T>
__device__ inline void store4(T* y, unsigned i, float4 v) {
    quad<T> q;
    store1(q.v, 0, v.x);
    store1(q.v, 1, v.y);
    store1(q.v, 2, v.z);
    store1(q.v, 3, v.w);
    *reinterpret_cast<quad<T>*>(y + i) = q;
}

// Two values as the operands of a matrix product hold them, the first in the low half.
__device__ inline unsigned pack2(f16, f32 low, f32 high) {
    return ptx::pack_f16(low, high);
}
__device__ inline unsigned pack2(bf16, f32 low, f32 high) {
    return ptx::pack_bf16(low, high);
}

// a x + b on two values at once.
__device__ inline unsigned multiply_add2(f16, unsigned a, unsigned x, unsigned b) {
    return ptx::multiply_add_f16(a, x, b);
}
__device__ inline unsigned multiply_add2(bf16, unsigned a, unsigned x, unsigned b) {
    return ptx::multiply_add_bf16(a, x, b);
}

// c += a b on fragments of the operands' type: see ptx::multiply_f16.
__device__ inline void multiply(
    f16, f32 (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    ptx::multiply_f16(c, a, b0, b1);
}
__device__ inline void multiply(
    bf16, f32 (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    ptx::multiply_bf16(c, a, b0, b1);
}

__device__ inline unsigned smaller(unsigned a, unsigned b) {
    return a < b ? a : b;
}
__device__ inline constexpr unsigned larger(unsigned a, unsigned b) {
    return a > b ? a : b;
}
// a / b, rounded up.
__device__ inline constexpr unsigned parts_of(unsigned a, unsigned b) {
    return (a + b - 1u) / b;
}

// float4 by element.
__device__ inline float4 operator+(float4 a, float4 b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ inline float4 operator-(float4 a, float4 b) {
    return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w);
}
__device__ inline float4 operator*(float4 a, float4 b) {
    return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
__device__ inline float4 operator/(float4 a, float4 b) {
    return make_float4(a.x / b.x, a.y / b.y, a.z / b.z, a.w / b.w);
}
__device__ inline float4 operator*(float s, float4 a) {
    return make_float4(s * a.x, s * a.y, s * a.z, s * a.w);
}
__device__ inline float4 zeros() {
    return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}
__device__ inline float4 all4(float v) {
    return make_float4(v, v, v, v);
}
// Element i of a vector in registers.
__device__ inline float& element(float4& v, unsigned i) {
    return i == 0u ? v.x : i == 1u ? v.y : i == 2u ? v.z : v.w;
}
__device__ inline float element(const float4& v, unsigned i) {
    return i == 0u ? v.x : i == 1u ? v.y : i == 2u ? v.z : v.w;
}

// The workgroup's memory, of which a kernel has one struct: S is no larger than its SHARED_BYTES.
template <class S>
__device__ inline S& shared() {
    return *reinterpret_cast<S*>(ptx::shared_memory());
}

// At the start and the end of every launch.
//
// Launches A, B, C of a graph may overlap, if the host lets them. Each waits here, in every thread
// and before it touches memory, until the one before has ended and its writes are seen. That B has
// ended says that A has, as B's threads waited for A before they could end: so C, which waits for B
// alone, sees all that A wrote, and writes nothing that A still reads. The cursor is covered too:
// what steps it is a part of the launch before.
//
// C is let in behind B's wait, not before it: it may then take what B's workgroups leave free, all
// of which have begun by then, but no launch after it can begin before B has ended.
__device__ inline Cursor enter(const Control& c) {
    ptx::wait_for_previous();
    ptx::launch_next();
    return *c.cursor;
}

// The last workgroup of a body steps the cursor: by then every other one has read it.
__device__ inline void leave(const Control& c, unsigned blocks) {
    if (c.advance == nullptr) {
        return;
    }
    __syncthreads();
    Advance& next = *c.advance;
    if (threadIdx.x != 0u || ptx::arrive(&next.done) + 1u != blocks) {
        return;
    }
    next.done = 0u;
    next.cursor.row += 1u;
    next.cursor.time = next.cursor.row < next.rows ? next.times[next.cursor.row] : 0u;
    if (next.progress != nullptr) {
        *next.progress = next.cursor.row;
    }
}

// Constants that a kernel may have: one of its own hides these.
namespace absent {
constexpr unsigned TILE_M = 0u, TILE_N = 0u, TILE_H = 0u, TILE_W = 0u, BLOCKS = 0u, VEC = 1u;
constexpr unsigned SPLITS = 1u, RESIDENT = 1u, SHARED_BYTES = 0u;
}
