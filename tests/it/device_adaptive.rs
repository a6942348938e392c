//! Adaptive steps chosen on the device, against the interpreter in f64: the same steps, the same
//! samples.

use super::device_solver::{Network, Run, noise, on_device, program};
use super::{device, evaluate::relative_l2};
use unnoise::ops::control::layout::REPORT;
use unnoise::program::Program;
use unnoise::solver::{
    Adaptive, Coordinates, GuidanceOptions, Interpreter, Method, Preconditioning, PredictionType,
    Progress, Projection, Recorder, Reduce, Threshold, TimeInput,
};

fn network() -> Network {
    Network { c: 2, cf: 2, hw: [3, 3] }
}

fn adaptive(method: Method, model: Preconditioning) -> Adaptive {
    let tolerance = if method == Method::DormandPrince { 1e-3 } else { 0.02 };
    Adaptive {
        method,
        rtol: tolerance,
        atol: tolerance,
        sigma_start: 10.0,
        sigma_end: 0.02,
        first_step: 0.05,
        budget: 40,
        model,
        guidance: GuidanceOptions::default(),
        clock: vec![(0.01_f64.ln(), 0.0), (0.0, 1.0), (5.0_f64.ln(), 2.5), (10.0_f64.ln(), 3.0)],
    }
}

fn run(adaptive: Adaptive, reduce: Reduce) -> Run {
    let mut rec = Recorder::new(adaptive.model);
    rec.reduce(reduce);
    let scale = adaptive.sigma_start;
    rec.adaptive(adaptive, scale, true);
    Run {
        trajectory: rec.finish(),
        batch: 3,
        w: None,
        table: false,
        fuse: true,
        projection: Projection::Mask,
    }
}

/// Programs of every method, fused and not.
pub fn programs() -> Vec<Program> {
    let run = |method, fuse| Run {
        fuse,
        ..run(adaptive(method, vp(PredictionType::Epsilon)), Reduce::Sample)
    };
    let runs = METHODS.into_iter().flat_map(|method| [run(method, true), run(method, false)]);
    runs.map(|run| program(&network(), &run)).collect()
}

fn on_host(network: &Network, run: &Run) -> (Vec<f32>, Vec<Progress>) {
    let z = noise(network, run);
    let n = run.batch * network.numel();
    let (x, progress) = Interpreter::new(&run.trajectory).samples(run.batch).run_reporting(
        n,
        run.w.unwrap_or(1.0),
        |x: &[f64], time, conditional| network.host(x, time, usize::from(!conditional)),
        |draw, out| out.copy_from_slice(&z[draw.index as usize * n..][..n]),
    );
    (x.iter().map(|v| *v as f32).collect(), progress)
}

/// What differs from the interpreter.
fn differences(name: &str, run: &Run) -> Vec<String> {
    let network = network();
    let (expected, progress) = on_host(&network, run);
    let mut wrong = Vec::new();
    for backend in device::backends() {
        let found = on_device(backend, &network, run);
        let (x, reports) = found.split_at(expected.len());
        let name = format!("{name} on {}", backend.name());
        for (sample, (report, p)) in reports.chunks(REPORT).zip(&progress).enumerate() {
            let steps = [report[0], report[1]];
            // The last bits of an error may tip a step that is just as large as it may be.
            if steps != [p.accepted as f32, p.rejected as f32]
                || (f64::from(report[2]) - p.lambda).abs() > 1e-3
            {
                wrong.push(format!("{name}, sample {sample}: {report:?}, expected {p:?}"));
            }
        }
        let error = relative_l2(x, &expected);
        // Rounding moves the steps a little, and the samples by a little of what a step may err.
        let tolerance = run.trajectory.adaptive.as_ref().map_or(0.0, |adaptive| adaptive.rtol);
        if error.is_nan() || error > 0.1 * tolerance {
            wrong.push(format!("{name}: relative L2 {error:e}"));
        }
    }
    wrong
}

fn vp(prediction: PredictionType) -> Preconditioning {
    Preconditioning::new(prediction)
}

const METHODS: [Method; 3] = [Method::DormandPrince, Method::DpmSolver12, Method::DpmSolver23];

#[test]
fn every_method_takes_the_steps_of_the_interpreter() {
    let mut wrong = Vec::new();
    for method in METHODS {
        for reduce in [Reduce::Sample, Reduce::Batch] {
            for fuse in [true, false] {
                let adaptive = adaptive(method, vp(PredictionType::Epsilon));
                let run = Run { fuse, ..run(adaptive, reduce) };
                let name = format!("{method:?} {reduce:?} fuse {fuse}");
                wrong.extend(differences(&name, &run));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_network_is_read_as_on_the_host() {
    let edm = Coordinates::Edm { sigma_data: 0.5 };
    let consistency = Coordinates::Consistency { sigma_data: 0.5, sigma_min: 0.01 };
    let cases = [
        (Coordinates::VariancePreserving, PredictionType::Sample),
        (Coordinates::VariancePreserving, PredictionType::VPrediction),
        (Coordinates::SubVariancePreserving, PredictionType::Score),
        (Coordinates::VarianceExploding, PredictionType::ScaledScore),
        (Coordinates::VarianceExploding, PredictionType::Score),
        (Coordinates::Flow, PredictionType::Flow),
        (edm, PredictionType::Epsilon),
        (edm, PredictionType::VPrediction),
        (consistency, PredictionType::Epsilon),
    ];
    let mut wrong = Vec::new();
    for (i, (coordinates, prediction)) in cases.into_iter().enumerate() {
        let time = if i % 3 == 0 { TimeInput::Sigma } else { TimeInput::Time };
        let model = Preconditioning { coordinates, time, ..vp(prediction) };
        let run = run(adaptive(METHODS[i % 3], model), Reduce::Sample);
        wrong.extend(differences(&format!("{coordinates:?} {prediction:?}"), &run));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn guidance_clips_and_thresholds_act_in_adaptive_steps() {
    let clip = Preconditioning { clip: Some(1.0), ..vp(PredictionType::Epsilon) };
    let clipped = Preconditioning { clipped_eps: true, ..clip };
    let threshold = Some(Threshold { quantile: 0.8, max: 1.5 });
    let threshold = Preconditioning { threshold, clip: None, ..clipped };
    let guidance = [
        GuidanceOptions::default(),
        GuidanceOptions { rescale: 0.7, ..Default::default() },
        GuidanceOptions { interval: (0.1, 3.0), plus_plus: true, ..Default::default() },
    ];
    let mut wrong = Vec::new();
    for (i, model) in [clip, clipped, threshold].into_iter().enumerate() {
        for (j, guidance) in guidance.into_iter().enumerate() {
            let adaptive = Adaptive { guidance, ..adaptive(METHODS[(i + j) % 3], model) };
            let run = Run { w: Some(2.5), fuse: j != 1, ..run(adaptive, Reduce::Sample) };
            wrong.extend(differences(&format!("model {i} guidance {j}"), &run));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_spent_budget_is_reported() {
    for method in METHODS {
        let adaptive = Adaptive { budget: 3, ..adaptive(method, vp(PredictionType::Epsilon)) };
        let run = run(adaptive.clone(), Reduce::Sample);
        let wrong = differences(&format!("{method:?}"), &run);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let (_, progress) = on_host(&network(), &run);
        assert!(progress.iter().all(|p| !adaptive.arrived(p)), "{progress:?}");
        let program = program(&network(), &run);
        program.validate().unwrap();
        assert_eq!(program.launches_per_step(), program.bodies[2].launches.len());
    }
}
