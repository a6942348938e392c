//!include philox
// Sine and cosine good to 1e-7: the builtins promise 2^-11, and only in [-pi, pi]. Reductions are
// done on integers, where no compiler may reorder them.

const TAU: f32 = 6.2831853;

// (sin x, cos x) for |x| <= pi/4 (a little more is harmless): Taylor to x^9 and x^10.
fn sincos_small(x: f32) -> vec2<f32> {
    let s = x * x;
    let sine = x + x * s * (-1.6666667e-1 + s * (8.3333333e-3
        + s * (-1.9841270e-4 + s * 2.7557319e-6)));
    let cosine = 1.0 + s * (-0.5 + s * (4.1666667e-2 + s * (-1.3888889e-3
        + s * (2.4801587e-5 - s * 2.7557319e-7))));
    return vec2<f32>(sine, cosine);
}

// (sin, cos) of (turns + 1/2) 2^-32 whole turns.
fn sincos_turns(turns: u32) -> vec2<f32> {
    let quarter = (turns + 0x20000000u) >> 30u;
    let rest = bitcast<i32>(turns - (quarter << 30u));
    let sc = sincos_small((f32(rest) + 0.5) * (TAU / 4294967296.0));
    switch quarter {
        case 0u: { return sc; }
        case 1u: { return vec2<f32>(sc.y, -sc.x); }
        case 2u: { return -sc; }
        default: { return vec2<f32>(-sc.y, sc.x); }
    }
}

// (sin, cos) of an angle in radians, |angle| < 2^23.
fn sincos(angle: f32) -> vec2<f32> {
    let size = abs(angle);
    if size < 0.75 {
        return sincos_small(angle);
    }
    // angle = mantissa 2^-shift; times 1 / (2 pi) = 0x28BE60DB9391054A 2^-64, modulo 1.
    let bits = bitcast<u32>(size);
    let mantissa = (bits & 0x7fffffu) | 0x800000u;
    let shift = 150u - (bits >> 23u);
    let low = mantissa * 0x28BE60DBu;
    let middle = low + mul_high(mantissa, 0x9391054Au);
    let high = mul_high(mantissa, 0x28BE60DBu) + select(0u, 1u, middle < low);
    let sc = sincos_turns((high << (32u - shift)) | (middle >> shift));
    return vec2<f32>(sc.x * sign(angle), sc.y);
}
