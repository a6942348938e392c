// y = act((conv(load(x | x2), w) + shortcut(skip | skip2) + bias + row + residual) * scale).
// x, x2 [n, h, w, c], w [kh][kw][cin][cout padded to 4] and the shortcut's rows, y [n, ho, wo, cout].
// One workgroup TILE_M pixels of a sample x TILE_N couts, 256 threads; see halo_mma and halo.
// Compute: 2 FLOP an output and step of K; on small maps reads of w bound: K is then shared out.
// Reference: src/ops/conv2d.rs
//!include rowmap

struct Params {
//!include conv_fields
};

//!include conv
//!include epilogue

// Finishes the results of the slab from pixel `first` of the tile on.
__device__ inline void store_results(const Params& p, const Args& a, const At& at,
    const Place& here, u32 first, Results& results) {
    const u32 column = 4u * (here.quad + own_quad());
    const u32 width = smaller(4u, p.cout - smaller(column, p.cout));
    const float4 more = addend(p, a, at, here, column, width);
#pragma unroll
    for (u32 i = 0u; i < OWN_ROWS; i++) {
        const Own own = own_row(p, here, first + slab_row(i));
        if (slab_row(i) < SLAB_M && own.inside && width > 0u) {
            const u32 element_of_y = own.index * p.cout + column;
            results.v[i] = finish(p, a, results.v[i] + more, element_of_y, width);
            store_quad(a, results.v[i], element_of_y, width);
        }
    }
}

constexpr u32 SHARED_BYTES = sizeof(ConvMemory);

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    ConvMemory& s = shared<ConvMemory>();
    const Place here = place(p, at.block);
    Sums sums;
    convolve(p, a, at, here, s, sums);
    const auto store = [&](u32 first, Results& results) {
        store_results(p, a, at, here, first, results);
    };
    finish_tile(p, a, at, here, sums, s.work.slab, s.end, store);
}
