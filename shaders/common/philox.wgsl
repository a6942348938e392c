// Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

// The high word of a 32 x 32-bit product, by 16-bit halves: WGSL has no 64-bit integers.
fn mul_high(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let carry = a0 * b1 + (middle & 0xffffu);
    return a1 * b1 + (middle >> 16u) + (carry >> 16u);
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let high0 = mul_high(0xD2511F53u, c.x);
        let low0 = 0xD2511F53u * c.x;
        let high1 = mul_high(0xCD9E8D57u, c.z);
        let low1 = 0xCD9E8D57u * c.z;
        c = vec4<u32>(high1 ^ c.y ^ k.x, low1, high0 ^ c.w ^ k.y, low0);
        k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}
