// What is added to every row of a product, four columns (a quad) at a time, of which `width` lie
// inside; with STORE4 all four do.

// Elements i .. i + width of x, zero past them.
template <class T>
__device__ inline float4 quad_of(const T* x, u32 i, u32 width) {
    float4 v = zeros();
#pragma unroll
    for (u32 e = 0u; e < 4u; e++) {
        if (e < width) {
            element(v, e) = load1(x, i + e);
        }
    }
    return v;
}

#ifdef HAS_VECTORS
// vectors[i .. i + 4].
__device__ inline float4 vector_quad(const Args& a, u32 i, u32 width) {
    return quad_of(a.vectors, i, width);
}
#endif

#ifdef HAS_ROWS
// rows[i .. i + 4].
__device__ inline float4 row_quad(const Args& a, u32 i, u32 width) {
    return quad_of(a.rows, i, width);
}
#endif
