#ifdef HAS_TABLE
//!include row
#endif
// The sums of conv2d. The pixels under the filter over a tile, its halo, are normalised, activated
// and staged in workgroup memory a few channels at a time, then the shortcut's pixels. The method
// says how many quads of channels (QUADS_K), where they are kept, and how they are multiplied.
const HALO_W: u32 = (TILE_W - 1u) * STRIDE + KERNEL;
const HALO_H: u32 = (TILE_H - 1u) * STRIDE + KERNEL_H;

#ifdef HAS_TABLE
// Channels c .. c + 4 of a pixel of the network's input, zero past the last: x is the sampler's
// state [states, ca, h, w], of which several samples may read one.
fn input_quad(index: u32, c: u32) -> vec4<f32> {
    let pixels = p.h * p.w;
    let state = index / pixels % p.states;
    let gain = p.gain * table[row_of(state)].c_in;
    var v = vec4<f32>();
    for (var i = 0u; i < 4u && c + i < p.ca; i++) {
        v[i] = gain * f32(x[(state * p.ca + c + i) * pixels + index % pixels]) + p.shift;
    }
    return v;
}
#else
// Channels c .. c + 4 of a pixel of x and x2, zero past the last.
fn input_quad(index: u32, c: u32) -> vec4<f32> {
#ifdef VEC4
#ifdef HAS_X2
    if c >= p.ca {
        return vec4<f32>(x2[(index * p.cb + c - p.ca) / 4u]);
    }
#endif
    return vec4<f32>(x[(index * p.ca + c) / 4u]);
#else
    var v = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if c + i < p.ca {
            v[i] = f32(x[index * p.ca + c + i]);
        }
#ifdef HAS_X2
        if c + i >= p.ca && c + i < p.ca + p.cb {
            v[i] = f32(x2[index * p.cb + c + i - p.ca]);
        }
#endif
    }
    return v;
#endif
}
#endif

// What loading applies to four channels.
struct Channels {
    mean: vec4<f32>,
    rstd: vec4<f32>,
    gamma: vec4<f32>,
    beta: vec4<f32>,
    scale: vec4<f32>,
    shift: vec4<f32>,
}

fn channels(at: Place, c: u32) -> Channels {
    var affine: Channels;
#ifdef GROUPS
    let cin = p.ca + p.cb;
#ifdef ROWS_NORM
    let row = map_row(p.map, at.sample) * 2u * cin;
#endif
    for (var i = 0u; i < 4u; i++) {
        let channel = min(c + i, cin - 1u);
        let norm = group_norms[group_of(channel, cin)];
        affine.mean[i] = norm.x;
        affine.rstd[i] = norm.y;
        affine.gamma[i] = vectors[channel];
        affine.beta[i] = vectors[cin + channel];
#ifdef ROWS_NORM
        affine.scale[i] = rows[row + channel];
        affine.shift[i] = rows[row + cin + channel];
#endif
    }
#endif
    return affine;
}

// Channels c .. c + 4 of the input as the filter sees it at line y, column x.
fn load_input(sample: u32, y: i32, x: i32, c: u32, affine: Channels) -> vec4<f32> {
    if y < 0 || x < 0 || y >= i32(p.h * p.up) || x >= i32(p.w * p.up) {
        return vec4<f32>();
    }
    var v = input_quad((sample * p.h + u32(y) / p.up) * p.w + u32(x) / p.up, c);
#ifdef GROUPS
    v = (v - affine.mean) * affine.rstd * affine.gamma + affine.beta;
#ifdef ROWS_NORM
    v = v * (1.0 + affine.scale) + affine.shift;
#endif
#endif
#ifdef ACT_IN
    v = activate(v, ACT_IN);
#endif
#ifndef VEC4
    v = select(vec4<f32>(), v, vec4<u32>(c, c + 1u, c + 2u, c + 3u) < vec4<u32>(p.ca + p.cb));
#endif
    return v;
}

fn stage_input(at: Place, first: u32, thread: u32) {
    let quad = thread % QUADS_K;
    let c = first + 4u * quad;
    if c >= p.ca + p.cb {
        return;
    }
    let affine = channels(at, c);
    let top = i32(at.y * STRIDE) - i32(p.top);
    let left = i32(at.x * STRIDE) - i32(p.left);
    for (var i = thread / QUADS_K; i < HALO_W * HALO_H; i += THREADS / QUADS_K) {
        let y = top + i32(i / HALO_W);
        let x = left + i32(i % HALO_W);
        keep_input(quad, i / HALO_W, i % HALO_W, load_input(at.sample, y, x, c, affine));
    }
}

#ifdef SHORTCUT
// Channels c .. c + 4 of a pixel of skip and skip2, zero past the last.
fn skip_quad(index: u32, c: u32) -> vec4<f32> {
#ifdef VEC4
#ifdef HAS_SKIP2
    if c >= p.sa {
        return vec4<f32>(skip2[(index * p.sb + c - p.sa) / 4u]);
    }
#endif
    return vec4<f32>(skip[(index * p.sa + c) / 4u]);
#else
    var v = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if c + i < p.sa {
            v[i] = f32(skip[index * p.sa + c + i]);
        }
#ifdef HAS_SKIP2
        if c + i >= p.sa && c + i < p.sa + p.sb {
            v[i] = f32(skip2[index * p.sb + c + i - p.sa]);
        }
#endif
    }
    return v;
#endif
}

// The tile's own pixels of the shortcut.
fn stage_skip(at: Place, first: u32, thread: u32) {
    let quad = thread % QUADS_K;
    let c = first + 4u * quad;
    for (var i = thread / QUADS_K; i < TILE_M && c < p.sa + p.sb; i += THREADS / QUADS_K) {
        let out = pixel(at, i);
        var v = vec4<f32>();
        if out.inside {
            v = skip_quad(out.index, c);
        }
        keep_skip(quad, i, v);
    }
}
#endif

// Sums the stages of the workgroup's split.
fn convolve(at: Place, thread: u32, lane: u32) {
#ifdef GROUPS
    load_group_norms(Region(p.from_a, p.tiles_a, p.ca), Region(p.from_b, p.tiles_b, p.cb),
        at.sample, p.eps, thread);
#endif
    let inputs = (p.ca + p.cb + 4u * QUADS_K - 1u) / (4u * QUADS_K);
    let stages = inputs + (p.sa + p.sb + 4u * QUADS_K - 1u) / (4u * QUADS_K);
    let share = (stages + SPLITS - 1u) / SPLITS;
    for (var i = at.split * share; i < min(stages, (at.split + 1u) * share); i++) {
        workgroupBarrier();
#ifdef SHORTCUT
        if i >= inputs {
            stage_skip(at, (i - inputs) * 4u * QUADS_K, thread);
        }
#endif
        if i < inputs {
            stage_input(at, i * 4u * QUADS_K, thread);
        }
        workgroupBarrier();
        multiply_stage(at, i, inputs, thread, lane);
    }
}
