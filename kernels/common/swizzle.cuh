// Staged rows of 16-byte chunks of eight halves. A matrix is read as eight rows of a chunk at once:
// the chunks of a row are permuted by its number, so that eight rows fall into different banks.

// The place of chunk `c` of a row of `chunks`, a power of two.
__device__ inline constexpr u32 chunk_at(u32 row, u32 c, u32 chunks) {
    const u32 across = chunks < 8u ? chunks : 8u;
    return row * chunks + (c ^ (row / (8u / across) & (across - 1u)));
}
