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
    pushed: vec4<f32>,
}

#ifdef HAS_HISTORY
// First element of the prediction pushed `j + 1` pushes ago, for state element `at`.
fn history_at(at: u32, j: u32) -> u32 {
    return (table[cursor.row].ring + p.depth - 1u - j) % p.depth * state_elements() + at;
}
#endif

// The row's update of the state elements from `at` on, `lanes` of them.
fn update(v: Values, at: u32, lanes: u32) -> Update {
    let writes = (table[cursor.row].flags & ROW_WRITE_SAVED) != 0u;
    var u: Update;
    u.x = term(table[cursor.row].x_x, v.x) + term(table[cursor.row].x_x0, v.x0)
        + term(table[cursor.row].x_eps, v.eps);
    u.saved = term(table[cursor.row].s_x, v.x) + term(table[cursor.row].s_x0, v.x0)
        + term(table[cursor.row].s_eps, v.eps);
#ifdef HAS_SAVED
    let x_saved = table[cursor.row].x_saved;
    let s_saved = select(0.0, table[cursor.row].s_saved, writes);
    if x_saved != 0.0 || s_saved != 0.0 {
        let s = load_saved(at, lanes);
        u.x += term(x_saved, s);
        u.saved += term(s_saved, s);
    }
#endif
#ifdef HAS_HISTORY
    for (var j = 0u; j < min(p.depth, HISTORY); j++) {
        let x_h = table[cursor.row].x_h[j];
        let s_h = select(0.0, table[cursor.row].s_h[j], writes);
        if x_h != 0.0 || s_h != 0.0 {
            let h = load_history(history_at(at, j), lanes);
            u.x += term(x_h, h);
            u.saved += term(s_h, h);
        }
    }
#endif
    u.x += term(table[cursor.row].x_z0, v.z0) + term(table[cursor.row].x_z1, v.z1);
    u.saved += term(table[cursor.row].s_z0, v.z0) + term(table[cursor.row].s_z1, v.z1);
    u.pushed = term(table[cursor.row].p_x, v.x) + term(table[cursor.row].p_x0, v.x0)
        + term(table[cursor.row].p_eps, v.eps);
    return u;
}

// Writes what the row writes.
fn store_update(u: Update, at: u32, lanes: u32) {
    store_x(at, lanes, u.x);
#ifdef HAS_SAVED
    if (table[cursor.row].flags & ROW_WRITE_SAVED) != 0u {
        store_saved(at, lanes, u.saved);
    }
#endif
#ifdef HAS_HISTORY
    if (table[cursor.row].flags & ROW_PUSH) != 0u {
        store_history(table[cursor.row].ring * state_elements() + at, lanes, u.pushed);
    }
#endif
}
