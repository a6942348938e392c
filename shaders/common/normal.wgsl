//!include sincos
// Standard normal numbers: src/ops/noise.rs.

// -ln u of the uniform u = (word + 1/2) 2^-32, rounded to f32: ln u = e ln 2 + ln m with m in
// [sqrt(1/2), sqrt(2)), ln m = 2 artanh((m - 1) / (m + 1)), so that u near one keeps its digits.
fn neg_log_uniform(word: u32) -> f32 {
    let bits = bitcast<u32>((f32(word) + 0.5) / 4294967296.0);
    let steps = (bits + (0x3f800000u - 0x3f3504f3u)) >> 23u;
    let rest = bitcast<f32>(bits - ((steps - 127u) << 23u)) - 1.0; // m - 1
    let s = rest / (2.0 + rest);
    let q = s * s;
    let series = 1.0 + q * (0.33333333 + q * (0.2 + q * (0.14285714 + q * 0.11111111)));
    return -((f32(steps) - 127.0) * 0.69314718 + 2.0 * s * series);
}

// Box & Muller 1958: (r sin, r cos) of the angle of the second word.
fn box_muller(words: vec2<u32>) -> vec2<f32> {
    return sqrt(max(2.0 * neg_log_uniform(words.x), 0.0)) * sincos_turns(words.y);
}

// Four consecutive elements (block) of a draw: Philox names them by step, stream and sample.
fn normal_block(block: u32, step: u32, stream: u32, sample: u32, key: vec2<u32>) -> vec4<f32> {
    let words = philox(vec4<u32>(block, step, stream, sample), key);
    return vec4<f32>(box_muller(words.xy).yx, box_muller(words.zw).yx);
}

// Element e of the draw that a CUDA device of PyTorch with `threads` threads makes as its
// `first`-th generator call and on.
fn normal_torch_cuda(e: u32, first: u32, threads: u32, key: vec2<u32>) -> f32 {
    let turn = e / threads;
    let words = philox(vec4<u32>(first + turn / 4u, 0u, e % threads, 0u), key);
    let pair = box_muller(select(words.xy, words.zw, (turn & 2u) != 0u));
    return select(pair.x, pair.y, (turn & 1u) != 0u);
}
