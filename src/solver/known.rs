//! What is known of a sample beforehand: where a trajectory starts from it, and what it keeps.
//!
//! A row may end by replacing a part P of the state, by what the forward process makes of data y
//! that are known, at the level where the row ends:
//!
//! ```text
//! x' = x + P (alpha y + sigma z - x)
//! ```
//!
//! P is an orthogonal projection, so what is not known stays as the solver left it: inpainting,
//! colourisation and super-resolution by an unconditional model (Song et al. 2021,
//! arXiv:2011.13456, appendix I.2; Choi et al. 2021, arXiv:2108.02938, eq. 8). With P the identity
//! at the start alone it is SDEdit (Meng et al. 2021, arXiv:2108.01073, Alg. 1).

use super::config::SchedulerClass;
use super::grid::{Grid, HalfLogSnr, RISING, Run};
use super::{Draw, Options, Setting, SolverInfo, Trajectory};
use crate::error::{Error, Result};

/// What the data that are known determine, as a projection P of a sample `[C, H, W]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Projection {
    /// Pixels by a mask m in [0, 1] for each of `[H, W]`: `P x = (1 - m) x`. 1 is to be redrawn;
    /// between the two x and y are mixed, and P is no projection.
    #[default]
    Mask,
    /// The mean of each pixel's channels.
    Channels,
    /// In each channel the mean of each square of pixels of this side, which divides H and W.
    Squares(usize),
}

impl Projection {
    /// The elements whose mean is known, group by group; none of a mask.
    pub fn groups(self, [c, h, w]: [usize; 3]) -> Vec<Vec<usize>> {
        match self {
            Projection::Mask => Vec::new(),
            Projection::Channels => {
                (0..h * w).map(|pixel| (0..c).map(|k| k * h * w + pixel).collect()).collect()
            }
            Projection::Squares(side) => {
                let square = |g: usize| {
                    let (across, down) = (w / side, h / side);
                    let first = (g / (across * down) * h + g / across % down * side) * w;
                    let first = first + g % across * side;
                    (0..side * side).map(|i| first + i / side * w + i % side).collect()
                };
                (0..c * (h / side) * (w / side)).map(square).collect()
            }
        }
    }
}

/// Where a trajectory starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At noise, as the solver says.
    #[default]
    Noise,
    /// At the known data with the noise of the first level.
    Known,
    /// At the known data as they are: a state that another trajectory left.
    State,
}

/// What a trajectory takes from known data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edit {
    pub start: Start,
    /// The share of the run's steps that is taken, from its end: 1 is all of them.
    pub strength: f64,
    /// Whether the known part is replaced wherever the network is asked, and at the end.
    pub keep: bool,
}

impl Default for Edit {
    fn default() -> Edit {
        Edit { start: Start::Noise, strength: 1.0, keep: false }
    }
}

/// How a row ends where something is known: `x' = x + P (alpha y + sigma z - x)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    pub alpha: f64,
    pub sigma: f64,
    /// z; none where sigma is 0.
    pub draw: Option<Draw>,
    /// P is the identity.
    pub whole: bool,
}

impl SolverInfo {
    /// Whether it goes from data to noise.
    pub fn inverts(&self) -> bool {
        SchedulerClass::find(self.schedulers[0]).is_some_and(|class| rises(Grid::of(class)))
    }
}

/// Whether a run of such levels goes from data to noise.
fn rises(grid: Grid) -> bool {
    matches!(grid, RISING | Grid::HalfLogSnr(HalfLogSnr::Inverse))
}

/// Leaves out the first steps of a run that starts at known data: of n steps `floor(n strength)`
/// are taken.
pub(super) fn cut(run: &mut Run, options: &Options) -> Result<()> {
    let steps = run.levels.len() - 1;
    let taken = ((steps as f64 * options.edit.strength) as usize).min(steps);
    if taken == 0 {
        return Err(Error::invalid(
            "--strength",
            format!("a share of {steps} steps that is one or more"),
            options.edit.strength.to_string(),
            "raise it, or --steps",
        ));
    }
    run.levels.drain(..steps - taken);
    if !run.timesteps.is_empty() {
        run.timesteps.drain(..steps - taken);
    }
    Ok(())
}

/// Fails where the solver has no place for known data.
pub(super) fn check(solver: &SolverInfo, setting: &Setting, trajectory: &Trajectory) -> Result<()> {
    let edit = setting.options.edit;
    let refuse = |flag: &str, expected: &str| {
        let action = "choose another --solver or leave the flag out";
        Err(Error::invalid(flag, expected, solver.name, action))
    };
    let rises = rises(setting.grid);
    if trajectory.adaptive.is_some() && edit != Edit::default() {
        return refuse("--init", "a solver whose levels are known before the run");
    }
    if rises && (edit.keep || edit.strength != 1.0) {
        return refuse("--mask or --strength", "a solver that goes from noise to data");
    }
    Ok(())
}
