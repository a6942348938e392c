// What is added to every row of a product, four columns (a quad) at a time, of which `width` lie
// inside; with STORE4 all four do.

#ifdef HAS_VECTORS
// vectors[at .. at + 4].
fn vector_quad(at: u32, width: u32) -> vec4<f32> {
#ifdef STORE4
    return vec4<f32>(vectors[at], vectors[at + 1u], vectors[at + 2u], vectors[at + 3u]);
#else
    var v = vec4<f32>();
    for (var i = 0u; i < width; i++) {
        v[i] = vectors[at + i];
    }
    return v;
#endif
}
#endif

#ifdef HAS_ROWS
// rows[at .. at + 4].
fn row_quad(at: u32, width: u32) -> vec4<f32> {
#ifdef STORE4
    return vec4<f32>(rows[at], rows[at + 1u], rows[at + 2u], rows[at + 3u]);
#else
    var v = vec4<f32>();
    for (var i = 0u; i < width; i++) {
        v[i] = rows[at + i];
    }
    return v;
#endif
}
#endif
