//!include row
// The prediction from the network's output f: src/ops/row.rs.

// How a row reads the network.
struct Reading {
    f32 x0_x;
    f32 x0_f;
    f32 clip;
    f32 x0_scale;
    f32 eps_x;
    f32 eps_f;
    f32 eps_x0;
    f32 f_scale;
    u32 flags;
};

__device__ inline Reading reading_of(const Row& row) {
    return {row.x0_x, row.x0_f, row.clip, row.x0_scale, row.eps_x, row.eps_f, row.eps_x0,
        row.f_scale, row.flags};
}

__device__ inline bool reads(const Reading& r, u32 flag) {
    return (r.flags & flag) != 0u;
}

// Clips to [-clip, clip] but for a clip that is the largest f32 or inf. A NaN stays one: the least
// of a NaN and a bound is the bound, so that a network which diverged would give a picture.
__device__ inline f32 clipped(f32 v, f32 clip) {
    const bool nan = (__float_as_uint(v) & 0x7fffffffu) > 0x7f800000u;
    const bool unclipped = __float_as_uint(clip) >= 0x7f7fffffu;
    return nan || unclipped ? v : fminf(fmaxf(v, -clip), clip);
}

__device__ inline float4 clipped(float4 v, f32 clip) {
    return make_float4(
        clipped(v.x, clip), clipped(v.y, clip), clipped(v.z, clip), clipped(v.w, clip));
}

__device__ inline float4 predict_x0(const Reading& r, float4 x, float4 f) {
    const float4 x0 = term(r.x0_x, x) + term(r.x0_f, f);
    return r.x0_scale * clipped(x0, r.clip);
}

// `f` is the output that eps is made of.
__device__ inline float4 predict_eps(const Reading& r, float4 x, float4 f, float4 x0) {
    return term(r.eps_x, x) + term(r.eps_f, f) + term(r.eps_x0, x0);
}

// ln of the noise scale that the network's variance output gives: Nichol & Dhariwal 2021, eq. 15.
__device__ inline f32 log_noise_scale(const Row& row, f32 variance) {
    const f32 v = 0.5f * (variance + 1.0f);
    return 0.5f * (v * row.log_var_max + (1.0f - v) * row.log_var_min);
}
