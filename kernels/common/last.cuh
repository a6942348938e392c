// Whether this is the last of `count` workgroups to come to a counter, which is zero between
// launches; it sees what all of them have written.
__device__ inline bool is_last(u32* counter, u32 count, u32& last) {
    __syncthreads();
    if (threadIdx.x == 0u) {
        last = ptx::arrive(counter) + 1u == count ? 1u : 0u;
        if (last != 0u) {
            *counter = 0u;
        }
    }
    __syncthreads();
    return last != 0u;
}

// The counter of a tile, for its splits.
__device__ inline u32* tile_counter(const At& at) {
    return at.counters + at.block % (at.blocks / SPLITS);
}
