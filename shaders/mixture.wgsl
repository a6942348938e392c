// D = sum_k r_k (mu_k + s2_k / v_k (x - mu_k)), r_k ~ w_k N(x; mu_k, v_k), v_k = s2_k + sigma^2.
// x, y [n, d], times [..] the noise levels sigma, components [k] of [ln w | mu [d] | s2 [d]].
// One thread one vector, 64 threads a workgroup.
// Compute: about 40 k d operations a vector; the components stay in cache.
// Reference: src/ops/mixture.rs
//!include grid
//!include rowmap

struct Params {
    map: RowMap,
    n: u32,
    d: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_t>;
@group(0) @binding(2) var<storage, read> times: array<times_t>;
@group(0) @binding(3) var<storage, read> components: array<components_t>;
#ifdef HAS_COND
@group(0) @binding(4) var<storage, read> cond: array<cond_t>;
#endif
@group(0) @binding(5) var<storage, read_write> y: array<y_t>;

// ln(1 + t), t > -1: the built-in logarithm alone is good to 5e-7 absolute there, and d are summed.
fn log1p(t: f32) -> f32 {
    if abs(t) > 0.25 {
        return log(1.0 + t);
    }
    let z = t / (2.0 + t);
    let q = z * z;
    return 2.0 * z * (1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0))));
}

// ln(w_k N_k) of the vector at `at`, to within what the logarithms lose.
fn log_weight(c: u32, at: u32, sigma2: f32) -> f32 {
    var sum = 0.0;
    for (var j = 0u; j < p.d; j++) {
        let v = f32(components[c + 1u + p.d + j]) + sigma2;
        let a = f32(x[at + j]) - f32(components[c + 1u + j]);
        sum += log(v) + a / v * a;
    }
    return f32(components[c]) - 0.5 * sum;
}

// The same less that of component `o`. A difference of squares is a product, and its factors are
// differences of what was given.
fn log_ratio(c: u32, o: u32, at: u32, sigma2: f32) -> f32 {
    var sum = 0.0;
    for (var j = 0u; j < p.d; j++) {
        let mean_c = f32(components[c + 1u + j]);
        let mean_o = f32(components[o + 1u + j]);
        let s2_c = f32(components[c + 1u + p.d + j]);
        let s2_o = f32(components[o + 1u + p.d + j]);
        let v_o = s2_o + sigma2;
        let root_c = sqrt(s2_c + sigma2);
        let root_o = sqrt(v_o);
        let u_c = (f32(x[at + j]) - mean_c) / root_c;
        let u_o = (f32(x[at + j]) - mean_o) / root_o;
        let wider = (s2_o - s2_c) / (root_c * (root_c + root_o));
        let difference = (mean_o - mean_c) / root_c + u_o * wider;
        sum += log1p((s2_c - s2_o) / v_o) + difference * (u_c + u_o);
    }
    return f32(components[c]) - f32(components[o]) - 0.5 * sum;
}

@compute @workgroup_size(64)
fn mixture(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let vector = workgroup_number(id, grid) * 64u + thread;
    if vector >= p.n {
        return;
    }
    let at = vector * p.d;
    let stride = 1u + 2u * p.d;
    let sigma = f32(times[map_row(p.map, vector)]);
    let sigma2 = sigma * sigma;

    var likeliest = 0u;
    var best = log_weight(0u, at, sigma2);
    for (var k = 1u; k < COMPONENTS; k++) {
        let value = log_weight(k * stride, at, sigma2);
        if value > best {
            best = value;
            likeliest = k * stride;
        }
    }
    var r: array<f32, COMPONENTS>;
    var most = 0.0;
    for (var k = 0u; k < COMPONENTS; k++) {
        r[k] = log_ratio(k * stride, likeliest, at, sigma2);
        most = max(most, r[k]);
    }
    var sum = 0.0;
    for (var k = 0u; k < COMPONENTS; k++) {
        r[k] = exp(r[k] - most);
        sum += r[k];
    }
    for (var j = 0u; j < p.d; j++) {
        var mean = 0.0;
        for (var k = 0u; k < COMPONENTS; k++) {
            let mu = f32(components[k * stride + 1u + j]);
            let s2 = f32(components[k * stride + 1u + p.d + j]);
            mean += r[k] * (mu + s2 / (s2 + sigma2) * (f32(x[at + j]) - mu));
        }
        y[at + j] = y_t(mean / sum);
    }
}
