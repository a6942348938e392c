// A corner of the blocks [c, ho, wo] of the samples, from the row's block on every step-th.
// x [n, th, tw, c], y [blocks, c, ho, wo] f32, places [count] of (sample, block, top, left).
// One thread one pixel with its channels, 256 threads a workgroup.
// Bandwidth: one read and one write of the pixels.
// Reference: src/ops/picture_tile.rs
struct Params {
    u32 n;
    u32 c;
    u32 th;
    u32 tw;
    u32 ho;
    u32 wo;
    u32 blocks;
    u32 step;
    u32 first;
    u32 count;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.th * p.tw) {
        return;
    }
    const u32 block = a.places[4u * (at.cursor.row - p.first) + 1u] + i / (p.th * p.tw) * p.step;
    const u32 to = block * p.c * p.ho * p.wo + i / p.tw % p.th * p.wo + i % p.tw;
    for (u32 c = 0u; c < p.c; c++) {
        store1(a.y, to + c * p.ho * p.wo, load1(a.x, i * p.c + c));
    }
}
