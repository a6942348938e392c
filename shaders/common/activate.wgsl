// act(x) for the codes of src/ops/activation.rs. Exponents are held below the overflow of f32,
// where WGSL leaves the result open.
fn phi_tail(z: V) -> V {
    // erfc(z) / 2 for z >= 0: Abramowitz & Stegun 7.1.26, |error| < 1e-7.
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741
        + t * (-1.453152027 + t * 1.061405429))));
    return 0.5 * series * exp(max(-z * z, V(-80.0)));
}

fn activate(x: V, act: u32) -> V {
    switch act {
        case ACT_SILU: {
            return x / (1.0 + exp(min(-x, V(80.0))));
        }
        case ACT_GELU: {
            let tail = phi_tail(abs(x) * 0.70710678);
            return x * select(1.0 - tail, tail, x < V(0.0));
        }
        case ACT_RELU: {
            return max(x, V(0.0));
        }
        case ACT_MISH: {
            // tanh(ln(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2); 1 in f32 from x = 20 on.
            let e = exp(min(x, V(20.0)));
            let n = e * (e + 2.0);
            return x * (n / (n + 2.0));
        }
        case ACT_GELU_TANH: {
            // (1 + tanh(u)) / 2 = 1 / (1 + e^-2u).
            let u = 0.7978846 * (x + 0.044715 * x * x * x);
            return x / (1.0 + exp(min(-2.0 * u, V(80.0))));
        }
        case ACT_QUICK_GELU: {
            return x / (1.0 + exp(min(-1.702 * x, V(80.0))));
        }
        default: {
            return x;
        }
    }
}
