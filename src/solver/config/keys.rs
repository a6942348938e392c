//! The keys of every scheduler class as one struct. What a class does not know keeps its default
//! here and means nothing to it.

use super::FromKey;
use crate::solver::words::words;
use crate::solver::{BetaSchedule, PredictionType, Reduce, Restart, TimestepSpacing};
use serde_json::Value;

words! {
    /// The variance of DDPM's noise.
    pub enum VarianceType {
        /// beta_tilde, the posterior's.
        FixedSmall = "fixed_small",
        /// The same by way of its logarithm.
        FixedSmallLog = "fixed_small_log",
        /// beta.
        FixedLarge = "fixed_large",
        /// The same by way of its logarithm.
        FixedLargeLog = "fixed_large_log",
        /// What the network says.
        Learned = "learned",
        /// Between beta_tilde and beta, as the network says.
        LearnedRange = "learned_range",
    }
}

words! {
    /// The variable in which a multistep solver extrapolates, and whether it adds noise.
    pub enum AlgorithmType {
        /// In eps (Lu et al. 2022, arXiv:2206.00927).
        DpmSolver = "dpmsolver",
        /// In x0 (Lu et al. 2022, arXiv:2211.01095).
        DpmSolverPlusPlus = "dpmsolver++",
        /// In eps, of the reverse SDE.
        SdeDpmSolver = "sde-dpmsolver",
        /// In x0, of the reverse SDE.
        SdeDpmSolverPlusPlus = "sde-dpmsolver++",
        /// DEIS (Zhang & Chen 2022, arXiv:2204.13902).
        Deis = "deis",
        /// SA-Solver in x0 (Xue et al. 2023, arXiv:2309.05019).
        DataPrediction = "data_prediction",
        /// SA-Solver in eps.
        NoisePrediction = "noise_prediction",
    }
}

words! {
    /// Which of several formulas of one order.
    pub enum SolverType {
        /// DPM-Solver's second order by the midpoint.
        Midpoint = "midpoint",
        /// By Heun's rule.
        Heun = "heun",
        /// UniPC with B(h) = h.
        Bh1 = "bh1",
        /// UniPC with B(h) = exp(h) - 1.
        Bh2 = "bh2",
        /// DEIS in the logarithm of rho.
        LogRho = "logrho",
    }
}

words! {
    /// Where the last step ends.
    pub enum FinalSigmas {
        /// At sigma 0.
        Zero = "zero",
        /// At the smallest sigma of the training.
        SigmaMin = "sigma_min",
    }
}

words! {
    /// How sigma is read between two training timesteps.
    pub enum Interpolation {
        Linear = "linear",
        LogLinear = "log_linear",
    }
}

words! {
    /// What the network is told for a sigma.
    pub enum TimestepType {
        /// Its timestep.
        Discrete = "discrete",
        /// ln(sigma) / 4.
        Continuous = "continuous",
    }
}

words! {
    /// The sigmas of an EDM scheduler.
    pub enum SigmaSchedule {
        Karras = "karras",
        Exponential = "exponential",
    }
}

words! {
    /// How a time shift bends t.
    pub enum TimeShift {
        Exponential = "exponential",
        Linear = "linear",
    }
}

macro_rules! keys {
    ($($(#[$meta:meta])* $key:ident: $ty:ty = $default:expr,)+) => {
        /// The keys of a scheduler configuration, by their names there.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Keys { $($(#[$meta])* pub $key: $ty,)+ }

        impl Default for Keys {
            fn default() -> Keys {
                Keys { $($key: $default,)+ }
            }
        }

        impl Keys {
            /// The names of all keys.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($key),)+];

            /// Sets a key; what it must be if the value is none of its kind. A key that is not
            /// here has no meaning for any solver.
            pub(in crate::solver) fn set(
                &mut self,
                key: &str,
                value: &Value,
            ) -> Result<(), String> {
                match key {
                    $(stringify!($key) => {
                        self.$key =
                            <$ty>::from_key(value).ok_or_else(<$ty as FromKey>::expected)?;
                    })+
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

keys! {
    /// T.
    num_train_timesteps: usize = 1000,
    /// beta of the first timestep.
    beta_start: f64 = 1e-4,
    /// beta of the last timestep.
    beta_end: f64 = 0.02,
    /// How beta rises between the two.
    beta_schedule: BetaSchedule = BetaSchedule::Linear,
    /// In place of the schedule, T values.
    trained_betas: Option<Vec<f64>> = None,
    /// Whether the schedule is rescaled to end at alpha_bar 0 (arXiv:2305.08891).
    rescale_betas_zero_snr: bool = false,
    /// What the network predicts.
    prediction_type: PredictionType = PredictionType::Epsilon,
    /// The variance of DDPM's noise.
    variance_type: Option<VarianceType> = None,
    /// E |eps|^2 / d at each timestep, for Analytic-DPM; no file of diffusers has it.
    gamma: Option<Vec<f64>> = None,
    /// Whether x0 is clipped.
    clip_sample: bool = false,
    /// x0 is clipped to [-range, range].
    clip_sample_range: f64 = 1.0,
    /// Whether the consistency function is clipped to [-1, 1].
    clip_denoised: bool = false,
    /// Dynamic thresholding.
    thresholding: bool = false,
    /// Its quantile.
    dynamic_thresholding_ratio: f64 = 0.995,
    /// Its upper bound.
    sample_max_value: f64 = 1.0,
    /// Which timesteps a short trajectory visits.
    timestep_spacing: TimestepSpacing = TimestepSpacing::Leading,
    /// Added to every timestep of the `leading` spacing.
    steps_offset: usize = 0,
    /// Whether the last step ends at alpha_bar 1, not at that of timestep 0.
    set_alpha_to_one: bool = true,
    /// PNDM without its Runge-Kutta start.
    skip_prk_steps: bool = false,
    /// The order of a multistep or single-step solver.
    solver_order: usize = 2,
    /// See [`AlgorithmType`].
    algorithm_type: AlgorithmType = AlgorithmType::DpmSolverPlusPlus,
    /// See [`SolverType`].
    solver_type: SolverType = SolverType::Midpoint,
    /// Lower orders in the last steps.
    lower_order_final: bool = true,
    /// The last step of order one.
    euler_at_final: bool = false,
    /// Sigmas of Karras et al. 2022, eq. 5.
    use_karras_sigmas: bool = false,
    /// Sigmas geometric.
    use_exponential_sigmas: bool = false,
    /// Sigmas at quantiles of a beta distribution (Lee et al. 2024, arXiv:2407.12173).
    use_beta_sigmas: bool = false,
    /// Uniform in lambda.
    use_lu_lambdas: bool = false,
    /// Sigmas of a rectified flow.
    use_flow_sigmas: bool = false,
    /// Their shift.
    flow_shift: f64 = 1.0,
    /// Where the last step ends.
    final_sigmas_type: FinalSigmas = FinalSigmas::Zero,
    /// lambda is not visited below this.
    lambda_min_clipped: f64 = f64::NEG_INFINITY,
    /// A shift that follows the image's size.
    use_dynamic_shifting: bool = false,
    /// Its form.
    time_shift_type: TimeShift = TimeShift::Exponential,
    /// The shift that [`Keys::use_dynamic_shifting`] follows; set by hand, no file has it.
    mu: Option<f64> = None,
    /// UniPC in x0.
    predict_x0: bool = true,
    /// Steps of UniPC that do not correct.
    disable_corrector: Vec<usize> = Vec::new(),
    /// The smallest sigma.
    sigma_min: Option<f64> = None,
    /// The largest sigma.
    sigma_max: Option<f64> = None,
    /// The last t of a flow, stretched to.
    shift_terminal: Option<f64> = None,
    /// Order of SA-Solver's predictor.
    predictor_order: usize = 2,
    /// Order of SA-Solver's corrector.
    corrector_order: usize = 2,
    /// See [`Interpolation`].
    interpolation_type: Interpolation = Interpolation::Linear,
    /// See [`TimestepType`].
    timestep_type: TimestepType = TimestepType::Discrete,
    /// Deviation of the data (Karras et al. 2022).
    sigma_data: f64 = 0.5,
    /// See [`SigmaSchedule`].
    sigma_schedule: SigmaSchedule = SigmaSchedule::Karras,
    /// Exponent of the Karras sigmas.
    rho: f64 = 7.0,
    /// Scale of the noise that churn adds.
    s_noise: f64 = 1.0,
    /// The seed with which diffusers draws this class's noise. No table depends on it: all noise
    /// of a run here has the run's own seed.
    noise_sampler_seed: Option<usize> = None,
    /// Churn (Karras et al. 2022, Alg. 2).
    s_churn: f64 = 0.0,
    /// Churn above this sigma.
    s_min: f64 = 0.0,
    /// Churn up to this sigma.
    s_max: f64 = f64::INFINITY,
    /// Intervals that Restart sampling repeats.
    restart: Vec<Restart> = vec![Restart { levels: 3, times: 2, t_min: 0.06, t_max: 0.3 }],
    /// Steps of the teacher that a consistency model was distilled from.
    original_inference_steps: usize = 50,
    /// Scale of t in the boundary condition of a latent consistency model.
    timestep_scaling: f64 = 10.0,
    /// Shift of a rectified flow.
    shift: f64 = 1.0,
    /// The shift at the smaller image of [`Keys::use_dynamic_shifting`].
    base_shift: f64 = 0.5,
    /// The shift at the larger image.
    max_shift: f64 = 1.15,
    /// Tokens of the smaller image.
    base_image_seq_len: usize = 256,
    /// Tokens of the larger image.
    max_image_seq_len: usize = 4096,
    /// t runs the other way.
    invert_sigmas: bool = false,
    /// Fresh noise in every step of a flow.
    stochastic_sampling: bool = false,
    /// Signal-to-noise ratio of a Langevin corrector.
    snr: f64 = 0.15,
    /// Where a continuous process stops.
    sampling_eps: f64 = 1e-3,
    /// Langevin steps a level.
    correct_steps: usize = 1,
    /// Step of annealed Langevin dynamics over sigma^2; the solver's own if not set.
    langevin_step: Option<f64> = None,
    /// Noise of a class that has it as a key: 0 none, 1 as ddpm.
    eta: f64 = 0.0,
    /// Steps that RePaint takes between two jumps back, and in each.
    jump_length: usize = 10,
    /// How often RePaint goes over the same steps.
    jump_n_sample: usize = 10,
    /// Over what norms are taken.
    reduce: Reduce = Reduce::Sample,
    /// Relative tolerance of an adaptive solver; the solver's own if not set.
    rtol: Option<f64> = None,
    /// Absolute tolerance of an adaptive solver.
    atol: Option<f64> = None,
    /// Steps that an adaptive solver may try; as many as the run has if not set.
    max_steps: Option<usize> = None,
    /// beta(0) of a continuous process.
    beta_min: f64 = 0.1,
    /// beta(1).
    beta_max: f64 = 20.0,
}
