//!include prediction
// Adaptive steps: src/ops/control/adapt.rs. Needs the buffer table, whose rows are followed by
// numbers in their histories, from row p.adaptive on.
using Numbers = const Row*;

__device__ inline Numbers numbers_of(const Params& p, const Args& a) {
    return &table_row(a, p.adaptive);
}

__device__ inline f32 number(Numbers all, u32 place) {
    const Row& row = all[place / (3u * HISTORY)];
    const u32 i = place % HISTORY;
    switch (place / HISTORY % 3u) {
    case 0u:
        return row.x.h[i];
    case 1u:
        return row.saved.h[i];
    default:
        return row.push.h[i];
    }
}

__device__ inline u32 code(Numbers all, u32 place) {
    return static_cast<u32>(number(all, place));
}

struct Progress {
    f32 lambda;
    f32 h;
    u32 accepted;
    u32 rejected;
    u32 retries;
};

__device__ inline Progress progress_start(Numbers all) {
    return {number(all, AT_LAMBDA_START), number(all, AT_FIRST_STEP), 0u, 0u, 0u};
}

__device__ inline f32 point_place(Numbers all, u32 point) {
    return number(all, AT_POINTS + point * POINT);
}

// The step that is tried: 0 for a sample that has arrived or spent its budget.
__device__ inline f32 step_of(Numbers all, const Progress& at) {
    if (static_cast<f32>(at.accepted + at.rejected) >= number(all, AT_BUDGET)) {
        return 0.0f;
    }
    return fmaxf(fminf(at.h, number(all, AT_LAMBDA_END) - at.lambda), 0.0f);
}

__device__ inline f32 ln_sigma_of(Numbers all, u32 stage, const Progress& at) {
    f32 place = 0.0f;
    if (stage >= STAGE_STEP) {
        place = point_place(all, stage - STAGE_STEP);
    }
    return -(at.lambda + place * step_of(all, at));
}

// The time of the clock, which goes on beyond its ends.
__device__ inline f32 clock_time(Numbers all, f32 ln_sigma) {
    const u32 first = AT_POINTS + POINTS * POINT;
    u32 low = 0u;
    u32 high = code(all, AT_CLOCK) - 1u;
    while (high - low > 1u) {
        const u32 middle = (low + high) / 2u;
        if (number(all, first + 2u * middle) < ln_sigma) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const u32 i = first + 2u * low;
    const f32 slope =
        (number(all, i + 3u) - number(all, i + 1u)) / (number(all, i + 2u) - number(all, i));
    return number(all, i + 1u) + slope * (ln_sigma - number(all, i));
}

// x over the network's own x, where x is x0 + sigma eps.
__device__ inline f32 network_norm(Numbers all, f32 s) {
    switch (code(all, AT_COORDINATES)) {
    case VARIANCE_PRESERVING:
        return sqrtf(s * s + 1.0f);
    case VARIANCE_EXPLODING:
        return 1.0f;
    case SUB_VARIANCE_PRESERVING:
        return 0.5f * (sqrtf(s * s + 4.0f) + s);
    case FLOW:
        return 1.0f + s;
    default: {
        const f32 data = number(all, AT_SIGMA_DATA);
        return sqrtf(s * s + data * data);
    }
    }
}

// (what the network is told, c_in) at a stage.
__device__ inline float2 network_input(Numbers all, u32 stage, const Progress& at) {
    const f32 ln_sigma = ln_sigma_of(all, stage, at);
    const f32 sigma = expf(ln_sigma);
    const f32 time = code(all, AT_TOLD_SIGMA) == 0u ? clock_time(all, ln_sigma) : sigma;
    return make_float2(time, 1.0f / network_norm(all, sigma));
}

// (x0_x, x0_f, eps_x, eps_f) at sigma = s.
__device__ inline float4 network_reading(Numbers all, f32 s) {
    const f32 sign = number(all, AT_SIGN);
    if (code(all, AT_COORDINATES) == EDM) {
        const f32 skip = s - number(all, AT_SIGMA_MIN);
        const f32 data = number(all, AT_SIGMA_DATA);
        const f32 square = skip * skip + data * data;
        const f32 f = sign * skip * data / network_norm(all, s);
        return make_float4(data * data / square, f, skip * skip / square / s, -f / s);
    }
    const f32 square = 1.0f + s * s;
    const f32 n = sqrtf(square);
    switch (code(all, AT_PREDICTION)) {
    case EPSILON:
        return make_float4(1.0f, -sign * s, 0.0f, sign);
    case SAMPLE:
        return make_float4(0.0f, 1.0f, 1.0f / s, -1.0f / s);
    case V_PREDICTION:
        return make_float4(1.0f / square, -s / n, s / square, 1.0f / n);
    case SCORE: {
        const f32 own = s / network_norm(all, s);
        return make_float4(1.0f, s * own, 0.0f, -own);
    }
    default: {
        const f32 own = 1.0f + s;
        return make_float4(1.0f / own, -s / own, 1.0f / own, 1.0f / own);
    }
    }
}

// `read` with how the network is read at the place of its stage.
__device__ inline Reading read_at(
    Numbers all, const Reading& read, u32 stage, const Progress& at) {
    const f32 s = expf(ln_sigma_of(all, stage, at));
    const float4 c = network_reading(all, s);
    Reading r = read;
    r.x0_x = c.x;
    r.x0_f = c.y;
    r.eps_x = c.z;
    r.eps_f = c.w;
    r.eps_x0 = 0.0f;
    r.flags &= ~(ROW_GUIDE | ROW_UNCOND_EPS);
    if (number(all, AT_ABOVE) < s && s <= number(all, AT_MOST)) {
        r.flags |= code(all, AT_PLUS_PLUS) != 0u ? ROW_GUIDE | ROW_UNCOND_EPS : ROW_GUIDE;
    }
    if (code(all, AT_CLIPPED_EPS) != 0u && (r.flags & ROW_UNCOND_EPS) == 0u) {
        r.eps_x = 1.0f / s;
        r.eps_f = 0.0f;
        r.eps_x0 = -1.0f / s;
    }
    return r;
}

// phi(u) = 1 - exp(-u) and psi(u) = phi(u) / u - exp(-u); their series where they cancel.
__device__ inline f32 phi(f32 u) {
    if (u > 0.25f) {
        return 1.0f - expf(-u);
    }
    return u * (1.0f - u / 2.0f * (1.0f - u / 3.0f * (1.0f - u / 4.0f * (1.0f - u / 5.0f
        * (1.0f - u / 6.0f)))));
}

__device__ inline f32 psi(f32 u) {
    if (u > 0.25f) {
        return phi(u) / u - expf(-u);
    }
    return u / 2.0f * (1.0f - 2.0f * u / 3.0f * (1.0f - 3.0f * u / 8.0f * (1.0f
        - 4.0f * u / 15.0f * (1.0f - 5.0f * u / 24.0f * (1.0f - 6.0f * u / 35.0f)))));
}

// What evaluation e, made at a place of the step, weighs in a point.
__device__ inline f32 coefficient(
    Numbers all, u32 point, u32 e, f32 evaluated, const Progress& at) {
    const f32 h = step_of(all, at);
    const u32 weights = AT_POINTS + point * POINT + 1u + 3u * e;
    const f32 u = point_place(all, point) * h;
    const f32 slope = number(all, weights) * h * expf(-evaluated * h);
    return -expf(-at.lambda)
        * (slope + number(all, weights + 1u) * phi(u) + number(all, weights + 2u) * psi(u));
}

// `mix` with `sign` times a point's sum over the evaluations that `row` knows, its own the last.
__device__ inline Mix plus_point(
    Numbers all, const Mix& mix, f32 sign, u32 point, u32 row, const Progress& at) {
    Mix m = mix;
    const u32 carried = code(all, AT_CARRIES);
    for (u32 e = 0u; e <= row + carried; e++) {
        if (e < carried) {
            m.h[row] += sign * coefficient(all, point, e, 0.0f, at);
            continue;
        }
        const f32 c = sign * coefficient(all, point, e, point_place(all, e - carried), at);
        if (e == row + carried) {
            m.eps += c;
        } else {
            m.h[row + carried - e - 1u] += c;
        }
    }
    return m;
}

__device__ inline Mix mix_of(f32 x, f32 x0, f32 eps, f32 saved) {
    return {x, x0, eps, saved, {}, 0.0f, 0.0f};
}

// The evaluation carried to the step in which `row` decides.
__device__ inline Mix mix_past(u32 row) {
    Mix m = {};
    m.h[row] = 1.0f;
    return m;
}

// x at the end of the step: by the higher order, and by the lower.
__device__ inline Mix mix_end(Numbers all, u32 row, const Progress& at) {
    if (code(all, AT_CARRIES) != 0u) {
        return mix_of(1.0f, 0.0f, 0.0f, 0.0f);
    }
    return plus_point(all, mix_of(0.0f, 0.0f, 0.0f, 1.0f), 1.0f, row + 1u, row, at);
}

__device__ inline Mix mix_lower(Numbers all, u32 row, const Progress& at) {
    return plus_point(all, mix_end(all, row, at), -1.0f, POINTS - 1u, row, at);
}

// Whether a row is the last of a step.
__device__ inline bool decides(Numbers all, u32 stage) {
    return stage == STAGE_STEP + code(all, AT_ROWS) - 1u;
}

// What the error is measured by.
__device__ inline f32 error_scale(Numbers all, f32 a, f32 b) {
    const f32 absolute = number(all, AT_ATOL);
    const f32 relative = number(all, AT_RTOL) * fmaxf(fabsf(a), fabsf(b));
    return code(all, AT_LIMITER) == 0u ? absolute + relative : fmaxf(absolute, relative);
}

// The progress after a step whose error has that norm; too large where it is not finite.
__device__ inline Progress advance(Numbers all, f32 found, const Progress& at) {
    const f32 step = step_of(all, at);
    if (step == 0.0f) {
        return at;
    }
    f32 norm = found;
    if ((__float_as_uint(norm) & 0x7fffffffu) >= 0x7f800000u) {
        norm = 1e30f;
    }
    const f32 most = at.retries != 0u ? 1.0f : 10.0f;
    f32 factor = fminf(fmaxf(0.9f * powf(fmaxf(norm, 1e-30f), -0.2f), 0.2f), most);
    bool accept = norm < 1.0f;
    const f32 order = number(all, AT_LIMITER);
    if (order != 0.0f) {
        factor = 1.0f + atanf(powf(norm + 1e-8f, -1.0f / order) - 1.0f);
        accept = factor >= 0.81f;
    }
    if (!accept) {
        return {at.lambda, factor * step, at.accepted, at.rejected + 1u, 1u};
    }
    // This close to the end it has arrived.
    const f32 end = number(all, AT_LAMBDA_END);
    const f32 lambda = at.lambda + step >= end - 1e-5f ? end : at.lambda + step;
    return {lambda, factor * step, at.accepted + 1u, at.rejected, 0u};
}

// `a + c b` in the terms of adaptive rows.
__device__ inline Mix plus_mix(const Mix& a, f32 c, const Mix& b) {
    Mix m = a;
    m.x += c * b.x;
    m.eps += c * b.eps;
    m.saved += c * b.saved;
    for (u32 j = 0u; j < HISTORY; j++) {
        m.h[j] += c * b.h[j];
    }
    return m;
}

struct Mixes {
    Mix x;
    Mix saved;
    Mix push;
};

// The update of a row that tried its step in `before`.
__device__ inline Mixes mixes(
    Numbers all, u32 stage, const Progress& before, const Progress& after) {
    const Mix saved = mix_of(0.0f, 0.0f, 0.0f, 1.0f);
    const Mix eps = mix_of(0.0f, 0.0f, 1.0f, 0.0f);
    // What the carried evaluation adds to reach the first point of the step to come.
    const f32 lead = coefficient(all, 0u, 0u, 0.0f, after);
    if (stage == STAGE_START) {
        return {mix_of(1.0f, 0.0f, lead, 0.0f), mix_of(1.0f, 0.0f, 0.0f, 0.0f), eps};
    }
    if (stage == STAGE_FINISH) {
        return {mix_of(0.0f, 1.0f, 0.0f, 0.0f), {}, {}};
    }
    const u32 row = stage - STAGE_STEP;
    if (!decides(all, stage)) {
        return {plus_point(all, saved, 1.0f, row + 1u, row, before), {}, eps};
    }
    if (after.accepted == before.accepted) {
        const Mix past = mix_past(row);
        return {plus_mix(saved, lead, past), saved, past};
    }
    const Mix end = mix_end(all, row, before);
    const Mix carried = code(all, AT_CARRIES) == 0u ? mix_lower(all, row, before) : eps;
    return {plus_mix(end, lead, carried), end, carried};
}
