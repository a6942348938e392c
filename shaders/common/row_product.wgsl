// sum + a b for four steps of k.
fn row_product(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1],
        fma(vec4(a.x), b[0], sum))));
}
