// y[row] = x: the state after this row of the trajectory.
// x [n], y [rows, n], f32.
// One thread one element, 256 threads a workgroup.
// Bandwidth: one read and one write of the state.
// Reference: src/ops/trace.rs
struct Params {
    u32 n;
    u32 rows;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n || at.cursor.row >= p.rows) {
        return;
    }
    a.y[at.cursor.row * p.n + i] = a.x[i];
}
