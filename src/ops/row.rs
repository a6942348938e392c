//! One row of the trajectory as the device reads it: every scalar of one update.
//!
//! With the network's outputs C for the condition and U for the null condition,
//!
//! ```text
//! F   = f_scale (U + w (C - U))           (if GUIDE, in a guided run; else C)
//! x0  = x0_scale clamp(x0_x x + x0_f F, -clip, clip)
//! eps = eps_x x + eps_f F + eps_x0 x0     (U for F if UNCOND_EPS)
//! x'     = the mix `x` of {x, x0, eps, saved, P_j, z0, z1}
//! saved' = the mix `saved` of the same    (if WRITE_SAVED)
//! P_new  = the mix `push` of the same     (if PUSH), stored at ring position `ring`
//! ```
//!
//! `P_j` is the prediction pushed `j + 1` pushes ago, at ring position
//! `(ring + depth - 1 - j) % depth`. Every term is what it was before the row. A coefficient that
//! is zero is not read at all, so that memory never written cannot put a NaN into the sum. A clip
//! of `f32::MAX` or more is none: x0 stays as it is, infinite or not; a NaN stays a NaN under every
//! clip. Noise z0 and z1 are scaled by `exp(0.5 (v log_var_max + (1 - v) log_var_min))`,
//! `v = (F_var + 1) / 2`, if LEARNED: the learned range of Nichol & Dhariwal 2021
//! (arXiv:2102.09672), eq. 15.
//!
//! What only the evaluation can tell - a guidance rescale, a threshold, the step size of a Langevin
//! corrector, an adaptive step - is worked out by [`super::control`], which writes a row of its own
//! for each sample. The last line of the fields is how far a sample has come in adaptive steps.

use super::Cursor;
use bytemuck::{Pod, Zeroable};

/// Predictions kept by the ring at most.
pub const HISTORY: usize = 9;

/// The row evaluates the network (reads F).
pub const EVAL: u32 = 1;
/// The row writes the saved copy.
pub const WRITE_SAVED: u32 = 2;
/// The row pushes a prediction into the ring.
pub const PUSH: u32 = 4;
/// Noise is scaled by the network's variance.
pub const LEARNED: u32 = 8;
/// Guidance acts in this row.
pub const GUIDE: u32 = 16;
/// eps is made of the unconditional output.
pub const UNCOND_EPS: u32 = 32;
/// x0 is limited to a quantile of its own.
pub const THRESHOLD: u32 = 64;
/// The update of x takes the step size of a Langevin corrector.
pub const SNR: u32 = 128;

pub(super) const CONSTANTS: &[(&str, u32)] = &[
    ("HISTORY", HISTORY as u32),
    ("ROW_EVAL", EVAL),
    ("ROW_WRITE_SAVED", WRITE_SAVED),
    ("ROW_PUSH", PUSH),
    ("ROW_LEARNED", LEARNED),
    ("ROW_GUIDE", GUIDE),
    ("ROW_UNCOND_EPS", UNCOND_EPS),
    ("ROW_THRESHOLD", THRESHOLD),
    ("ROW_SNR", SNR),
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

macro_rules! shared {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $ty:ty,)+ }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
        pub struct $name { $(pub $field: $ty,)+ }
        impl $name {
            /// Names and byte offsets, compared with the kernels' struct by a test.
            pub const FIELDS: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field)),)+];
        }
    };
}

shared! {
    /// The coefficients of one output of a row; the struct `Mix` of `shaders/common/row.wgsl`.
    #[derive(Default)]
    Mix {
        x: f32, x0: f32, eps: f32, saved: f32, h: [f32; HISTORY], z0: f32, z1: f32,
    }
}

shared! {
    /// The scalars of one row; the struct `Row` of `shaders/common/row.wgsl`.
    Row {
        c_in: f32, x0_x: f32, x0_f: f32, clip: f32,
        eps_x: f32, eps_f: f32, eps_x0: f32,
        f_scale: f32, x0_scale: f32,
        x: Mix, saved: Mix, push: Mix,
        log_var_min: f32, log_var_max: f32,
        rescale: f32,
        snr_ratio: f32, snr_factor: f32,
        threshold_rank: u32, threshold_part: f32, threshold_max: f32,
        flags: u32, ring: u32,
        z0_step: u32, z0_stream: u32, z0_index: u32,
        z1_step: u32, z1_stream: u32, z1_index: u32,
        stage: u32, lambda: f32, h: f32, accepted: u32, rejected: u32, retries: u32,
    }
}

impl Default for Row {
    /// Neither scales nor clips, and mixes nothing.
    fn default() -> Row {
        Row { c_in: 1.0, clip: f32::MAX, f_scale: 1.0, x0_scale: 1.0, ..Row::zeroed() }
    }
}

/// Numbers that a row's histories hold where it is none.
pub const NUMBERS: usize = 3 * HISTORY;

/// Numbers as rows, to follow those of a table: each holds them in its three histories.
pub fn pack_numbers(numbers: &[f32]) -> Vec<Row> {
    let history = |part: &[f32]| -> [f32; HISTORY] {
        std::array::from_fn(|i| part.get(i).copied().unwrap_or(0.0))
    };
    let row = |numbers: &[f32]| {
        let part = |i: usize| Mix {
            h: history(numbers.get(i * HISTORY..).unwrap_or_default()),
            ..Mix::default()
        };
        Row { x: part(0), saved: part(1), push: part(2), ..Row::zeroed() }
    };
    numbers.chunks(NUMBERS).map(row).collect()
}

/// 4-byte words of a row.
pub const WORDS: usize = size_of::<Row>() / 4;

/// Which row of its table an op reads for a sample: the cursor's, or the sample's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rows<'a> {
    pub table: &'a [f32],
    pub cursor: Cursor,
    /// As in the `Params` of ops.
    pub per_sample: u32,
}

impl Rows<'_> {
    /// The row of the batch's sample number `sample`.
    pub fn of(&self, sample: usize) -> Row {
        let row = if self.per_sample != 0 { sample } else { self.cursor.row as usize };
        let words = &self.table[row * WORDS..][..WORDS];
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(words))
    }
}

/// Elements that an op's table holds for `b` samples, and at `rows` rows of a program.
pub(super) fn table_elements(per_sample: u32, b: u32, rows: usize) -> usize {
    WORDS * if per_sample != 0 { b as usize } else { rows }
}

/// The define of kernels that read a row of each sample's own.
pub(super) fn defines(per_sample: u32) -> Vec<(&'static str, u32)> {
    if per_sample != 0 { vec![("PER_SAMPLE", 1)] } else { Vec::new() }
}

impl Row {
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn mixes(&self) -> [&Mix; 3] {
        [&self.x, &self.saved, &self.push]
    }

    /// The row's draws, where their noise is used.
    pub fn draws(&self) -> [Option<Draw>; 2] {
        let [z0, z1] = [
            Draw { step: self.z0_step, stream: self.z0_stream, index: self.z0_index },
            Draw { step: self.z1_step, stream: self.z1_stream, index: self.z1_index },
        ];
        [
            self.mixes().iter().any(|m| m.z0 != 0.0).then_some(z0),
            self.mixes().iter().any(|m| m.z1 != 0.0).then_some(z1),
        ]
    }

    /// (x0, eps) from the state, the network's output and the output that eps is made of.
    pub fn predict(&self, x: f32, [f, of_eps]: [f32; 2]) -> (f32, f32) {
        let raw = term(self.x0_x, x) + term(self.x0_f, f);
        let x0 = if self.clip < f32::MAX { raw.clamp(-self.clip, self.clip) } else { raw };
        let x0 = self.x0_scale * x0;
        let eps = term(self.eps_x, x) + term(self.eps_f, of_eps) + term(self.eps_x0, x0);
        (x0, eps)
    }

    /// The logarithm of the noise scale from the network's variance channel.
    pub fn log_scale(&self, f_var: f32) -> f32 {
        let v = 0.5 * (f_var + 1.0);
        0.5 * (v * self.log_var_max + (1.0 - v) * self.log_var_min)
    }

    /// The update of element `i` of `state`, with the noise already scaled.
    pub fn update(&self, state: &mut State, i: usize, x0: f32, eps: f32, z: [f32; 2]) {
        let depth = state.depth.min(HISTORY);
        // Read before anything is written: the oldest prediction shares its place with the newest.
        let mut past = [0.0; HISTORY];
        for (j, past) in past.iter_mut().enumerate().take(depth) {
            if self.mixes().iter().any(|m| m.h[j] != 0.0) {
                *past = state.history[(self.ring as usize + state.depth - 1 - j) % state.depth][i];
            }
        }
        let reads_saved = self.mixes().iter().any(|m| m.saved != 0.0);
        let saved = if reads_saved { state.saved[i] } else { 0.0 };
        let x = state.x[i];
        let mix = |m: &Mix| -> f32 {
            term(m.x, x)
                + term(m.x0, x0)
                + term(m.eps, eps)
                + term(m.saved, saved)
                + (0..depth).map(|j| term(m.h[j], past[j])).sum::<f32>()
                + term(m.z0, z[0])
                + term(m.z1, z[1])
        };
        state.x[i] = mix(&self.x);
        if self.has(WRITE_SAVED) {
            state.saved[i] = mix(&self.saved);
        }
        if self.has(PUSH) {
            state.history[self.ring as usize][i] = mix(&self.push);
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
