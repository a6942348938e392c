// The moments of a map for the norm that reads it next: src/ops/moments.rs. The including kernel
// binds `moments` as pairs and defines THREADS, its workgroup, and QUADS_N: threads of equal
// `thread % QUADS_N` hold pixels of the same four channels. With OWN_SCRATCH it has `scratch`, a
// quad a thread, itself.

// Where the moments of a map of `c` channels lie: [tiles] pairs (count, 0), then
// [n][tiles][c] pairs (mean, sum of squared deviations) over the pixels of a tile.
struct Region {
    at: u32,
    tiles: u32,
    c: u32,
}

// Number, mean and sum of squared deviations of some values.
struct Moments {
    count: f32,
    mean: f32,
    m2: f32,
}

// The same of four channels.
struct QuadMoments {
    count: f32,
    mean: vec4<f32>,
    m2: vec4<f32>,
}

fn region_pair(region: Region, sample: u32, tile: u32, channel: u32) -> u32 {
    return region.at + region.tiles + (sample * region.tiles + tile) * region.c + channel;
}

// Chan, Golub & LeVeque 1979, eq. 2.1: nothing is squared that has not lost its mean.
fn merge(a: Moments, b: Moments) -> Moments {
    let count = a.count + b.count;
    let part = b.count / max(count, 1.0);
    let d = b.mean - a.mean;
    return Moments(count, a.mean + d * part, a.m2 + b.m2 + d * d * a.count * part);
}

fn merge_quads(a: QuadMoments, b: QuadMoments) -> QuadMoments {
    var all = QuadMoments(a.count + b.count, a.mean, a.m2);
    for (var i = 0u; i < 4u; i++) {
        let of_b = Moments(b.count, b.mean[i], b.m2[i]);
        let one = merge(Moments(a.count, a.mean[i], a.m2[i]), of_b);
        all.mean[i] = one.mean;
        all.m2[i] = one.m2;
    }
    return all;
}

#ifdef GROUPS
// Threads that share a group: LANES_C over its channels, LANES_T over the tiles.
const LANES_C: u32 = min(4u, max(1u, THREADS / GROUPS));
const LANES_T: u32 = max(1u, THREADS / GROUPS / LANES_C);
const LANES: u32 = LANES_C * LANES_T;

var<workgroup> scratch: array<vec4<f32>, max(THREADS, GROUPS)>;
// (mean, 1 / sqrt(variance + eps)) of each group of the workgroup's sample.
var<workgroup> group_norms: array<vec2<f32>, GROUPS>;

// The group of one of `c` channels, without a division of integers, which is slow.
fn group_of(channel: u32, c: u32) -> u32 {
    return u32((f32(channel) + 0.5) * (f32(GROUPS) / f32(c)));
}

// The moments of channels first .. end of a sample, those of its pairs that are this lane's.
fn lane_moments(region: Region, sample: u32, first: u32, end: u32, lane: u32) -> Moments {
    var all = Moments(0.0, 0.0, 0.0);
    for (var tile = lane / LANES_C; tile < region.tiles; tile += LANES_T) {
        let count = moments[region.at + tile].x;
        if count > 0.0 {
            let base = region_pair(region, sample, tile, 0u);
            for (var c = first + lane % LANES_C; c < end; c += LANES_C) {
                let pair = moments[base + c];
                all = merge(all, Moments(count, pair.x, pair.y));
            }
        }
    }
    return all;
}

// Fills `group_norms` from the regions of two maps whose channels follow each other (b may have
// none), in uniform control flow.
fn load_group_norms(a: Region, b: Region, sample: u32, eps: f32, thread: u32) {
    let size = (a.c + b.c) / GROUPS;
    for (var i = thread; i < GROUPS * LANES; i += THREADS) {
        let first = i / LANES * size;
        let end = first + size;
        let of_a = lane_moments(a, sample, min(first, a.c), min(end, a.c), i % LANES);
        let of_b = lane_moments(b, sample, max(first, a.c) - a.c, max(end, a.c) - a.c, i % LANES);
        let all = merge(of_a, of_b);
        scratch[i] = vec4<f32>(all.count, all.mean, all.m2, 0.0);
    }
    workgroupBarrier();
    for (var group = thread; group < GROUPS; group += THREADS) {
        var all = Moments(0.0, 0.0, 0.0);
        for (var i = 0u; i < LANES; i++) {
            let part = scratch[group * LANES + i];
            all = merge(all, Moments(part.x, part.y, part.z));
        }
        group_norms[group] = vec2<f32>(all.mean, inverseSqrt(all.m2 / all.count + eps));
    }
    workgroupBarrier();
}
#else
#ifndef OWN_SCRATCH
var<workgroup> scratch: array<vec4<f32>, THREADS>;
#endif
#endif

// The sum of v over the threads of the same channels, in uniform control flow; the same on every
// device.
fn column_total(v: vec4<f32>, thread: u32) -> vec4<f32> {
    if THREADS == QUADS_N {
        return v;
    }
    workgroupBarrier();
    scratch[thread] = v;
    workgroupBarrier();
    var total = vec4<f32>();
    for (var i = thread % QUADS_N; i < THREADS; i += QUADS_N) {
        total += scratch[i];
    }
    return total;
}

// The moments of a tile's pixels in channels channel .. channel + width. Of the threads with the
// same channels one calls this.
fn store_moments(region: Region, sample: u32, tile: u32, channel: u32, width: u32,
    all: QuadMoments) {
    moments[region.at + tile] = vec2<f32>(all.count, 0.0);
    let at = region_pair(region, sample, tile, channel);
    for (var i = 0u; i < width; i++) {
        moments[at + i] = vec2<f32>(all.mean[i], all.m2[i]);
    }
}
