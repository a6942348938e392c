//!include row
// The linear update of a row on four elements: src/ops/row.rs.

struct Values {
    x: vec4<f32>,
    x0: vec4<f32>,
    eps: vec4<f32>,
    z0: vec4<f32>,
    z1: vec4<f32>,
}

struct Update {
    x: vec4<f32>,
    saved: vec4<f32>,
    push: vec4<f32>,
}

// `u` with one more term in each of its outputs.
fn plus(u: Update, c: vec3<f32>, v: vec4<f32>) -> Update {
    return Update(u.x + term(c.x, v), u.saved + term(c.y, v), u.push + term(c.z, v));
}

#ifdef HAS_HISTORY
// First element of the prediction pushed `j + 1` pushes ago, for state element `at`.
fn history_at(row: u32, at: u32, j: u32) -> u32 {
    return (table[row].ring + p.depth - 1u - j) % p.depth * state_elements() + at;
}
#endif

// The row's update of the state elements from `at` on, `lanes` of them.
fn update(row: u32, v: Values, at: u32, lanes: u32) -> Update {
    var u: Update;
    u = plus(u, vec3<f32>(table[row].x.x, table[row].saved.x, table[row].push.x), v.x);
    u = plus(u, vec3<f32>(table[row].x.x0, table[row].saved.x0, table[row].push.x0), v.x0);
    u = plus(u, vec3<f32>(table[row].x.eps, table[row].saved.eps, table[row].push.eps), v.eps);
#ifdef HAS_SAVED
    let of_saved = vec3<f32>(table[row].x.saved, table[row].saved.saved, table[row].push.saved);
    if any(of_saved != vec3<f32>()) {
        u = plus(u, of_saved, load_saved(at, lanes));
    }
#endif
#ifdef HAS_HISTORY
    for (var j = 0u; j < min(p.depth, HISTORY); j++) {
        let of_past = vec3<f32>(table[row].x.h[j], table[row].saved.h[j], table[row].push.h[j]);
        if any(of_past != vec3<f32>()) {
            u = plus(u, of_past, load_history(history_at(row, at, j), lanes));
        }
    }
#endif
    u = plus(u, vec3<f32>(table[row].x.z0, table[row].saved.z0, table[row].push.z0), v.z0);
    u = plus(u, vec3<f32>(table[row].x.z1, table[row].saved.z1, table[row].push.z1), v.z1);
    return u;
}

// Writes what the row writes.
fn store_update(row: u32, u: Update, at: u32, lanes: u32) {
    store_state(at, lanes, u.x);
#ifdef HAS_SAVED
    if row_has(row, ROW_WRITE_SAVED) {
        store_saved(at, lanes, u.saved);
    }
#endif
#ifdef HAS_HISTORY
    if row_has(row, ROW_PUSH) {
        store_history(table[row].ring * state_elements() + at, lanes, u.push);
    }
#endif
}
