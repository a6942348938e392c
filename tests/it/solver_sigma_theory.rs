//! What theory says of the solvers over noise levels: order, cost and statistics on Gaussian data.

use crate::solver_sigma::{DENOISER, EDM, options, parse};
use serde_json::Value;
use unnoise::solver::{Interpreter, Network, Options, Term, Trajectory, record};

/// The standard deviation of the data.
const S: f64 = 0.5;

/// The exact denoiser of data N(0, S^2): `x0 = S^2 x / (S^2 + sigma^2)`.
fn gaussian(x: &[f64], sigma: f64) -> Vec<f64> {
    x.iter().map(|x| S * S * x / (S * S + sigma * sigma)).collect()
}

/// The probability flow keeps x / sqrt(S^2 + sigma^2). The step to 0, Euler's for all, is left out:
/// the run then ends at sigma_min.
#[test]
fn ode_solvers_converge_with_their_order() {
    const FIRST: f64 = 80.0;
    const LAST: f64 = 0.002;
    let config = parse(EDM);
    for (solver, order, keys) in [
        ("euler", 1.0, vec![]),
        ("heun", 2.0, vec![]),
        ("edm", 2.0, vec![]),
        ("dpm2", 2.0, vec![]),
        ("lms", 1.0, vec![("solver_order", Value::from(1))]),
        ("lms", 2.0, vec![("solver_order", Value::from(2))]),
        ("lms", 3.0, vec![("solver_order", Value::from(3))]),
        ("lms", 4.0, vec![]),
    ] {
        let error = |steps: usize| {
            let mut trajectory = record(&config, &options(solver, steps, &keys), DENOISER).unwrap();
            trajectory.rows.pop();
            trajectory.rows[0].x = FIRST.hypot(S) * Term::Noise(0);
            let x = Interpreter::new(&trajectory).run(1, gaussian, |_, z| z[0] = 1.0);
            (x[0] / LAST.hypot(S) - 1.0).abs()
        };
        let errors: Vec<f64> = [40, 80, 160, 320].into_iter().map(error).collect();
        let observed = (errors[2] / errors[3]).log2();
        assert!((observed - order).abs() < 0.2, "{solver}: order {observed}, {errors:?}");
    }
}

/// In flow coordinates the flow of N(0, S^2) keeps x / sqrt((1 - t)^2 S^2 + t^2).
#[test]
fn flow_solvers_converge_with_their_order() {
    let deviation = |t: f64| ((1.0 - t) * S).hypot(t);
    let config = parse(r#"{"_class_name": "FlowMatchEulerDiscreteScheduler"}"#);
    for (solver, order) in [("flow-euler", 1.0), ("flow-heun", 2.0)] {
        let error = |steps: usize| {
            let mut trajectory =
                record(&config, &options(solver, steps, &[]), Network::default()).unwrap();
            trajectory.rows.pop();
            // The network tells the velocity eps - x0 where t is told in thousandths.
            let velocity = |x: &[f64], time: f64| {
                let t = time / 1000.0;
                let gain = ((t - (1.0 - t) * S * S) / deviation(t).powi(2)) * x[0];
                vec![gain]
            };
            let x = Interpreter::new(&trajectory).run(1, velocity, |_, z| z[0] = 1.0);
            (x[0] / deviation(0.001) - 1.0).abs()
        };
        let errors: Vec<f64> = [40, 80, 160, 320].into_iter().map(error).collect();
        let observed = (errors[2] / errors[3]).log2();
        assert!((observed - order).abs() < 0.2, "{solver}: order {observed}, {errors:?}");
    }
}

/// Evaluations of a run.
#[test]
fn a_run_evaluates_as_often_as_its_paper_says() {
    let edm = parse(EDM);
    let flow = parse(r#"{"_class_name": "FlowMatchHeunDiscreteScheduler"}"#);
    let vp = parse(r#"{"_class_name": "EulerDiscreteScheduler"}"#);
    let lcm = parse(r#"{"_class_name": "LCMScheduler"}"#);
    let consistency = parse(r#"{"_class_name": "CMStochasticIterativeScheduler"}"#);
    for (config, solver, steps, nfe) in [
        (&edm, "edm", 18, 35),
        (&vp, "edm", 18, 35),
        (&edm, "heun", 18, 35),
        (&edm, "dpm2", 18, 35),
        (&edm, "dpm2-ancestral", 18, 35),
        (&flow, "flow-heun", 18, 35),
        (&edm, "euler", 18, 18),
        (&edm, "euler-ancestral", 18, 18),
        (&edm, "lms", 18, 18),
        (&flow, "flow-euler", 18, 18),
        (&flow, "flow-lcm", 4, 4),
        (&consistency, "consistency", 1, 1),
        (&consistency, "consistency", 2, 2),
        (&lcm, "lcm", 4, 4),
        (&lcm, "tcd", 4, 4),
        (&edm, "restart", 18, 43),
    ] {
        let trajectory = record(config, &options(solver, steps, &[]), Network::default()).unwrap();
        assert_eq!(trajectory.nfe(), nfe, "{solver}, {steps} steps");
    }
}

/// The coefficient of each draw in the final x, from the run on a linear denoiser: element k of
/// the batch is drawn 1 at draw k and 0 at all others. The initial x has the deviation `start`.
fn coefficients(
    mut trajectory: Trajectory,
    start: f64,
    denoiser: impl FnMut(&[f64], f64) -> Vec<f64>,
) -> Vec<f64> {
    trajectory.rows[0].x = start * Term::Noise(0);
    Interpreter::new(&trajectory).run(trajectory.draws, denoiser, |draw, z| {
        z.fill(0.0);
        z[draw.index as usize] = 1.0;
    })
}

/// The variance of the final x.
fn variance(
    trajectory: Trajectory,
    start: f64,
    denoiser: impl FnMut(&[f64], f64) -> Vec<f64>,
) -> f64 {
    coefficients(trajectory, start, denoiser).iter().map(|c| c * c).sum()
}

/// With the data in one point every step is exact: a run from deviation 80 that stops before its
/// last step has the deviation of its level, whatever noise it drew on the way.
#[test]
fn stochastic_solvers_keep_the_marginals_of_a_point() {
    let config = parse(EDM);
    let churn = [("s_churn", Value::from(40.0))];
    let point = |x: &[f64], _| vec![0.0; x.len()];
    for (solver, keys, eta) in [
        ("euler-ancestral", &[][..], 1.0),
        ("euler-ancestral", &[], 0.4),
        ("dpm2-ancestral", &[], 1.0),
        ("dpm2-ancestral", &[], 0.4),
        ("euler", &churn, 0.0),
        ("dpm2", &churn, 0.0),
        ("edm", &churn, 0.0),
        ("restart", &[], 0.0),
    ] {
        let options = Options { eta: Some(eta), ..options(solver, 18, keys) };
        let mut trajectory = record(&config, &options, DENOISER).unwrap();
        assert!(trajectory.draws > 2, "{solver} draws");
        trajectory.rows.pop();
        if solver == "euler" || solver == "dpm2" || solver == "edm" {
            // The churn before the last step.
            let last = trajectory.rows.pop_if(|row| row.eval.is_none());
            assert!(last.is_some(), "{solver} adds noise before every step");
        }
        let deviation = variance(trajectory, 80.0, point).sqrt();
        assert!((deviation / 0.002 - 1.0).abs() < 1e-9, "{solver}: {deviation}");
    }
}

/// On N(0, S^2) the variance of the samples comes to S^2 with the steps, at the order of the ODE's
/// steps: noise between them leads from marginal to marginal exactly.
#[test]
fn stochastic_solvers_converge_to_the_variance_of_the_data() {
    let config = parse(EDM);
    let churn = [("s_churn", Value::from(20.0))];
    for (solver, keys, order) in
        [("euler-ancestral", &[][..], 1.0), ("dpm2-ancestral", &[], 2.0), ("edm", &churn, 2.0)]
    {
        let error = |steps: usize| {
            let trajectory = record(&config, &options(solver, steps, keys), DENOISER).unwrap();
            let variance = variance(trajectory, 80f64.hypot(S), gaussian);
            (variance / (S * S) - 1.0).abs()
        };
        let errors: Vec<f64> = [40, 80, 160, 320].into_iter().map(error).collect();
        let observed = (errors[2] / errors[3]).log2();
        assert!((observed - order).abs() < 0.2, "{solver}: order {observed}, {errors:?}");
        assert!(errors[3] < 0.05, "{solver}: {errors:?}");
    }
}

/// A jump up and Heun's steps down keep the variance of the level where they turn, up to the error
/// of these steps.
#[test]
fn restart_keeps_the_variance_of_the_data() {
    let config = parse(EDM);
    let error = |levels: usize| {
        let interval = serde_json::json!([[levels, 3, 0.06, 0.3], [levels, 1, 1.0, 4.0]]);
        let options = options("restart", 200, &[("restart", interval)]);
        let trajectory = record(&config, &options, DENOISER).unwrap();
        assert_eq!(trajectory.nfe(), 399 + 4 * 2 * (levels - 1));
        (variance(trajectory, 80f64.hypot(S), gaussian) / (S * S) - 1.0).abs()
    };
    let (few, many) = (error(3), error(41));
    assert!(few < 0.05 && many < 5e-4, "{few}, {many}");
}

/// The exact consistency function of N(0, S^2), `f = x sqrt((S^2 + s^2) / (S^2 + sigma^2))` with s
/// the smallest level, makes every number of steps exact.
#[test]
fn consistency_sampling_keeps_the_variance_of_the_data() {
    let config =
        parse(r#"{"_class_name": "CMStochasticIterativeScheduler", "clip_denoised": false}"#);
    for steps in [1, 2, 5, 40] {
        let trajectory = record(&config, &options("consistency", steps, &[]), DENOISER).unwrap();
        let end = 0.002f64.hypot(S);
        let f = |x: &[f64], sigma: f64| x.iter().map(|x| x * end / sigma.hypot(S)).collect();
        // With fewer steps than its 40 levels a run starts below 80.
        let deviation = variance(trajectory, 80f64.hypot(S), f).sqrt();
        assert!((deviation / end - 1.0).abs() < 1e-9, "{steps} steps: {deviation}");
    }
}

/// Stochastic sampling of a flow, with the exact function f from (x, t) to the data told as the
/// velocity (x - f) / t.
#[test]
fn stochastic_flow_sampling_keeps_the_variance_of_the_data() {
    let flow = parse(r#"{"_class_name": "FlowMatchLCMScheduler"}"#);
    let euler =
        r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "stochastic_sampling": true}"#;
    for (config, solver) in [(&flow, "flow-lcm"), (&parse(euler), "flow-euler")] {
        for steps in [2, 5] {
            let options = options(solver, steps, &[]);
            let trajectory = record(config, &options, Network::default()).unwrap();
            let velocity = |x: &[f64], time: f64| {
                let t = time / 1000.0;
                let f = S / ((1.0 - t) * S).hypot(t);
                x.iter().map(|x| (1.0 - f) / t * x).collect()
            };
            let deviation = variance(trajectory, 1.0, velocity).sqrt();
            assert!((deviation / S - 1.0).abs() < 1e-9, "{solver}, {steps} steps: {deviation}");
        }
    }
}

/// CFG++ (Chung et al. 2024, Alg. 2) on noise levels: the guided x0, then noise along the
/// unconditional eps.
#[test]
fn cfg_plus_plus_renoises_along_the_unconditional_eps() {
    let config = parse(EDM);
    let w = 0.6;
    let conditional = |x: f64, sigma: f64| (x / (1.0 + sigma)).tanh();
    let unconditional = |x: f64, sigma: f64| (x / (2.0 + sigma)).sin();
    for (solver, ancestral) in [("euler", false), ("euler-ancestral", true)] {
        let mut options = options(solver, 6, &[]);
        options.guidance.plus_plus = true;
        let trajectory = record(&config, &options, DENOISER).unwrap();
        let network = |x: &[f64], sigma: f64, is_conditional: bool| {
            let d =
                if is_conditional { conditional(x[0], sigma) } else { unconditional(x[0], sigma) };
            vec![d]
        };
        let z = |draw: usize| 0.3 - 0.17 * draw as f64;
        let found = Interpreter::new(&trajectory)
            .run_guided(1, w, network, |draw, out| out[0] = z(draw.index as usize))[0];

        let mut x = trajectory.rows[0].x.coefficient(Term::Noise(0)) * z(0);
        let levels: Vec<f64> = trajectory.times.iter().copied().chain([0.0]).collect();
        for (i, pair) in levels.windows(2).enumerate() {
            let (sigma, next) = (pair[0], pair[1]);
            let (c, u) = (conditional(x, sigma), unconditional(x, sigma));
            let up = next * (1.0 - (next / sigma).powi(2)).sqrt();
            let up = if ancestral { up } else { 0.0 };
            let down = (next * next - up * up).sqrt();
            x = u + w * (c - u) + down * (x - u) / sigma + up * z(i + 1);
        }
        assert!((found - x).abs() < 1e-12, "{solver}: {found}, {x}");
    }
}
