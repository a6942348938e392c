//!include row
//!include state
// The linear update of a row on four elements: src/ops/row.rs.

struct Values {
    float4 x, x0, eps, z0, z1;
};

struct Update {
    float4 x, saved, push;
};

// `u` with one more term in each of its outputs.
__device__ inline Update plus(const Update& u, f32 of_x, f32 of_saved, f32 of_push, float4 v) {
    return {u.x + term(of_x, v), u.saved + term(of_saved, v), u.push + term(of_push, v)};
}

#ifdef HAS_HISTORY
// First element of the prediction pushed `j + 1` pushes ago, for state element `i`.
__device__ inline u32 history_at(const Params& p, const Row& row, u32 i, u32 j) {
    return (row.ring + p.depth - 1u - j) % p.depth * state_elements(p) + i;
}
#endif

// The row's update of the state elements from `i` on, `lanes` of them.
__device__ inline Update update(
    const Params& p, const Args& a, const Row& row, const Values& v, u32 i, u32 lanes) {
    Update u = {zeros(), zeros(), zeros()};
    u = plus(u, row.x.x, row.saved.x, row.push.x, v.x);
    u = plus(u, row.x.x0, row.saved.x0, row.push.x0, v.x0);
    u = plus(u, row.x.eps, row.saved.eps, row.push.eps, v.eps);
#ifdef HAS_SAVED
    if (row.x.saved != 0.0f || row.saved.saved != 0.0f || row.push.saved != 0.0f) {
        const float4 saved = load_state(a.saved, i, lanes);
        u = plus(u, row.x.saved, row.saved.saved, row.push.saved, saved);
    }
#endif
#ifdef HAS_HISTORY
    for (u32 j = 0u; j < smaller(p.depth, HISTORY); j++) {
        if (row.x.h[j] != 0.0f || row.saved.h[j] != 0.0f || row.push.h[j] != 0.0f) {
            const float4 past = load_state(a.history, history_at(p, row, i, j), lanes);
            u = plus(u, row.x.h[j], row.saved.h[j], row.push.h[j], past);
        }
    }
#endif
    u = plus(u, row.x.z0, row.saved.z0, row.push.z0, v.z0);
    return plus(u, row.x.z1, row.saved.z1, row.push.z1, v.z1);
}

// Writes what the row writes.
__device__ inline void store_update(
    const Params& p, const Args& a, const Row& row, const Update& u, u32 i, u32 lanes) {
    store_state(a.state, i, lanes, u.x);
#ifdef HAS_SAVED
    if (row_has(row, ROW_WRITE_SAVED)) {
        store_state(a.saved, i, lanes, u.saved);
    }
#endif
#ifdef HAS_HISTORY
    if (row_has(row, ROW_PUSH)) {
        store_state(a.history, row.ring * state_elements(p) + i, lanes, u.push);
    }
#endif
}
