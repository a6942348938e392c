// D = sum_k r_k (mu_k + s2_k / v_k (x - mu_k)), r_k ~ w_k N(x; mu_k, v_k), v_k = s2_k + sigma^2.
// x, y [n, d], times [..] the noise levels sigma, components [k] of [ln w | mu [d] | s2 [d]].
// One thread one vector, 256 threads a workgroup.
// Compute: about 60 k d operations a vector; the components stay in cache, ratios are not kept.
// Reference: src/ops/mixture.rs
//!include rowmap

struct Params {
    RowMap map;
    u32 n;
    u32 d;
    u32 k;
};

constexpr u32 THREADS = BLOCK;
static_assert(sizeof(y_t) == sizeof(f32), "y holds sums");

// ln(w_k N_k) of the vector at `first`, to within what the logarithms lose.
__device__ inline f32 log_weight(const Params& p, const Args& a, u32 c, u32 first, f32 sigma2) {
    f32 sum = 0.0f;
    for (u32 j = 0u; j < p.d; j++) {
        const f32 v = load1(a.components, c + 1u + p.d + j) + sigma2;
        const f32 d = load1(a.x, first + j) - load1(a.components, c + 1u + j);
        sum += logf(v) + d / v * d;
    }
    return load1(a.components, c) - 0.5f * sum;
}

// The same less that of component `o`. A difference of squares is a product, and its factors are
// differences of what was given.
__device__ inline f32 log_ratio(
    const Params& p, const Args& a, u32 c, u32 o, u32 first, f32 sigma2) {
    f32 sum = 0.0f;
    for (u32 j = 0u; j < p.d; j++) {
        const f32 mean_c = load1(a.components, c + 1u + j);
        const f32 mean_o = load1(a.components, o + 1u + j);
        const f32 s2_c = load1(a.components, c + 1u + p.d + j);
        const f32 s2_o = load1(a.components, o + 1u + p.d + j);
        const f32 v_o = s2_o + sigma2;
        const f32 root_c = sqrtf(s2_c + sigma2);
        const f32 root_o = sqrtf(v_o);
        const f32 u_c = (load1(a.x, first + j) - mean_c) / root_c;
        const f32 u_o = (load1(a.x, first + j) - mean_o) / root_o;
        const f32 wider = (s2_o - s2_c) / (root_c * (root_c + root_o));
        const f32 difference = (mean_o - mean_c) / root_c + u_o * wider;
        sum += log1pf((s2_c - s2_o) / v_o) + difference * (u_c + u_o);
    }
    return load1(a.components, c) - load1(a.components, o) - 0.5f * sum;
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 vector = at.block * THREADS + threadIdx.x;
    if (vector >= p.n) {
        return;
    }
    const u32 first = vector * p.d;
    const u32 stride = 1u + 2u * p.d;
    const f32 sigma = load1(a.times, map_row(p.map, a, at, vector));
    const f32 sigma2 = sigma * sigma;

    u32 likeliest = 0u;
    f32 best = log_weight(p, a, 0u, first, sigma2);
    for (u32 k = 1u; k < COMPONENTS; k++) {
        const f32 value = log_weight(p, a, k * stride, first, sigma2);
        if (value > best) {
            best = value;
            likeliest = k * stride;
        }
    }
    f32 most = 0.0f;
    for (u32 k = 0u; k < COMPONENTS; k++) {
        most = fmaxf(most, log_ratio(p, a, k * stride, likeliest, first, sigma2));
    }
    // There may be more components than registers, so each is taken for all of the vector at once
    // and y holds the sums.
    f32 sum = 0.0f;
    for (u32 k = 0u; k < COMPONENTS; k++) {
        const f32 r = expf(log_ratio(p, a, k * stride, likeliest, first, sigma2) - most);
        sum += r;
        for (u32 j = 0u; j < p.d; j++) {
            const f32 mu = load1(a.components, k * stride + 1u + j);
            const f32 s2 = load1(a.components, k * stride + 1u + p.d + j);
            const f32 mean = mu + s2 / (s2 + sigma2) * (load1(a.x, first + j) - mu);
            const f32 before = k == 0u ? 0.0f : load1(a.y, first + j);
            store1(a.y, first + j, before + r * mean);
        }
    }
    for (u32 j = 0u; j < p.d; j++) {
        store1(a.y, first + j, load1(a.y, first + j) / sum);
    }
}
