// live[sample] = the row of the cursor with what its evaluation tells: src/ops/control.rs.
// x [b, c, hw] with its report, f [b or 2 b, hw, cf], table of Row, live [b] Row, times [b].
// One workgroup a sample, of fewer threads for small ones; one for all for means over the batch.
// Bandwidth: reads x and f once for a norm, twice for a rescale, five times for a threshold.
// Reference: src/ops/control.rs
//!include grid
//!include prediction
//!include reduce
//!include row
#ifdef HAS_F
//!include output
#endif
#ifdef HAS_TIMES
//!include adaptive
#else
//!include draw
#endif

struct Params {
//!include step_fields
    batch: u32,
    adaptive: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<x_t>;
#ifdef HAS_F
@group(0) @binding(2) var<storage, read> f: array<f_t>;
#endif
@group(0) @binding(3) var<storage, read> table: array<Row>;
@group(0) @binding(4) var<storage, read> run: array<run_t>;
#ifdef HAS_DRAWS
@group(0) @binding(5) var<storage, read> draws: array<draws_t>;
#endif
@group(0) @binding(6) var<storage, read_write> live: array<Row>;
#ifdef HAS_SAVED
@group(0) @binding(7) var<storage, read> saved: array<saved_t>;
#endif
#ifdef HAS_HISTORY
@group(0) @binding(8) var<storage, read> history: array<history_t>;
#endif
#ifdef HAS_TIMES
@group(0) @binding(9) var<storage, read_write> times: array<times_t>;
#endif

fn state_numel() -> u32 {
    return p.c * p.hw;
}

// How the sample at hand is read: the row's, until more of it is known.
var<workgroup> reading: Reading;
#ifdef HAS_TIMES
// How far it had come before the row, and the mixes that its error is taken of: e, a and b.
var<workgroup> before: Progress;
var<workgroup> of_error: array<Mix, 3>;
#endif

const SUM_OUTPUTS: u32 = 0u;
const SUM_DEVIATIONS: u32 = 1u;
const SUM_NORMS: u32 = 2u;
const SUM_ERRORS: u32 = 3u;

#ifdef HAS_F
// (x0, eps) of element e.
fn predict(sample: u32, e: u32) -> vec2<f32> {
    let r = reading;
    let value = vec4<f32>(f32(x[sample * state_numel() + e]));
    let f_value = output(r, sample, e % p.hw, e / p.hw);
    let x0 = predict_x0(r, value, vec4<f32>(f_value.x));
    return vec2<f32>(x0.x, predict_eps(r, value, vec4<f32>(f_value.y), x0).x);
}

fn size_bits(sample: u32, e: u32) -> u32 {
    return bitcast<u32>(predict(sample, e).x) & 0x7fffffffu;
}

// (C, F before it is scaled) of element e.
fn outputs(sample: u32, e: u32) -> vec2<f32> {
    let pair = output_pair(reading, sample, e % p.hw, e / p.hw);
    return vec2<f32>(pair.x, guide(sample, pair));
}

#ifdef HAS_TIMES
// What a mix of the error is for element `at` of the state.
fn mixed(i: u32, at: u32, eps: f32) -> f32 {
    var v = of_error[i].x * x[at] + of_error[i].eps * eps + of_error[i].saved * saved[at];
    for (var j = 0u; j < min(p.depth, HISTORY); j++) {
        let c = of_error[i].h[j];
        if c != 0.0 {
            let ring = (table[cursor.row].ring + p.depth - 1u - j) % p.depth;
            v += c * history[ring * p.b * state_numel() + at];
        }
    }
    return v;
}

fn addend(sample: u32, what: u32, e: u32, noise: f32) -> vec2<f32> {
    let at = sample * state_numel() + e;
    let eps = predict(sample, e).y;
    return vec2<f32>(mixed(0u, at, eps) / error_scale(mixed(1u, at, eps), mixed(2u, at, eps)));
}

fn drawn(sample: u32, what: u32, block: u32) -> vec4<f32> {
    return vec4<f32>();
}
#else
fn addend(sample: u32, what: u32, e: u32, noise: f32) -> vec2<f32> {
    var z = noise;
    if row_has(cursor.row, ROW_LEARNED) {
        z *= output_noise_scale(cursor.row, sample, e % p.hw, e / p.hw);
    }
    return vec2<f32>(z, predict(sample, e).y);
}

fn drawn(sample: u32, what: u32, block: u32) -> vec4<f32> {
    if what == SUM_NORMS && uses_draw(cursor.row, 0u) {
        return draw_block(cursor.row, 0u, sample, block);
    }
    return vec4<f32>();
}
#endif

// The two addends of four elements, `lanes` of them.
fn addends(sample: u32, what: u32, block: u32, lanes: u32, about: vec2<f32>) -> vec2<f32> {
    let z = drawn(sample, what, block);
    var sum = vec2<f32>();
    for (var i = 0u; i < lanes; i++) {
        let e = 4u * block + i;
        if what == SUM_OUTPUTS {
            sum += outputs(sample, e) - about;
        } else if what == SUM_DEVIATIONS {
            let v = outputs(sample, e) - about;
            sum += v * v;
        } else {
            let v = addend(sample, what, e, z[i]);
            sum += v * v;
        }
    }
    return sum;
}

// Two sums over the elements of a sample, in an order that only their number fixes.
fn sums(sample: u32, what: u32, about: vec2<f32>, thread: u32) -> vec2<f32> {
    let numel = state_numel();
    var sum = vec2<f32>();
    var part = vec2<f32>();
    var parts = 0u;
    for (var block = thread; block < (numel + 3u) / 4u; block += THREADS) {
        part += addends(sample, what, block, min(4u, numel - 4u * block), about);
        parts += 1u;
        // Sums of sums: the rounding of a long one would show.
        if parts % 16u == 0u {
            sum += part;
            part = vec2<f32>();
        }
    }
    return workgroup_sum(sum + part, thread);
}

// rescale std(C) / std(F) + 1 - rescale. Against the first element, so that equal elements deviate
// by nothing at all.
fn guidance_scale(sample: u32, thread: u32) -> f32 {
    let first = outputs(sample, 0u);
    let mean = first + sums(sample, SUM_OUTPUTS, first, thread) / f32(state_numel());
    let deviations = sqrt(sums(sample, SUM_DEVIATIONS, mean, thread));
    let phi = table[cursor.row].rescale;
    return select(1.0, phi * (deviations.x / deviations.y) + 1.0 - phi, guides(reading));
}

// The quantile of |x0|, not below 1 nor above threshold_max. Numbers that are not negative are
// ordered as their bits, NaN last: the rank is found eight bits at a time.
fn threshold(sample: u32, thread: u32) -> f32 {
    let numel = state_numel();
    var found = Rank(0u, table[cursor.row].threshold_rank, 0u);
    var mask = 0u;
    for (var turn = 0u; turn < 4u; turn++) {
        let shift = 24u - 8u * turn;
        clear_bins(thread);
        for (var e = thread; e < numel; e += THREADS) {
            let bits = size_bits(sample, e);
            if (bits & mask) == found.bits {
                count_bin((bits >> shift) & 255u);
            }
        }
        found = narrow(found, shift, thread);
        mask |= 255u << shift;
    }
    // The least above, and the largest of all.
    var above = 0xffffffffu;
    var largest = 0u;
    for (var e = thread; e < numel; e += THREADS) {
        let bits = size_bits(sample, e);
        above = select(above, min(above, bits), bits > found.bits);
        largest = max(largest, bits);
    }
    above = workgroup_least(above, thread);
    largest = ~workgroup_least(~largest, thread);
    if largest > 0x7f800000u {
        return bitcast<f32>(largest);
    }
    let low = bitcast<f32>(found.bits);
    let high = bitcast<f32>(select(above, found.bits, found.rank + 1u < found.count));
    let part = table[cursor.row].threshold_part;
    var quantile = low;
    if part != 0.0 {
        quantile = low + part * (high - low);
    }
    return min(max(quantile, 1.0), table[cursor.row].threshold_max);
}

// What the elements of a sample tell: the rest of its reading, and its sums.
fn evaluate(sample: u32, thread: u32) -> vec2<f32> {
    if p.guided != 0u && table[cursor.row].rescale != 0.0 {
        let scale = guidance_scale(sample, thread);
        if thread == 0u {
            reading.f_scale = scale;
        }
        workgroupBarrier();
    }
    if row_has(cursor.row, ROW_THRESHOLD) {
        let bound = threshold(sample, thread);
        if thread == 0u {
            // The minimum of a number and NaN may be either.
            let nan = (bitcast<u32>(bound) & 0x7fffffffu) > 0x7f800000u;
            reading.clip = select(min(reading.clip, bound), reading.clip, nan);
            reading.x0_scale = 1.0 / bound;
        }
        workgroupBarrier();
    }
#ifdef HAS_TIMES
    if decides(table[cursor.row].stage) {
        return sums(sample, SUM_ERRORS, vec2<f32>(), thread) / f32(state_numel());
    }
#else
    if row_has(cursor.row, ROW_SNR) {
        return sqrt(sums(sample, SUM_NORMS, vec2<f32>(), thread));
    }
#endif
    return vec2<f32>();
}
#endif

// The reading of a sample as far as its row and its progress tell.
fn begin(sample: u32) {
    reading = reading_of(cursor.row);
#ifdef HAS_TIMES
    let stage = table[cursor.row].stage;
    before = Progress(live[sample].lambda, live[sample].h, live[sample].accepted,
        live[sample].rejected, live[sample].retries);
    if stage == STAGE_INIT {
        before = progress_start();
        return;
    }
    reading = read_at(reading, stage, before);
    if decides(stage) {
        let row = code(AT_ROWS) - 1u;
        of_error[0] = plus_point(Mix(), 1.0, POINTS - 1u, row, before);
        of_error[1] = mix_of(0.0, 0.0, 0.0, 1.0);
        of_error[2] = mix_of(1.0, 0.0, 0.0, 0.0);
        if code(AT_CARRIES) == 0u {
            of_error[1] = mix_lower(row, before);
            of_error[2] = mix_past(row);
        }
    }
#endif
}

// The sample's row, but for what the sums of the batch tell.
fn write_live(sample: u32) {
    let r = reading;
    var row = table[cursor.row];
    row.x0_x = r.x0_x;
    row.x0_f = r.x0_f;
    row.clip = r.clip;
    row.x0_scale = r.x0_scale;
    row.eps_x = r.eps_x;
    row.eps_f = r.eps_f;
    row.eps_x0 = r.eps_x0;
    row.f_scale = r.f_scale;
    row.flags = r.flags;
    live[sample] = row;
#ifdef HAS_TIMES
    write_progress(sample, before);
#endif
}

#ifdef HAS_TIMES
fn write_progress(sample: u32, at: Progress) {
    live[sample].lambda = at.lambda;
    live[sample].h = at.h;
    live[sample].accepted = at.accepted;
    live[sample].rejected = at.rejected;
    live[sample].retries = at.retries;
}

// The update of the row and what the next one asks the network, from the mean square of the error.
fn finish(sample: u32, sum: vec2<f32>) {
    let stage = table[cursor.row].stage;
    let past = Progress(live[sample].lambda, live[sample].h, live[sample].accepted,
        live[sample].rejected, live[sample].retries);
    var after = past;
    if decides(stage) {
        after = advance(sqrt(sum.x), past);
    }
    if stage != STAGE_INIT {
        let m = mixes(stage, past, after);
        live[sample].x = m.x;
        live[sample].saved = m.saved;
        live[sample].push = m.push;
    }
    let next = table[cursor.row + 1u].stage;
    if next != 0u {
        let input = network_input(next, after);
        times[sample] = input.x;
        live[sample].c_in = input.y;
    }
    write_progress(sample, after);
    let report = p.b * state_numel() + REPORT * sample;
    x[report] = f32(after.accepted);
    x[report + 1u] = f32(after.rejected);
    x[report + 2u] = after.lambda;
}
#else
// Scales the update of x by the step size that the norms of noise and eps give.
fn finish(sample: u32, norms: vec2<f32>) {
    if !row_has(cursor.row, ROW_SNR) {
        return;
    }
    var ratio = table[cursor.row].snr_ratio * norms.x / (abs(table[cursor.row].x.eps) * norms.y);
    let bits = max(bitcast<u32>(norms.x), bitcast<u32>(norms.y));
    if bits >= 0x7f800000u {
        ratio = bitcast<f32>(bits | 0x400000u);
    }
    let root = sqrt(2.0 * table[cursor.row].snr_factor) * ratio;
    live[sample].x.eps = table[cursor.row].x.eps * root * root;
    live[sample].x.z0 = table[cursor.row].x.z0 * root;
    live[sample].x.z1 = table[cursor.row].x.z1 * root;
}
#endif

@compute @workgroup_size(THREADS)
fn control(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let number = workgroup_number(id, grid);
    let first = select(number, 0u, p.batch != 0u);
    let last = select(min(number + 1u, p.b), select(0u, p.b, number == 0u), p.batch != 0u);
    var sum = vec2<f32>();
    for (var sample = first; sample < last; sample++) {
        if thread == 0u {
            begin(sample);
        }
        workgroupBarrier();
#ifdef HAS_F
        sum += evaluate(sample, thread);
#endif
        if thread == 0u {
            write_live(sample);
        }
        workgroupBarrier();
    }
    if thread == 0u && first < last {
        sum /= f32(last - first);
        for (var sample = first; sample < last; sample++) {
            finish(sample, sum);
        }
    }
}
