//! The families that solvers are grouped by: the three of the survey literature (Yang et al. 2023,
//! arXiv:2209.00796, section 2), then those that sample faster.

/// The word of [`super::SolverInfo::family`] and what it stands for.
pub const SOLVER_FAMILIES: &[(&str, &str)] = &[
    ("DDPM", "denoising diffusion probabilistic models and their non-Markovian kin"),
    ("score-based", "score-based generative models: annealed Langevin dynamics of NCSN"),
    ("SDE", "stochastic differential equations: the reverse SDE and ancestral sampling"),
    ("probability-flow ODE", "the deterministic twin of the reverse SDE"),
    ("exponential integrator", "its linear part solved exactly, with or without noise"),
    ("consistency", "distilled models that jump to the data"),
    ("rectified flow", "straight ways from noise to data"),
];
