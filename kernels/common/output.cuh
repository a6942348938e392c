//!include prediction
// The network's output of a step: src/ops/output.rs. Needs the buffers f, table and run.

// Whether guidance acts.
__device__ inline bool guides(const Params& p, const Reading& r) {
    return p.guided != 0u && reads(r, ROW_GUIDE);
}

// C and U of channel c of a pixel; both C where guidance does not act.
__device__ inline float2 output_pair(
    const Params& p, const Args& a, const Reading& r, u32 sample, u32 pixel, u32 c) {
    const f32 conditional = load1(a.f, (sample * p.hw + pixel) * p.cf + c);
    if (!guides(p, r)) {
        return make_float2(conditional, conditional);
    }
    return make_float2(conditional, load1(a.f, ((p.b + sample) * p.hw + pixel) * p.cf + c));
}

// U + w (C - U).
__device__ inline f32 guide(const Args& a, u32 sample, float2 pair) {
    const f32 w = __uint_as_float(a.run[RUN_HEADER + RUN_SAMPLE * sample + 1u]);
    return pair.y + w * (pair.x - pair.y);
}

// F and the output that eps is made of.
__device__ inline float2 output(
    const Params& p, const Args& a, const Reading& r, u32 sample, u32 pixel, u32 c) {
    const float2 pair = output_pair(p, a, r, sample, pixel, c);
    if (!guides(p, r)) {
        return pair;
    }
    const f32 guided = r.f_scale * guide(a, sample, pair);
    return make_float2(guided, reads(r, ROW_UNCOND_EPS) ? pair.y : guided);
}

// The factor of the noise: the variance is the conditional half's own, guidance does not touch it.
__device__ inline f32 output_noise_scale(
    const Params& p, const Args& a, const Row& row, u32 sample, u32 pixel, u32 c) {
    const f32 variance = load1(a.f, (sample * p.hw + pixel) * p.cf + p.c + c);
    return expf(log_noise_scale(row, variance));
}
