// conv2d under METHOD_MMA. The halo of a chunk of STAGE_K channels is staged once, as rows of an
// operand, and read under every tap: a tap only moves the pixels that the lanes begin with. The sum
// is over units, the taps of chunk after chunk, then a unit for each chunk of the shortcut. While a
// chunk is multiplied, the next one is loaded, some pixels under each tap.
struct Operands {
    uint4 halo[2][HALO * CHUNKS_K];
    uint4 b[STAGES][STAGE_K * CHUNKS_N];
};

#ifdef GROUPS
constexpr bool ON_LOAD = true;
#else
#ifdef ACT_IN
constexpr bool ON_LOAD = true;
#else
constexpr bool ON_LOAD = false;
#endif
#endif
// 16-byte pieces of a chunk that a thread loads, all of the same channels, and how many at a time.
constexpr u32 HALO_LOADS = parts_of(HALO_PIXELS * CHUNKS_K, BLOCK);
constexpr u32 UNIT_LOADS = parts_of(HALO_LOADS, TAPS);
#ifdef SHORTCUT
constexpr u32 SKIP_LOADS = parts_of(TILE_M * CHUNKS_K, BLOCK);
constexpr u32 LOADS = UNIT_LOADS > SKIP_LOADS ? UNIT_LOADS : SKIP_LOADS;
#else
constexpr u32 LOADS = UNIT_LOADS;
#endif
constexpr u32 PORTIONS = parts_of(HALO_LOADS, LOADS);

// Chunks of the input and of the shortcut, and the units of the workgroup's split.
struct Depth {
    u32 inputs, first, end;
};

__device__ inline Depth depth_of(const Params& p, const Place& here) {
    const u32 inputs = parts_of(p.ca + p.cb, STAGE_K);
    const u32 units = inputs * TAPS + parts_of(p.sa + p.sb, STAGE_K);
    const u32 share = parts_of(units, SPLITS);
    const u32 first = smaller(units, here.split * share);
    return {inputs, first, smaller(units, first + share)};
}

// A chunk and the tap, a shortcut's is the first.
struct Unit {
    u32 chunk, tap;
    bool last; // of its chunk
};

__device__ inline Unit unit_of(const Depth& depth, u32 number) {
    const u32 inputs = depth.inputs * TAPS;
    if (number >= inputs) {
        return {depth.inputs + number - inputs, 0u, true};
    }
    return {number / TAPS, number % TAPS, number % TAPS == TAPS - 1u};
}

// Starts the copy of a unit's rows of the weight, if there is such a unit.
__device__ inline void copy_unit(const Params& p, const Args& a, const Place& here,
    const Depth& depth, u32 number, Operands& operands) {
    if (number < depth.end) {
        const u32 cin = p.ca + p.cb;
        const u32 width = (p.cout + 3u) / 4u * 4u;
        const Unit unit = unit_of(depth, number);
        const bool skip = unit.chunk >= depth.inputs;
        const u32 from = skip ? TAPS * cin : unit.tap * cin;
        const u32 end = from + (skip ? p.sa + p.sb : cin);
        const u32 row = from + (skip ? unit.chunk - depth.inputs : unit.chunk) * STAGE_K;
        uint4* to = operands.b[(number - depth.first) % STAGES];
        copy_weight(to, a.weight, row, end, 4u * here.quad, width - 4u * here.quad, width);
    }
    ptx::commit();
}

// What a chunk's channels are normalised by: (v - mean) * factor + addend.
__device__ inline void keep_norms(const Params& p, const Args& a, const At& at,
    const Place& here, u32 chunk, Norms& norms) {
#ifdef GROUPS
    const u32 cin = p.ca + p.cb;
    const u32 i = threadIdx.x;
    const u32 c = chunk * STAGE_K + i;
    if (i >= STAGE_K || c >= cin) {
        return;
    }
    const float2 norm = norms.groups[group_of(c, cin)];
    f32 factor = norm.y * a.vectors[c];
    f32 more = a.vectors[cin + c];
#ifdef ROWS_NORM
    const u32 row = map_row(p.map, a, at, here.sample) * 2u * cin;
    const f32 scale = 1.0f + a.rows[row + c];
    factor *= scale;
    more = more * scale + a.rows[row + cin + c];
#endif
    norms.mean[chunk % 2u][i] = norm.x;
    norms.factor[chunk % 2u][i] = factor;
    norms.addend[chunk % 2u][i] = more;
#endif
}

// Pieces of a chunk on their way, as stored; bit i of `inside`: not of the padding.
struct Loaded {
    uint4 v[LOADS];
    u32 inside;
};

// The pixel that load `i` of a thread is for.
__device__ inline u32 load_pixel(u32 i) {
    return (threadIdx.x + i * BLOCK) / CHUNKS_K;
}

__device__ inline u32 load_channel() {
    return 8u * (threadIdx.x % CHUNKS_K);
}

// Eight channels from `c` on of a pixel of two maps whose channels follow each other.
template <class A, class B>
__device__ inline uint4 load_piece(
    const A* x, const B* x2, u32 index, u32 ca, u32 cb, u32 c) {
    if (c < ca) {
        return *reinterpret_cast<const uint4*>(x + index * ca + c);
    }
    return *reinterpret_cast<const uint4*>(x2 + index * cb + c - ca);
}

__device__ inline uint4 input_piece(const Params& p, const Args& a, u32 index, u32 c) {
#ifdef HAS_X2
    return load_piece(a.x, a.x2, index, p.ca, p.cb, c);
#else
    return load_piece(a.x, a.x, index, p.ca, 0u, c);
#endif
}

#ifdef SHORTCUT
__device__ inline uint4 skip_piece(const Params& p, const Args& a, u32 index, u32 c) {
#ifdef HAS_SKIP2
    return load_piece(a.skip, a.skip2, index, p.sa, p.sb, c);
#else
    return load_piece(a.skip, a.skip, index, p.sa, 0u, c);
#endif
}
#endif

// Loads number part * LOADS and on of a chunk.
__device__ inline Loaded load_chunk(const Params& p, const Args& a, const Place& here,
    const Depth& depth, u32 chunk, u32 part) {
    Loaded loaded;
    loaded.inside = 0u;
#pragma unroll
    for (u32 i = 0u; i < LOADS; i++) {
        loaded.v[i] = no_chunk();
        const u32 number = load_pixel(part * LOADS + i);
        if (chunk < depth.inputs) {
            const u32 c = chunk * STAGE_K + load_channel();
            const Own pixel = halo_pixel(p, here, number);
            if (number < HALO_PIXELS && pixel.inside && c < p.ca + p.cb) {
                loaded.v[i] = input_piece(p, a, pixel.index, c);
                loaded.inside |= 1u << i;
            }
        }
#ifdef SHORTCUT
        if (chunk >= depth.inputs) {
            const u32 c = (chunk - depth.inputs) * STAGE_K + load_channel();
            const Own pixel = own_row(p, here, number);
            if (number < TILE_M && pixel.inside && c < p.sa + p.sb) {
                loaded.v[i] = skip_piece(p, a, pixel.index, c);
            }
        }
#endif
    }
    return loaded;
}

// Four channels of a chunk, from `c` of it on, as the filter sees them.
__device__ inline float4 on_load(float4 x, u32 chunk, u32 c, const Norms& norms) {
    float4 v = x;
#ifdef GROUPS
    const u32 side = chunk % 2u;
    v = (v - load4(norms.mean[side], c)) * load4(norms.factor[side], c)
        + load4(norms.addend[side], c);
#endif
#ifdef ACT_IN
    v = activate(v, ACT_IN);
#endif
    return v;
}

__device__ inline void keep_chunk(const Depth& depth, u32 chunk, u32 part, const Loaded& loaded,
    const Norms& norms, Operands& operands) {
    const u32 pixels = chunk < depth.inputs ? HALO_PIXELS : TILE_M;
    const u32 c = load_channel();
#pragma unroll
    for (u32 i = 0u; i < LOADS; i++) {
        const u32 pixel = load_pixel(part * LOADS + i);
        uint4 v = loaded.v[i];
        // Padding is zero after all of that; the shortcut is taken as it is.
        if (ON_LOAD && (loaded.inside >> i & 1u) != 0u) {
            v = narrow(on_load(widen(x_t{}, v.x, v.y), chunk, c, norms),
                on_load(widen(x_t{}, v.z, v.w), chunk, c + 4u, norms));
        }
        if (pixel < pixels) {
            operands.halo[chunk % 2u][chunk_at(pixel, c / 8u, CHUNKS_K)] = v;
        }
    }
}

// Starts all that is first: the first stages, the first chunk, and of the next one what earlier
// taps would have loaded. What the norms are made of is read meanwhile.
__device__ inline void start(const Params& p, const Args& a, const At& at, const Place& here,
    const Depth& depth, Operands& operands, Norms& norms, float4* scratch) {
#pragma unroll
    for (u32 i = 0u; i + 1u < STAGES; i++) {
        copy_unit(p, a, here, depth, depth.first + i, operands);
    }
    const Unit unit = unit_of(depth, depth.first);
    const u32 last = unit_of(depth, depth.end - 1u).chunk;
    Loaded loaded[PORTIONS];
#pragma unroll
    for (u32 part = 0u; part < PORTIONS; part++) {
        loaded[part] = load_chunk(p, a, here, depth, unit.chunk, part);
    }
    load_norms(p, a, here, norms, scratch);
    keep_norms(p, a, at, here, unit.chunk, norms);
    keep_norms(p, a, at, here, unit.chunk + 1u, norms);
    __syncthreads();
#pragma unroll
    for (u32 part = 0u; part < PORTIONS; part++) {
        keep_chunk(depth, unit.chunk, part, loaded[part], norms, operands);
    }
    for (u32 part = 0u; part < unit.tap && unit.chunk < last; part++) {
        const Loaded next = load_chunk(p, a, here, depth, unit.chunk + 1u, part);
        keep_chunk(depth, unit.chunk + 1u, part, next, norms, operands);
    }
}

__device__ inline void add_products(const Params& p, const Args& a, const At& at,
    const Place& here, Operands& operands, Norms& norms, float4* scratch, Sums& sums) {
    const Depth depth = depth_of(p, here);
    if (depth.first < depth.end) {
        start(p, a, at, here, depth, operands, norms, scratch);
    }
    for (u32 number = depth.first; number < depth.end; number++) {
        // This unit is there, and all are done with the one before, whose place is filled anew.
        ptx::wait<(int)STAGES - 2>();
        __syncthreads();
        copy_unit(p, a, here, depth, number + STAGES - 1u, operands);
        const Unit unit = unit_of(depth, number);
        const bool more = unit.chunk < unit_of(depth, depth.end - 1u).chunk;
        Loaded loaded;
        if (more) {
            loaded = load_chunk(p, a, here, depth, unit.chunk + 1u, unit.tap);
        }
        u32 rows[BLOCKS_M];
#pragma unroll
        for (u32 i = 0u; i < BLOCKS_M; i++) {
            const u32 tap = unit.tap / KERNEL * HALO_W + unit.tap % KERNEL;
            const u32 own = lane_row(i);
            rows[i] = unit.chunk < depth.inputs ? origin_of(own) + tap : own;
        }
        const u32 slot = (number - depth.first) % STAGES;
        multiply_stage(sums, operands.halo[unit.chunk % 2u], rows, operands.b[slot]);
        if (more) {
            keep_chunk(depth, unit.chunk + 1u, unit.tap, loaded, norms, operands);
        }
        if (unit.last) {
            keep_norms(p, a, at, here, unit.chunk + 2u, norms);
        }
    }
    ptx::wait<0>();
}
