//! What a table holds of adaptive steps after its rows, as numbers in the histories of further rows
//! ([`crate::ops::row::pack_numbers`]): a header, the points of the step, the clock.

use crate::ops::row;

/// What an adaptive row does; a step's rows are `STEP` and on.
pub const INIT: u32 = 1;
pub const START: u32 = 2;
pub const FINISH: u32 = 3;
pub const STEP: u32 = 4;

/// How the network is read: its coordinates.
pub const VARIANCE_PRESERVING: u32 = 0;
pub const VARIANCE_EXPLODING: u32 = 1;
pub const SUB_VARIANCE_PRESERVING: u32 = 2;
pub const FLOW: u32 = 3;
/// EDM's, and consistency models' with a `sigma_min` above 0.
pub const EDM: u32 = 4;

/// What the network predicts.
pub const EPSILON: u32 = 0;
pub const SAMPLE: u32 = 1;
pub const V: u32 = 2;
pub const SCORE: u32 = 3;
pub const VELOCITY: u32 = 4;

/// Evaluations that a point is made of, at most.
pub const EVALUATIONS: usize = 8;
/// Points of a step, the error's weights being the last.
pub const POINTS: usize = 8;
/// Numbers of a point: its place, then slope, phi and psi of each evaluation.
pub const POINT: usize = 1 + 3 * EVALUATIONS;
/// Rows that hold the numbers, with a clock of two points, at least.
pub const LEAST_ROWS: usize = (HEADER + POINTS * POINT + 4).div_ceil(row::NUMBERS);
/// Words after the samples for each sample: steps accepted, steps rejected, lambda.
pub const REPORT: usize = 3;

macro_rules! numbers {
    ($($(#[$meta:meta])* $name:ident,)+) => {
        /// Places in the numbers after a table's rows.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Place { $($name,)+ HEADER }
        $($(#[$meta])* pub const $name: usize = Place::$name as usize;)+
        /// Numbers before the points.
        pub const HEADER: usize = Place::HEADER as usize;
        const PLACES: &[(&str, u32)] = &[$((concat!("AT_", stringify!($name)), $name as u32),)+];
    };
}

numbers! {
    RTOL,
    ATOL,
    LAMBDA_START,
    LAMBDA_END,
    /// The step that is tried first.
    FIRST_STEP,
    /// Steps that may be tried.
    BUDGET,
    /// The order of DPM-Solver's limiter; 0 is the control of Dormand-Prince.
    LIMITER,
    /// Rows of a step.
    ROWS,
    /// Whether a step's last evaluation is the first of the next.
    CARRIES,
    COORDINATES,
    PREDICTION,
    /// 1, or -1 where F has the opposite sign.
    SIGN,
    /// Whether the network is told sigma.
    TOLD_SIGMA,
    SIGMA_DATA,
    SIGMA_MIN,
    /// Whether eps follows from the clipped x0.
    CLIPPED_EPS,
    /// Guidance acts above this sigma,
    ABOVE,
    /// and up to this.
    MOST,
    /// Whether eps is the unconditional one where it acts.
    PLUS_PLUS,
    /// Points of the clock, pairs of ln(sigma) and time, after the points of the step.
    CLOCK,
}

pub(crate) const CONSTANTS: &[(&str, u32)] = &[
    ("STAGE_INIT", INIT),
    ("STAGE_START", START),
    ("STAGE_FINISH", FINISH),
    ("STAGE_STEP", STEP),
    ("VARIANCE_PRESERVING", VARIANCE_PRESERVING),
    ("VARIANCE_EXPLODING", VARIANCE_EXPLODING),
    ("SUB_VARIANCE_PRESERVING", SUB_VARIANCE_PRESERVING),
    ("FLOW", FLOW),
    ("EDM", EDM),
    ("EPSILON", EPSILON),
    ("SAMPLE", SAMPLE),
    ("V_PREDICTION", V),
    ("SCORE", SCORE),
    ("VELOCITY", VELOCITY),
    ("EVALUATIONS", EVALUATIONS as u32),
    ("POINTS", POINTS as u32),
    ("POINT", POINT as u32),
    ("REPORT", REPORT as u32),
    ("AT_POINTS", HEADER as u32),
];

/// The names of all constants of the kernel.
pub(crate) fn constants() -> impl Iterator<Item = (&'static str, u32)> {
    CONSTANTS.iter().chain(PLACES).copied()
}
