// The operands of attention: the vectors of a head, a quad of channels at a time.

// Channels 4 word .. of a head's vector that starts at `base`; zero past d.
fn load_q(base: u32, word: u32) -> vec4<f32> {
#ifdef VEC4
    return vec4<f32>(q[base / 4u + word]);
#else
    var r = vec4<f32>();
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        r[i % 4u] = f32(q[base + i]);
    }
    return r;
#endif
}

fn load_k(base: u32, word: u32) -> vec4<f32> {
#ifdef VEC4
    return vec4<f32>(k[base / 4u + word]);
#else
    var r = vec4<f32>();
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        r[i % 4u] = f32(k[base + i]);
    }
    return r;
#endif
}

fn load_v(base: u32, word: u32) -> vec4<f32> {
#ifdef VEC4
    return vec4<f32>(v[base / 4u + word]);
#else
    var r = vec4<f32>();
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        r[i % 4u] = f32(v[base + i]);
    }
    return r;
#endif
}

// First elements of the vectors of a query and of a key; past the end the last one is read.
fn q_base(at: Place, row: u32) -> u32 {
    let token = at.sample * p.tq + min(at.query + row, p.tq - 1u);
    return p.q_first + token * p.q_stride + at.head * HEAD_DIM;
}

fn k_base(at: Place, key: u32) -> u32 {
    return p.k_first + (at.of_keys * p.tk + min(key, p.tk - 1u)) * p.k_stride + at.head * HEAD_DIM;
}

fn v_base(at: Place, key: u32) -> u32 {
    return p.v_first + (at.of_keys * p.tk + min(key, p.tk - 1u)) * p.v_stride + at.head * HEAD_DIM;
}
