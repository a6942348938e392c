//! The numbers of adaptive steps as the device reads them, see [`crate::ops::control::layout`].

use crate::ops::control::layout::{self, POINT, POINTS};
use crate::solver::{
    Adaptive, Coordinates, Method, Point, PredictionType, Stage, TimeInput, Weight,
};

/// The code of a stage.
pub(super) fn stage(stage: Stage) -> u32 {
    match stage {
        Stage::Start => layout::START,
        Stage::Finish => layout::FINISH,
        Stage::Step(row) => layout::STEP + row as u32,
    }
}

/// The header, the points of the step with the error last, and the clock.
pub(super) fn numbers(adaptive: &Adaptive) -> Vec<f32> {
    let mut numbers = header(adaptive);
    let tableau = adaptive.method.tableau();
    for point in tableau.points {
        push_point(&mut numbers, point);
    }
    numbers.resize(layout::HEADER + (POINTS - 1) * POINT, 0.0);
    push_point(&mut numbers, &tableau.error);
    numbers.extend(adaptive.clock.iter().flat_map(|(at, time)| [*at as f32, *time as f32]));
    numbers
}

fn push_point(numbers: &mut Vec<f32>, point: &Point) {
    let first = numbers.len();
    numbers.push(point.place as f32);
    let weights = |w: &Weight| [w.slope as f32, w.phi as f32, w.psi as f32];
    numbers.extend(point.weights.iter().flat_map(weights));
    numbers.resize(first + POINT, 0.0);
}

fn header(a: &Adaptive) -> Vec<f32> {
    let mut header = vec![0.0; layout::HEADER];
    let mut set = |place: usize, value: f64| header[place] = value as f32;
    set(layout::RTOL, a.rtol);
    set(layout::ATOL, a.atol);
    set(layout::LAMBDA_START, -a.sigma_start.ln());
    set(layout::LAMBDA_END, -a.sigma_end.ln());
    set(layout::FIRST_STEP, a.first_step);
    set(layout::BUDGET, a.budget as f64);
    let limiter = match a.method {
        Method::DormandPrince => 0.0,
        Method::DpmSolver12 => 2.0,
        Method::DpmSolver23 => 3.0,
    };
    set(layout::LIMITER, limiter);
    set(layout::ROWS, a.method.rows() as f64);
    set(layout::CARRIES, f64::from(u8::from(a.method.tableau().first_same_as_last)));
    let (coordinates, data, sigma_min) = coordinates(a.model.coordinates);
    set(layout::COORDINATES, f64::from(coordinates));
    set(layout::SIGMA_DATA, data);
    set(layout::SIGMA_MIN, sigma_min);
    let (prediction, sign) = prediction(a.model.prediction, coordinates);
    set(layout::PREDICTION, f64::from(prediction));
    set(layout::SIGN, sign);
    set(layout::TOLD_SIGMA, f64::from(u8::from(a.model.time == TimeInput::Sigma)));
    let clips = a.model.clip.is_some() || a.model.threshold.is_some();
    set(layout::CLIPPED_EPS, f64::from(u8::from(clips && a.model.clipped_eps)));
    let (above, most) = a.guidance.interval;
    set(layout::ABOVE, above);
    set(layout::MOST, most.min(f32::MAX.into()));
    set(layout::PLUS_PLUS, f64::from(u8::from(a.guidance.plus_plus)));
    set(layout::CLOCK, a.clock.len() as f64);
    header
}

/// The code, sigma_data and sigma_min.
fn coordinates(coordinates: Coordinates) -> (u32, f64, f64) {
    match coordinates {
        Coordinates::VariancePreserving => (layout::VARIANCE_PRESERVING, 0.0, 0.0),
        Coordinates::VarianceExploding => (layout::VARIANCE_EXPLODING, 0.0, 0.0),
        Coordinates::SubVariancePreserving => (layout::SUB_VARIANCE_PRESERVING, 0.0, 0.0),
        Coordinates::Flow => (layout::FLOW, 0.0, 0.0),
        Coordinates::Edm { sigma_data } => (layout::EDM, sigma_data, 0.0),
        Coordinates::Consistency { sigma_data, sigma_min } => (layout::EDM, sigma_data, sigma_min),
    }
}

/// The code, and the sign of F.
fn prediction(prediction: PredictionType, coordinates: u32) -> (u32, f64) {
    match prediction {
        PredictionType::VPrediction if coordinates == layout::EDM => (layout::V, -1.0),
        PredictionType::Epsilon => (layout::EPSILON, 1.0),
        PredictionType::ScaledScore => (layout::EPSILON, -1.0),
        PredictionType::Sample => (layout::SAMPLE, 1.0),
        PredictionType::VPrediction => (layout::V, 1.0),
        PredictionType::Score => (layout::SCORE, 1.0),
        PredictionType::Flow => (layout::VELOCITY, 1.0),
    }
}
