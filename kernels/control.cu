// live[sample] = the row of the cursor with what its evaluation tells: src/ops/control.rs.
// x [b, c, hw] with its report, f [b or 2 b, hw, cf], table of Row, live [b] Row, times [b].
// One workgroup a sample, of fewer threads for small ones; one for all for means over the batch.
// Bandwidth: reads x and f once for a norm, twice for a rescale, five times for a threshold.
// Reference: src/ops/control.rs
struct Params {
//!include step_fields
    u32 batch;
    u32 adaptive;
};

// THREADS comes with the call: as many as a small sample has blocks of four elements.

__device__ inline u32 state_numel(const Params& p) {
    return p.c * p.hw;
}

//!include prediction
//!include reduce
#ifdef HAS_F
//!include output
#endif
#ifdef HAS_TIMES
//!include adaptive
#else
//!include draw
#endif

struct Shared {
    Reduction reduction;
    // How the sample at hand is read: the row's, until more of it is known.
    Reading reading;
#ifdef HAS_TIMES
    // How far it had come before the row, and the mixes that its error is taken of: e, a and b.
    Progress before;
    Mix of_error[3];
#endif
};
constexpr u32 SHARED_BYTES = sizeof(Shared);

__device__ inline Shared& own() {
    return shared<Shared>();
}

__device__ inline Row& live_row(const Args& a, u32 sample) {
    return reinterpret_cast<Row*>(a.live)[sample];
}

constexpr u32 SUM_OUTPUTS = 0u;
constexpr u32 SUM_DEVIATIONS = 1u;
constexpr u32 SUM_NORMS = 2u;
constexpr u32 SUM_ERRORS = 3u;

#ifdef HAS_F
// (x0, eps) of element e.
__device__ inline float2 predict(const Params& p, const Args& a, u32 sample, u32 e) {
    const Reading& r = own().reading;
    const float4 value = all4(a.x[sample * state_numel(p) + e]);
    const float2 f_value = output(p, a, r, sample, e % p.hw, e / p.hw);
    const float4 x0 = predict_x0(r, value, all4(f_value.x));
    return make_float2(x0.x, predict_eps(r, value, all4(f_value.y), x0).x);
}

__device__ inline u32 size_bits(const Params& p, const Args& a, u32 sample, u32 e) {
    return __float_as_uint(predict(p, a, sample, e).x) & 0x7fffffffu;
}

// (C, F before it is scaled) of element e.
__device__ inline float2 outputs(const Params& p, const Args& a, u32 sample, u32 e) {
    const float2 pair = output_pair(p, a, own().reading, sample, e % p.hw, e / p.hw);
    return make_float2(pair.x, guide(a, sample, pair));
}

#ifdef HAS_TIMES
// What a mix of the error is for element `i` of the state.
__device__ inline f32 mixed(
    const Params& p, const Args& a, const At& at, u32 which, u32 i, f32 eps) {
    const Mix& mix = own().of_error[which];
    f32 v = mix.x * a.x[i] + mix.eps * eps + mix.saved * a.saved[i];
    for (u32 j = 0u; j < smaller(p.depth, HISTORY); j++) {
        const f32 c = mix.h[j];
        if (c != 0.0f) {
            const u32 newest = table_row(a, at.cursor.row).ring + p.depth - 1u;
            v += c * a.history[(newest - j) % p.depth * p.b * state_numel(p) + i];
        }
    }
    return v;
}

__device__ inline float2 addend(
    const Params& p, const Args& a, const At& at, u32 sample, u32 e, f32) {
    const u32 i = sample * state_numel(p) + e;
    const f32 eps = predict(p, a, sample, e).y;
    const f32 scale = error_scale(
        numbers_of(p, a), mixed(p, a, at, 1u, i, eps), mixed(p, a, at, 2u, i, eps));
    const f32 error = mixed(p, a, at, 0u, i, eps) / scale;
    return make_float2(error, error);
}

__device__ inline float4 drawn(const Params&, const Args&, const At&, u32, u32, u32) {
    return zeros();
}
#else
__device__ inline float2 addend(
    const Params& p, const Args& a, const At& at, u32 sample, u32 e, f32 noise) {
    const Row& row = table_row(a, at.cursor.row);
    f32 z = noise;
    if (row_has(row, ROW_LEARNED)) {
        z *= output_noise_scale(p, a, row, sample, e % p.hw, e / p.hw);
    }
    return make_float2(z, predict(p, a, sample, e).y);
}

__device__ inline float4 drawn(
    const Params& p, const Args& a, const At& at, u32 sample, u32 what, u32 block) {
    const Row& row = table_row(a, at.cursor.row);
    if (what == SUM_NORMS && uses_draw(row, 0u)) {
        return draw_block(p, a, row, 0u, sample, block);
    }
    return zeros();
}
#endif

// The two addends of four elements, `lanes` of them.
__device__ inline float2 addends(const Params& p, const Args& a, const At& at, u32 sample,
    u32 what, u32 block, u32 lanes, float2 about) {
    const float4 z = drawn(p, a, at, sample, what, block);
    float2 sum = make_float2(0.0f, 0.0f);
    for (u32 i = 0u; i < lanes; i++) {
        const u32 e = 4u * block + i;
        if (what == SUM_OUTPUTS) {
            sum = sum + (outputs(p, a, sample, e) - about);
        } else if (what == SUM_DEVIATIONS) {
            const float2 v = outputs(p, a, sample, e) - about;
            sum = sum + v * v;
        } else {
            const float2 v = addend(p, a, at, sample, e, element(z, i));
            sum = sum + v * v;
        }
    }
    return sum;
}

// Two sums over the elements of a sample, in an order that only their number fixes.
__device__ inline float2 sums(
    const Params& p, const Args& a, const At& at, u32 sample, u32 what, float2 about) {
    const u32 numel = state_numel(p);
    float2 sum = make_float2(0.0f, 0.0f);
    float2 part = make_float2(0.0f, 0.0f);
    u32 parts = 0u;
    for (u32 block = threadIdx.x; block < (numel + 3u) / 4u; block += THREADS) {
        const u32 lanes = smaller(4u, numel - 4u * block);
        part = part + addends(p, a, at, sample, what, block, lanes, about);
        parts += 1u;
        // Sums of sums: the rounding of a long one would show.
        if (parts % 16u == 0u) {
            sum = sum + part;
            part = make_float2(0.0f, 0.0f);
        }
    }
    return workgroup_sum(own().reduction, sum + part);
}

// rescale std(C) / std(F) + 1 - rescale. Against the first element, so that equal elements deviate
// by nothing at all.
__device__ inline f32 guidance_scale(
    const Params& p, const Args& a, const At& at, u32 sample) {
    const float2 first = outputs(p, a, sample, 0u);
    const float2 sum = sums(p, a, at, sample, SUM_OUTPUTS, first);
    const float2 mean = first + sum / static_cast<f32>(state_numel(p));
    const float2 squares = sums(p, a, at, sample, SUM_DEVIATIONS, mean);
    const f32 phi = table_row(a, at.cursor.row).rescale;
    return guides(p, own().reading)
        ? phi * (sqrtf(squares.x) / sqrtf(squares.y)) + 1.0f - phi : 1.0f;
}

// The quantile of |x0|, not below 1 nor above threshold_max. Numbers that are not negative are
// ordered as their bits, NaN last: the rank is found eight bits at a time.
__device__ inline f32 threshold(const Params& p, const Args& a, const At& at, u32 sample) {
    Reduction& reduction = own().reduction;
    const Row& row = table_row(a, at.cursor.row);
    const u32 numel = state_numel(p);
    Rank found = {0u, row.threshold_rank, 0u};
    u32 mask = 0u;
    for (u32 turn = 0u; turn < 4u; turn++) {
        const u32 shift = 24u - 8u * turn;
        clear_bins(reduction);
        for (u32 e = threadIdx.x; e < numel; e += THREADS) {
            const u32 bits = size_bits(p, a, sample, e);
            if ((bits & mask) == found.bits) {
                count_bin(reduction, bits >> shift & 255u);
            }
        }
        found = narrow(reduction, found, shift);
        mask |= 255u << shift;
    }
    // The least above, and the largest of all.
    u32 above = 0xffffffffu;
    u32 largest = 0u;
    for (u32 e = threadIdx.x; e < numel; e += THREADS) {
        const u32 bits = size_bits(p, a, sample, e);
        above = bits > found.bits ? smaller(above, bits) : above;
        largest = larger(largest, bits);
    }
    above = workgroup_least(reduction, above);
    largest = ~workgroup_least(reduction, ~largest);
    if (largest > 0x7f800000u) {
        return __uint_as_float(largest);
    }
    const f32 low = __uint_as_float(found.bits);
    const f32 high = __uint_as_float(found.rank + 1u < found.count ? found.bits : above);
    f32 quantile = low;
    if (row.threshold_part != 0.0f) {
        quantile = low + row.threshold_part * (high - low);
    }
    return fminf(fmaxf(quantile, 1.0f), row.threshold_max);
}

// What the elements of a sample tell: the rest of its reading, and its sums.
__device__ inline float2 evaluate(const Params& p, const Args& a, const At& at, u32 sample) {
    const Row& row = table_row(a, at.cursor.row);
    const float2 none = make_float2(0.0f, 0.0f);
    Reading& reading = own().reading;
    if (p.guided != 0u && row.rescale != 0.0f) {
        const f32 scale = guidance_scale(p, a, at, sample);
        if (threadIdx.x == 0u) {
            reading.f_scale = scale;
        }
        __syncthreads();
    }
    if (row_has(row, ROW_THRESHOLD)) {
        const f32 bound = threshold(p, a, at, sample);
        if (threadIdx.x == 0u) {
            // Of a number and NaN, fminf gives the number.
            reading.clip = fminf(reading.clip, bound);
            reading.x0_scale = 1.0f / bound;
        }
        __syncthreads();
    }
#ifdef HAS_TIMES
    if (decides(numbers_of(p, a), row.stage)) {
        const float2 errors = sums(p, a, at, sample, SUM_ERRORS, none);
        return errors / static_cast<f32>(state_numel(p));
    }
#else
    if (row_has(row, ROW_SNR)) {
        const float2 norms = sums(p, a, at, sample, SUM_NORMS, none);
        return make_float2(sqrtf(norms.x), sqrtf(norms.y));
    }
#endif
    return none;
}
#endif

#ifdef HAS_TIMES
__device__ inline Progress progress_of(const Row& row) {
    return {row.lambda, row.h, row.accepted, row.rejected, row.retries};
}

__device__ inline void write_progress(Row& row, const Progress& at) {
    row.lambda = at.lambda;
    row.h = at.h;
    row.accepted = at.accepted;
    row.rejected = at.rejected;
    row.retries = at.retries;
}
#endif

// The reading of a sample as far as its row and its progress tell.
__device__ inline void begin(const Params& p, const Args& a, const At& at, u32 sample) {
    Shared& s = own();
    s.reading = reading_of(table_row(a, at.cursor.row));
#ifdef HAS_TIMES
    const Numbers all = numbers_of(p, a);
    const u32 stage = table_row(a, at.cursor.row).stage;
    s.before = progress_of(live_row(a, sample));
    if (stage == STAGE_INIT) {
        s.before = progress_start(all);
        return;
    }
    s.reading = read_at(all, s.reading, stage, s.before);
    if (decides(all, stage)) {
        const u32 row = code(all, AT_ROWS) - 1u;
        s.of_error[0] = plus_point(all, {}, 1.0f, POINTS - 1u, row, s.before);
        s.of_error[1] = mix_of(0.0f, 0.0f, 0.0f, 1.0f);
        s.of_error[2] = mix_of(1.0f, 0.0f, 0.0f, 0.0f);
        if (code(all, AT_CARRIES) == 0u) {
            s.of_error[1] = mix_lower(all, row, s.before);
            s.of_error[2] = mix_past(row);
        }
    }
#endif
}

// The sample's row, but for what the sums of the batch tell.
__device__ inline void write_live(const Args& a, const At& at, u32 sample) {
    const Reading& r = own().reading;
    Row row = table_row(a, at.cursor.row);
    row.x0_x = r.x0_x;
    row.x0_f = r.x0_f;
    row.clip = r.clip;
    row.x0_scale = r.x0_scale;
    row.eps_x = r.eps_x;
    row.eps_f = r.eps_f;
    row.eps_x0 = r.eps_x0;
    row.f_scale = r.f_scale;
    row.flags = r.flags;
#ifdef HAS_TIMES
    write_progress(row, own().before);
#endif
    live_row(a, sample) = row;
}

#ifdef HAS_TIMES
// The update of the row and what the next one asks the network, from the mean square of the error.
__device__ inline void finish(
    const Params& p, const Args& a, const At& at, u32 sample, float2 sum) {
    const Numbers all = numbers_of(p, a);
    Row& live = live_row(a, sample);
    const u32 stage = table_row(a, at.cursor.row).stage;
    const Progress past = progress_of(live);
    Progress after = past;
    if (decides(all, stage)) {
        after = advance(all, sqrtf(sum.x), past);
    }
    if (stage != STAGE_INIT) {
        const Mixes m = mixes(all, stage, past, after);
        live.x = m.x;
        live.saved = m.saved;
        live.push = m.push;
    }
    const u32 next = table_row(a, at.cursor.row + 1u).stage;
    if (next != 0u) {
        const float2 input = network_input(all, next, after);
        a.times[sample] = input.x;
        live.c_in = input.y;
    }
    write_progress(live, after);
    f32* report = a.x + p.b * state_numel(p) + REPORT * sample;
    report[0] = static_cast<f32>(after.accepted);
    report[1] = static_cast<f32>(after.rejected);
    report[2] = after.lambda;
}
#else
// Scales the update of x by the step size that the norms of noise and eps give.
__device__ inline void finish(
    const Params&, const Args& a, const At& at, u32 sample, float2 norms) {
    const Row& row = table_row(a, at.cursor.row);
    if (!row_has(row, ROW_SNR)) {
        return;
    }
    f32 ratio = row.snr_ratio * norms.x / (fabsf(row.x.eps) * norms.y);
    // Infinite or NaN: no step size follows.
    const u32 bits = larger(__float_as_uint(norms.x), __float_as_uint(norms.y));
    if (bits >= 0x7f800000u) {
        ratio = __uint_as_float(bits | 0x400000u);
    }
    const f32 root = sqrtf(2.0f * row.snr_factor) * ratio;
    Row& live = live_row(a, sample);
    live.x.eps = row.x.eps * root * root;
    live.x.z0 = row.x.z0 * root;
    live.x.z1 = row.x.z1 * root;
}
#endif

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const bool all = p.batch != 0u;
    const u32 first = all ? 0u : at.block;
    const u32 last = all ? (at.block == 0u ? p.b : 0u) : smaller(at.block + 1u, p.b);
    float2 sum = make_float2(0.0f, 0.0f);
    for (u32 sample = first; sample < last; sample++) {
        if (threadIdx.x == 0u) {
            begin(p, a, at, sample);
        }
        __syncthreads();
#ifdef HAS_F
        sum = sum + evaluate(p, a, at, sample);
#endif
        if (threadIdx.x == 0u) {
            write_live(a, at, sample);
        }
        __syncthreads();
    }
    if (threadIdx.x == 0u && first < last) {
        sum = sum / static_cast<f32>(last - first);
        for (u32 sample = first; sample < last; sample++) {
            finish(p, a, at, sample, sum);
        }
    }
}
