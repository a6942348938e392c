//!include lanes
//!include activate
//!include addends
// The end of conv2d, linear and attention, four columns of a row of y (a quad) at a time:
// y = act((sum + bias + row + residual) * scale).
// `width` is how many columns of the quad lie inside y, whose elements start at `at`. With STORE4
// all four do, and the quad is one 16-byte access.

#ifndef PART_PARTIAL
// Where the launch has no shortcut, `skip` is a residual of the shape of y.
#ifdef HAS_SKIP
#ifndef SHORTCUT
fn residual_quad(at: u32, width: u32) -> vec4<f32> {
#ifdef STORE4
    return vec4<f32>(skip[at / 4u]);
#else
    var v = vec4<f32>();
    for (var i = 0u; i < width; i++) {
        v[i] = f32(skip[at + i]);
    }
    return v;
#endif
}
#endif
#endif

// act((sum + residual) * scale); `sum` holds bias and row already. The activation is a define: a
// driver may run every branch of a switch under a mask.
fn finish(sum: vec4<f32>, at: u32, width: u32) -> vec4<f32> {
    var v = sum;
#ifdef HAS_SKIP
#ifndef SHORTCUT
    v += residual_quad(at, width);
#endif
#endif
    v *= p.scale;
#ifdef ACT
    v = activate(v, ACT);
#endif
    return v;
}

fn store_quad(v: vec4<f32>, at: u32, width: u32) {
#ifdef STORE4
    y[at / 4u] = y_v(v);
#else
    for (var i = 0u; i < width; i++) {
        y[at + i] = y_t(v[i]);
    }
#endif
}
#endif
