// y = scale x, of th x tw pixels of the state from the row's place on.
// x [b, c, h, w] f32, y [n, th, tw, c], places [count] of (sample, block, top, left).
// One thread one pixel with its channels, 256 threads a workgroup.
// Bandwidth: one read of the part and one write of the input.
// Reference: src/ops/latent_tile.rs
struct Params {
    u32 b;
    u32 n;
    u32 c;
    u32 h;
    u32 w;
    u32 th;
    u32 tw;
    f32 scale;
    u32 first;
    u32 count;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.th * p.tw) {
        return;
    }
    const u32 place = 4u * (at.cursor.row - p.first);
    const u32 sample = a.places[place] + i / (p.th * p.tw);
    const u32 line = a.places[place + 2u] + i / p.tw % p.th;
    const u32 source =
        sample * p.c * p.h * p.w + line * p.w + a.places[place + 3u] + i % p.tw;
    for (u32 c = 0u; c < p.c; c++) {
        store1(a.y, i * p.c + c, p.scale * load1(a.x, source + c * p.h * p.w));
    }
}
