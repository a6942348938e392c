// x0 = x0_scale clamp(x0_x x + x0_f F), eps = eps_x x + eps_f F + eps_x0 x0: src/ops/row.rs.
// x, x0, eps, log_scale [b, c, hw] f32, f [b, hw, cf], pair [2 b, hw, cf], table of Row.
// One thread one element of the state, 256 threads a workgroup.
// Bandwidth: reads x and f, writes three times the state.
// Reference: src/ops/predict.rs
//!include prediction

struct Params {
    u32 b;
    u32 c;
    u32 cf;
    u32 hw;
    u32 per_sample;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 i = at.block * THREADS + threadIdx.x;
    const u32 numel = p.c * p.hw;
    if (i >= p.b * numel) {
        return;
    }
    const Row& row = row_of(a, at, i / numel);
    const u32 c = i % numel / p.hw;
    const u32 f_at = (i / numel * p.hw + i % p.hw) * p.cf + c;
    const float4 x_value = all4(a.x[i]);
    const float4 f_value = all4(load1(a.f, f_at));
    const Reading read = reading_of(row);
    const float4 prediction = predict_x0(read, x_value, f_value);
    a.x0[i] = prediction.x;
    float4 of_eps = f_value;
#ifdef HAS_PAIR
    if (row_has(row, ROW_UNCOND_EPS)) {
        of_eps = all4(load1(a.pair, p.b * p.hw * p.cf + f_at));
    }
#endif
    a.eps[i] = predict_eps(read, x_value, of_eps, prediction).x;
    f32 log_value = 0.0f;
    if (row_has(row, ROW_LEARNED)) {
        log_value = log_noise_scale(row, load1(a.f, f_at + p.c));
    }
    a.log_scale[i] = log_value;
}
