// Four elements of a state buffer; without STATE4 `lanes` of them, one by one, for states whose
// samples do not divide by four. They are f32 on every backend.

fn load_state(at: u32, lanes: u32) -> vec4<f32> {
#ifdef STATE4
    return state[at / 4u];
#else
    var v = vec4<f32>();
    for (var i = 0u; i < lanes; i++) {
        v[i] = state[at + i];
    }
    return v;
#endif
}

fn store_state(at: u32, lanes: u32, v: vec4<f32>) {
#ifdef STATE4
    state[at / 4u] = v;
#else
    for (var i = 0u; i < lanes; i++) {
        state[at + i] = v[i];
    }
#endif
}

#ifdef HAS_SAVED
fn load_saved(at: u32, lanes: u32) -> vec4<f32> {
#ifdef STATE4
    return saved[at / 4u];
#else
    var v = vec4<f32>();
    for (var i = 0u; i < lanes; i++) {
        v[i] = saved[at + i];
    }
    return v;
#endif
}

fn store_saved(at: u32, lanes: u32, v: vec4<f32>) {
#ifdef STATE4
    saved[at / 4u] = v;
#else
    for (var i = 0u; i < lanes; i++) {
        saved[at + i] = v[i];
    }
#endif
}
#endif

#ifdef HAS_HISTORY
fn load_history(at: u32, lanes: u32) -> vec4<f32> {
#ifdef STATE4
    return history[at / 4u];
#else
    var v = vec4<f32>();
    for (var i = 0u; i < lanes; i++) {
        v[i] = history[at + i];
    }
    return v;
#endif
}

fn store_history(at: u32, lanes: u32, v: vec4<f32>) {
#ifdef STATE4
    history[at / 4u] = v;
#else
    for (var i = 0u; i < lanes; i++) {
        history[at + i] = v[i];
    }
#endif
}
#endif
