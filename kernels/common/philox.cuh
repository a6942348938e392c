// Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
__device__ inline uint4 philox(uint4 counter, uint2 key) {
    uint4 c = counter;
    uint2 k = key;
    for (u32 round = 0u; round < 10u; round++) {
        const u32 high0 = __umulhi(0xD2511F53u, c.x);
        const u32 low0 = 0xD2511F53u * c.x;
        const u32 high1 = __umulhi(0xCD9E8D57u, c.z);
        const u32 low1 = 0xCD9E8D57u * c.z;
        c = make_uint4(high1 ^ c.y ^ k.x, low1, high0 ^ c.w ^ k.y, low0);
        k = make_uint2(k.x + 0x9E3779B9u, k.y + 0xBB67AE85u);
    }
    return c;
}
