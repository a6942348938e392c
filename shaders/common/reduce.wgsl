// Reductions over a workgroup of THREADS, a power of two, in a fixed order; every thread gets the
// result.
var<workgroup> reduced: array<vec2<f32>, THREADS>;
var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> chosen: Rank;

fn workgroup_sum(value: vec2<f32>, thread: u32) -> vec2<f32> {
    reduced[thread] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half >>= 1u) {
        if thread < half {
            reduced[thread] += reduced[thread + half];
        }
        workgroupBarrier();
    }
    let sum = reduced[0];
    workgroupBarrier();
    return sum;
}

fn workgroup_least(value: u32, thread: u32) -> u32 {
    if thread == 0u {
        atomicStore(&bins[0], 0xffffffffu);
    }
    workgroupBarrier();
    atomicMin(&bins[0], value);
    workgroupBarrier();
    let least = atomicLoad(&bins[0]);
    workgroupBarrier();
    return least;
}

// An element of a sorted list, told by its bits: `rank` counts from the first element with the bits
// found so far, of which there are `count`.
struct Rank {
    bits: u32,
    rank: u32,
    count: u32,
}

fn clear_bins(thread: u32) {
    for (var bin = thread; bin < 256u; bin += THREADS) {
        atomicStore(&bins[bin], 0u);
    }
    workgroupBarrier();
}

fn count_bin(bin: u32) {
    atomicAdd(&bins[bin], 1u);
}

// Eight more bits, those from `shift` on: the bin in which the rank falls.
fn narrow(rank: Rank, shift: u32, thread: u32) -> Rank {
    workgroupBarrier();
    if thread == 0u {
        var next = rank;
        var bin = 0u;
        for (; bin < 255u && next.rank >= atomicLoad(&bins[bin]); bin++) {
            next.rank -= atomicLoad(&bins[bin]);
        }
        next.bits |= bin << shift;
        next.count = atomicLoad(&bins[bin]);
        chosen = next;
    }
    workgroupBarrier();
    let next = chosen;
    workgroupBarrier();
    return next;
}
