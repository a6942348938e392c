//!include activate
//!include addends
// The end of conv2d, linear and attention, four columns of a row of y (a quad) at a time:
// y = act((sum + bias + row + residual) * scale).
// `width` is how many columns of the quad lie inside y, whose elements start at `i`. With STORE4
// all four do, and the quad is one access.

// Where the launch has no shortcut, `skip` is a residual of the shape of y.
#ifdef HAS_SKIP
#ifndef SHORTCUT
__device__ inline float4 residual_quad(const Args& a, u32 i, u32 width) {
#ifdef STORE4
    return load4(a.skip, i);
#else
    return quad_of(a.skip, i, width);
#endif
}
#endif
#endif

// act((sum + residual) * scale); `sum` holds bias and row already.
__device__ inline float4 finish(
    const Params& p, const Args& a, float4 sum, u32 i, u32 width) {
    float4 v = sum;
#ifdef HAS_SKIP
#ifndef SHORTCUT
    v = v + residual_quad(a, i, width);
#endif
#endif
    v = p.scale * v;
#ifdef ACT
    v = activate(v, ACT);
#endif
    return v;
}

__device__ inline void store_quad(const Args& a, float4 v, u32 i, u32 width) {
#ifdef STORE4
    store4(a.y, i, v);
#else
#pragma unroll
    for (u32 e = 0u; e < 4u; e++) {
        if (e < width) {
            store1(a.y, i + e, element(v, e));
        }
    }
#endif
}
