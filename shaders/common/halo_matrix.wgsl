// conv2d under METHOD_MATRIX. A cooperative matrix reads rows at equal distances, but the pixels
// that a tap reads lie in lines wider than the tile. So the halo is kept once for each column of
// the filter, in lines as wide as the tile that lie apart by the stride: [column of the filter]
// [line % stride][line / stride][x]. The tile's pixels under any tap then follow each other.
fn first_of_tap(y: u32, x: u32) -> u32 {
    return ((x * STRIDE + y % STRIDE) * LINES + y / STRIDE) * TILE_W;
}

fn keep_input(quad: u32, line: u32, column: u32, v: vec4<f32>) {
    for (var x = column % STRIDE; x < min(KERNEL, column + 1u); x += STRIDE) {
        let own = (column - x) / STRIDE;
        if own < TILE_W {
            stage_quad(first_of_tap(line, x) + own, 4u * quad, v);
        }
    }
}

fn keep_skip(quad: u32, i: u32, v: vec4<f32>) {
    stage_quad(i, 4u * quad, v);
}

// Adds the products of stage `i`, of which the first `inputs` are of the input.
fn multiply_stage(at: Place, i: u32, inputs: u32, thread: u32, subgroup: u32) {
    let cin = p.ca + p.cb;
    var high = p.kh;
    var wide = p.kw;
    var row = i * STAGE_K;
#ifdef SHORTCUT
    if i >= inputs {
        high = 1u;
        wide = 1u;
        row = p.kh * p.kw * cin + (i - inputs) * STAGE_K;
    }
#endif
    for (var y = 0u; y < high; y++) {
        for (var x = 0u; x < wide; x++) {
            let of_tap = row + (y * wide + x) * cin;
            multiply_block(0u, first_of_tap(y, x), of_tap, 4u * at.quad, subgroup);
        }
    }
}
