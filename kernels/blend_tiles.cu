// One picture of tiles, each fading in over the one above and then over the one to the left.
// x [n, down, across, c, side, side], y [b, c, h, w] f32, places [count] of (sample, ..).
// One thread one element of y, 256 threads a workgroup.
// Bandwidth: one write of the pictures, up to four reads of each pixel.
// Reference: src/ops/blend_tiles.rs
struct Params {
    u32 b;
    u32 n;
    u32 c;
    u32 h;
    u32 w;
    u32 side;
    u32 stride;
    u32 extent;
    u32 first;
    u32 count;
};

constexpr u32 THREADS = BLOCK;

// Where a line or column lies: its tile, its place there, and the share of that tile.
struct Along {
    u32 tile;
    u32 at;
    f32 share;
};

__device__ inline Along along(const Params& p, u32 i, u32 size) {
    const u32 tile = i / p.stride;
    const u32 at = i % p.stride;
    const u32 extent = smaller(p.extent, smaller(size - tile * p.stride, p.side));
    return {tile, at, tile > 0u && at < extent ? (f32)at / (f32)extent : 1.0f};
}

// Of a channel of a sample.
__device__ inline f32 pixel(const Params& p, const Args& a, u32 channel, u32 row, u32 column,
    u32 line, u32 left) {
    const u32 down = parts_of(p.h, p.stride);
    const u32 across = parts_of(p.w, p.stride);
    const u32 tile = (channel / p.c * down + row) * across + column;
    return load1(a.x, ((tile * p.c + channel % p.c) * p.side + line) * p.side + left);
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.c * p.h * p.w) {
        return;
    }
    const Along line = along(p, i / p.w % p.h, p.h);
    const Along column = along(p, i % p.w, p.w);
    const u32 channel = i / (p.w * p.h);
    const f32 share = column.share;
    const f32 down = line.share;
    const u32 above = line.at + p.stride;
    const u32 left = column.at + p.stride;
    f32 v = pixel(p, a, channel, line.tile, column.tile, line.at, column.at);
    f32 before = 0.0f;
    if (share < 1.0f) {
        before = pixel(p, a, channel, line.tile, column.tile - 1u, line.at, left);
    }
    if (down < 1.0f) {
        f32 over = pixel(p, a, channel, line.tile - 1u, column.tile, above, column.at);
        if (share < 1.0f) {
            const f32 corner =
                pixel(p, a, channel, line.tile - 1u, column.tile - 1u, above, left);
            over = (1.0f - share) * corner + share * over;
            before = (1.0f - down) * corner + down * before;
        }
        v = (1.0f - down) * over + down * v;
    }
    if (share < 1.0f) {
        v = (1.0f - share) * before + share * v;
    }
    const u32 first = a.places[4u * (at.cursor.row - p.first)] * p.c * p.h * p.w;
    store1(a.y, first + i, v);
}
