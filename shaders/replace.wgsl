// x = x + P (alpha y + sigma z - x): a part of the state becomes known data, see src/ops/replace.rs.
// state, known [b, c, h, w], mask [b, h, w], table one Row a row, run as in src/ops/solver_step.rs.
// One thread four consecutive elements of a sample, or a group of pixels; 256 threads a workgroup.
// Bandwidth: reads state and known data, writes the state.
// Reference: src/ops/replace.rs
//!include grid
//!include draw
//!include state

struct Params {
    b: u32,
    c: u32,
    h: u32,
    w: u32,
    kind: u32,
    side: u32,
    mode: u32,
    threads: u32,
    calls: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: array<state_v>;
@group(0) @binding(2) var<storage, read> known: array<known_v>;
#ifdef HAS_MASK
@group(0) @binding(3) var<storage, read> mask: array<mask_t>;
#endif
@group(0) @binding(4) var<storage, read> table: array<Row>;
@group(0) @binding(5) var<storage, read> run: array<run_t>;
#ifdef HAS_DRAWS
@group(0) @binding(6) var<storage, read> draws: array<draws_t>;
#endif

fn state_numel() -> u32 {
    return p.c * p.h * p.w;
}

fn load_known(at: u32, lanes: u32) -> vec4<f32> {
#ifdef STATE4
    return known[at / 4u];
#else
    var v = vec4<f32>();
    for (var i = 0u; i < lanes; i++) {
        v[i] = known[at + i];
    }
    return v;
#endif
}

// What the state is to become: four elements of a sample, from element `4 block` on.
fn wanted(row: u32, sample: u32, block: u32, lanes: u32) -> vec4<f32> {
    let y = load_known(sample * state_numel() + 4u * block, lanes);
    var v = term(table[row].x.x0, y);
    if uses_draw(row, 0u) {
        v += table[row].x.z0 * draw_block(row, 0u, sample, block);
    }
    return v;
}

#ifdef GROUPED
struct Groups {
    // Of a sample.
    count: u32,
    // Elements of each.
    size: u32,
}

fn groups() -> Groups {
    if p.kind == REPLACE_CHANNELS {
        return Groups(p.h * p.w, p.c);
    }
    return Groups(p.c * (p.h / p.side) * (p.w / p.side), p.side * p.side);
}

fn member(g: u32, i: u32) -> u32 {
    if p.kind == REPLACE_CHANNELS {
        return i * p.h * p.w + g;
    }
    let down = p.h / p.side;
    let across = p.w / p.side;
    let y = g / across % down * p.side + i / p.side;
    return (g / (down * across) * p.h + y) * p.w + g % across * p.side + i % p.side;
}

fn load_one(at: u32) -> f32 {
#ifdef STATE4
    return state[at / 4u][at % 4u];
#else
    return state[at];
#endif
}

fn replace_mean(row: u32, sample: u32, g: u32, size: u32) {
    let first = sample * state_numel();
    var off = 0.0;
    for (var i = 0u; i < size; i++) {
        let e = member(g, i);
        let lanes = min(4u, state_numel() - 4u * (e / 4u));
        off += wanted(row, sample, e / 4u, lanes)[e % 4u] - load_one(first + e);
    }
    off /= f32(size);
    for (var i = 0u; i < size; i++) {
        let at = first + member(g, i);
#ifdef STATE4
        state[at / 4u][at % 4u] += off;
#else
        state[at] += off;
#endif
    }
}
#else
fn mask_of(sample: u32, block: u32, lanes: u32) -> vec4<f32> {
    var m = vec4<f32>();
#ifdef HAS_MASK
    let pixels = p.h * p.w;
    for (var i = 0u; i < lanes; i++) {
        m[i] = mask[sample * pixels + (4u * block + i) % pixels];
    }
#endif
    return m;
}

fn replace_four(row: u32, sample: u32, block: u32) {
    let lanes = min(4u, state_numel() - 4u * block);
    let at = sample * state_numel() + 4u * block;
    let x = load_state(at, lanes);
    let to = wanted(row, sample, block, lanes);
    let m = mask_of(sample, block, lanes);
    // Neither reads the other where the mask is 0 or 1: memory never written may hold a NaN.
    let soft = select(to + m * (x - to), to, m == vec4<f32>(0.0));
    store_state(at, lanes, select(soft, x, m == vec4<f32>(1.0)));
}
#endif

@compute @workgroup_size(256)
fn replace(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let number = workgroup_number(id, grid) * 256u + thread;
#ifdef GROUPED
    let grouping = groups();
    if number >= p.b * grouping.count {
        return;
    }
    let sample = number / grouping.count;
    replace_mean(row_of(sample), sample, number % grouping.count, grouping.size);
#else
    let blocks = (state_numel() + 3u) / 4u;
    if number >= p.b * blocks {
        return;
    }
    let sample = number / blocks;
    replace_four(row_of(sample), sample, number % blocks);
#endif
}
