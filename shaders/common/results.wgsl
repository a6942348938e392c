// What linear, conv2d and attention do with a tile's sums. The including kernel says which row of y
// a thread's result is (own_row), how many results may lie inside (own_count, of RESULTS), how many
// rows its tile has inside (tile_rows), and the size of y (rows_of_y, columns_of_y).

// A row of y that is a thread's own, and whether it lies inside the tile.
struct Own {
    index: u32,
    inside: bool,
}

// Splits of K that a dispatch computes.
#ifdef PART_REDUCE
const DISPATCHED: u32 = 1u;
#else
const DISPATCHED: u32 = SPLITS;
#endif

// The results of a thread are walked in plain loops. An array that a variable indexes is not kept
// in registers, so they are not the `sums`.
alias Results = array<vec4<f32>, RESULTS>;

// Sums over parts of K, f32 [SPLITS][rows][quads]: the dispatch of the parts leaves them, the next
// adds them in order. `rows` and `quads` are those of the whole y.
#ifdef PART_PARTIAL
@group(0) @binding(15) var<storage, read_write> partial: array<vec4<f32>>;

fn store_partial(sum: vec4<f32>, split: u32, row: u32, rows: u32, quad: u32, quads: u32) {
    partial[(split * rows + row) * quads + quad] = sum;
}
#endif

#ifdef PART_REDUCE
@group(0) @binding(15) var<storage, read> partial: array<vec4<f32>>;

fn add_partial(row: u32, rows: u32, quad: u32, quads: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var split = 0u; split < SPLITS; split++) {
        sum += partial[(split * rows + row) * quads + quad];
    }
    return sum;
}
#endif

#ifdef PART_PARTIAL
fn store_sums(at: Place, thread: u32) {
    let quads = (columns_of_y() + 3u) / 4u;
    let quad = at.quad + thread % QUADS_N;
    var results = results_of_sums(thread);
    for (var i = 0u; i < own_count(at) && quad < quads; i++) {
        let own = own_row(at, i, thread);
        if own.inside {
            store_partial(results[i], at.split, own.index, rows_of_y(), quad, quads);
        }
    }
}
#endif

#ifdef PART_REDUCE
fn results_of_parts(at: Place, thread: u32) -> Results {
    let quads = (columns_of_y() + 3u) / 4u;
    let quad = at.quad + thread % QUADS_N;
    var results: Results;
    for (var i = 0u; i < own_count(at) && quad < quads; i++) {
        let own = own_row(at, i, thread);
        if own.inside {
            results[i] = add_partial(own.index, rows_of_y(), quad, quads);
        }
    }
    return results;
}
#endif

#ifdef STORE_MOMENTS
#ifndef PART_PARTIAL
// The sum of (v - center) to the first or second power over the tile's rows.
fn tile_deviations(at: Place, thread: u32, results: ptr<function, Results>, center: vec4<f32>,
    squared: bool) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var i = 0u; i < own_count(at); i++) {
        if own_row(at, i, thread).inside {
            let d = (*results)[i] - center;
            sum += select(d, d * d, squared);
        }
    }
    return column_total(sum, thread);
}

// Over the tile's rows.
fn tile_moments(at: Place, thread: u32, results: ptr<function, Results>) -> QuadMoments {
    let count = f32(tile_rows(at));
    // The mean of the deviations is what rounding left of a mean.
    let near = tile_deviations(at, thread, results, vec4<f32>(), false) / count;
    let mean = near + tile_deviations(at, thread, results, near, false) / count;
    return QuadMoments(count, mean, tile_deviations(at, thread, results, mean, true));
}

fn store_tile_moments(at: Place, thread: u32, column: u32, results: ptr<function, Results>) {
    let all = tile_moments(at, thread, results);
    if thread < QUADS_N {
        let region = Region(p.into, p.tiles, columns_of_y());
        let width = min(4u, region.c - min(column, region.c));
        store_moments(region, at.sample, at.tile, column, width, all);
    }
}
#endif
#endif
