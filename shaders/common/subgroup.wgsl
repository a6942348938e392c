// The product under METHOD_SUBGROUP, without workgroup memory: a thread owns one quad of columns
// and all TILE_M rows of the tile. Eight lanes load four steps of k for eight rows, one row a lane;
// broadcasts hand every row to every lane. Subgroups have at least eight lanes, each eight of them
// load the same.

// sums[first ..][8] += a b, where lane i (modulo 8) holds row i of a.
fn multiply_eight(first: u32, a: vec4<f32>, b: mat4x4<f32>) {
    sums[first] = row_product(sums[first], subgroupBroadcast(a, 0u), b);
    sums[first + 1u] = row_product(sums[first + 1u], subgroupBroadcast(a, 1u), b);
    sums[first + 2u] = row_product(sums[first + 2u], subgroupBroadcast(a, 2u), b);
    sums[first + 3u] = row_product(sums[first + 3u], subgroupBroadcast(a, 3u), b);
    sums[first + 4u] = row_product(sums[first + 4u], subgroupBroadcast(a, 4u), b);
    sums[first + 5u] = row_product(sums[first + 5u], subgroupBroadcast(a, 5u), b);
    sums[first + 6u] = row_product(sums[first + 6u], subgroupBroadcast(a, 6u), b);
    sums[first + 7u] = row_product(sums[first + 7u], subgroupBroadcast(a, 7u), b);
}

// The values of lanes 0 to 3, and of lanes 4 to 7, in every lane.
fn gather_low(v: f32) -> vec4<f32> {
    return vec4<f32>(subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u),
        subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u));
}

fn gather_high(v: f32) -> vec4<f32> {
    return vec4<f32>(subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u),
        subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u));
}
