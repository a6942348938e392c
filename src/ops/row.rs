//! One row of the trajectory as the device reads it: every scalar of one update.
//!
//! With the network's output F, the prediction and its update are
//!
//! ```text
//! x0  = clamp(x0_x x + x0_f F, -clip, clip)
//! eps = eps_x x + eps_f F + eps_x0 x0
//! x'     = x_x x + x_x0 x0 + x_eps eps + x_saved s + sum_j x_h[j] P_j + x_z0 z0 + x_z1 z1
//! saved' = the same with s_*          (if WRITE_SAVED)
//! P_new  = p_x x + p_x0 x0 + p_eps eps    (if PUSH), stored at ring position `ring`
//! ```
//!
//! `P_j` is the prediction pushed `j + 1` pushes ago, at ring position
//! `(ring + depth - 1 - j) % depth`. A coefficient that is zero is not read at all, so that memory
//! never written cannot put a NaN into the sum. A clip of `f32::MAX` or more is none: x0 stays as
//! it is, infinite or not; a NaN stays a NaN under every clip. Noise z0 and z1 are scaled by
//! `exp(0.5 (v log_var_max + (1 - v) log_var_min))`, `v = (F_var + 1) / 2`, if LEARNED: the learned
//! range of Nichol & Dhariwal 2021 (arXiv:2102.09672), eq. 15.

use super::Cursor;
use bytemuck::{Pod, Zeroable};

/// Predictions kept by the ring at most.
pub const HISTORY: usize = 4;

/// The row evaluates the network (reads F).
pub const EVAL: u32 = 1;
/// The row writes the saved copy.
pub const WRITE_SAVED: u32 = 2;
/// The row pushes a prediction into the ring.
pub const PUSH: u32 = 4;
/// Noise is scaled by the network's variance.
pub const LEARNED: u32 = 8;

pub(super) const CONSTANTS: &[(&str, u32)] = &[
    ("HISTORY", HISTORY as u32),
    ("ROW_EVAL", EVAL),
    ("ROW_WRITE_SAVED", WRITE_SAVED),
    ("ROW_PUSH", PUSH),
    ("ROW_LEARNED", LEARNED),
];

/// The names of a draw: Philox counts with `step` and `stream`; a host-made table of draws is
/// indexed by `index`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Draw {
    pub step: u32,
    pub stream: u32,
    pub index: u32,
}

macro_rules! row {
    ($($field:ident: $ty:ty,)+) => {
        /// The scalars of one row; the struct `Row` of `shaders/common/row.wgsl`.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
        pub struct Row { $(pub $field: $ty,)+ }
        impl Row {
            /// Names and byte offsets, compared with the kernels' struct by a test.
            pub const FIELDS: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!(Row, $field)),)+];
        }
    };
}

row! {
    c_in: f32, x0_x: f32, x0_f: f32, clip: f32,
    eps_x: f32, eps_f: f32, eps_x0: f32,
    x_x: f32, x_x0: f32, x_eps: f32, x_saved: f32, x_h: [f32; 4], x_z0: f32, x_z1: f32,
    s_x: f32, s_x0: f32, s_eps: f32, s_saved: f32, s_h: [f32; 4], s_z0: f32, s_z1: f32,
    p_x: f32, p_x0: f32, p_eps: f32,
    log_var_min: f32, log_var_max: f32,
    flags: u32, ring: u32,
    z0_step: u32, z0_stream: u32, z0_index: u32,
    z1_step: u32, z1_stream: u32, z1_index: u32,
}

/// 4-byte words of a row.
pub const WORDS: usize = size_of::<Row>() / 4;

impl Row {
    /// The row that the cursor names, out of a table of rows.
    pub fn at(table: &[f32], cursor: Cursor) -> Row {
        let words = &table[cursor.row as usize * WORDS..][..WORDS];
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(words))
    }

    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The row's draws, where their noise is used.
    pub fn draws(&self) -> [Option<Draw>; 2] {
        let [z0, z1] = [
            Draw { step: self.z0_step, stream: self.z0_stream, index: self.z0_index },
            Draw { step: self.z1_step, stream: self.z1_stream, index: self.z1_index },
        ];
        [
            (self.x_z0 != 0.0 || self.s_z0 != 0.0).then_some(z0),
            (self.x_z1 != 0.0 || self.s_z1 != 0.0).then_some(z1),
        ]
    }

    /// (x0, eps) from the state and the network's output.
    pub fn predict(&self, x: f32, f: f32) -> (f32, f32) {
        let raw = term(self.x0_x, x) + term(self.x0_f, f);
        let x0 = if self.clip < f32::MAX { raw.clamp(-self.clip, self.clip) } else { raw };
        let eps = term(self.eps_x, x) + term(self.eps_f, f) + term(self.eps_x0, x0);
        (x0, eps)
    }

    /// The logarithm of the noise scale from the network's variance channel.
    pub fn log_scale(&self, f_var: f32) -> f32 {
        let v = 0.5 * (f_var + 1.0);
        0.5 * (v * self.log_var_max + (1.0 - v) * self.log_var_min)
    }

    /// The update of element `i` of `state`, with the noise already scaled.
    pub fn update(&self, state: &mut State, i: usize, x0: f32, eps: f32, z: [f32; 2]) {
        let x = state.x[i];
        // Read before anything is written: the oldest prediction shares its place with the newest.
        let mut past = [0.0; HISTORY];
        for (j, past) in past.iter_mut().enumerate().take(state.depth) {
            if self.x_h[j] != 0.0 || self.s_h[j] != 0.0 {
                *past = state.history[(self.ring as usize + state.depth - 1 - j) % state.depth][i];
            }
        }
        let saved = if self.x_saved != 0.0 || self.s_saved != 0.0 { state.saved[i] } else { 0.0 };
        let history =
            |h: &[f32; HISTORY]| -> f32 { (0..HISTORY).map(|j| term(h[j], past[j])).sum() };
        state.x[i] = term(self.x_x, x)
            + term(self.x_x0, x0)
            + term(self.x_eps, eps)
            + term(self.x_saved, saved)
            + history(&self.x_h)
            + term(self.x_z0, z[0])
            + term(self.x_z1, z[1]);
        if self.has(WRITE_SAVED) {
            state.saved[i] = term(self.s_x, x)
                + term(self.s_x0, x0)
                + term(self.s_eps, eps)
                + term(self.s_saved, saved)
                + history(&self.s_h)
                + term(self.s_z0, z[0])
                + term(self.s_z1, z[1]);
        }
        if self.has(PUSH) {
            state.history[self.ring as usize][i] =
                term(self.p_x, x) + term(self.p_x0, x0) + term(self.p_eps, eps);
        }
    }
}

/// `c v`, and 0 where `c` is 0 even if `v` was never written and holds a NaN.
fn term(c: f32, v: f32) -> f32 {
    if c == 0.0 { 0.0 } else { c * v }
}

/// What an update reads and writes: a part of the state (a sample, say) with the same part of the
/// saved copy and of each ring position. An absent one is empty.
pub struct State<'a> {
    pub x: &'a mut [f32],
    pub saved: &'a mut [f32],
    pub history: [&'a mut [f32]; HISTORY],
    pub depth: usize,
}

impl<'a> State<'a> {
    /// Cuts a state of `n` elements into parts of `part`.
    pub fn parts(
        x: &'a mut [f32],
        saved: &'a mut [f32],
        history: &'a mut [f32],
        n: usize,
        part: usize,
    ) -> Vec<State<'a>> {
        let mut saved = saved.chunks_mut(part);
        let depth = history.len() / n;
        let mut rings: Vec<_> = history.chunks_mut(n).map(|ring| ring.chunks_mut(part)).collect();
        let parts = x[..n].chunks_mut(part).map(|x| {
            let mut rings = rings.iter_mut();
            let history =
                std::array::from_fn(|_| rings.next().and_then(Iterator::next).unwrap_or_default());
            State { x, saved: saved.next().unwrap_or_default(), history, depth }
        });
        parts.collect()
    }
}
