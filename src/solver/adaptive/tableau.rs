//! The coefficients of the embedded pairs.

/// An embedded pair of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The 5(4) pair of Dormand & Prince 1980 (J. Comp. Appl. Math. 6, table 2), with the control
    /// of Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I, section II.4.
    DormandPrince,
    /// DPM-Solver-12 (Lu et al. 2022, arXiv:2206.00927, appendix C).
    DpmSolver12,
    /// DPM-Solver-23.
    DpmSolver23,
}

/// What one evaluation weighs in a point of the step. With sigma and h of the step, eps_e being
/// evaluated at place c_e and the point lying at place c, the point is
///
/// ```text
/// saved - sigma sum_e (slope_e h exp(-c_e h) + phi_e phi(c h) + psi_e psi(c h)) eps_e
/// phi(u) = 1 - exp(-u),    psi(u) = phi(u) / u - exp(-u)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    /// Of the slope -sigma eps: a Runge-Kutta method.
    pub slope: f64,
    /// Of the integral of exp(-lambda) over a constant eps.
    pub phi: f64,
    /// Of the same over a linear eps.
    pub psi: f64,
}

/// A point of the step, made of the evaluations before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// 0 at the beginning of the step, 1 at its end.
    pub place: f64,
    /// Of each evaluation so far, in order.
    pub weights: &'static [Weight],
}

/// The coefficients of a method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tableau {
    /// Where the rows of a step evaluate; one more if not `first_same_as_last`, the end of the
    /// step.
    pub points: &'static [Point],
    /// The result of the higher order less that of the lower.
    pub error: Point,
    /// The end of a step is its last evaluation, which then is the first of the next: evaluation 0
    /// is carried over from the step before. Otherwise the first row of a step evaluates there.
    pub first_same_as_last: bool,
}

/// A Runge-Kutta weight.
const fn rk(slope: f64) -> Weight {
    Weight { slope, phi: 0.0, psi: 0.0 }
}

/// An exponential integrator's weight.
const fn ei(phi: f64, psi: f64) -> Weight {
    Weight { slope: 0.0, phi, psi }
}

const fn point(place: f64, weights: &'static [Weight]) -> Point {
    Point { place, weights }
}

const DORMAND_PRINCE: Tableau = Tableau {
    points: &[
        point(1.0 / 5.0, &[rk(1.0 / 5.0)]),
        point(3.0 / 10.0, &[rk(3.0 / 40.0), rk(9.0 / 40.0)]),
        point(4.0 / 5.0, &[rk(44.0 / 45.0), rk(-56.0 / 15.0), rk(32.0 / 9.0)]),
        point(
            8.0 / 9.0,
            &[
                rk(19372.0 / 6561.0),
                rk(-25360.0 / 2187.0),
                rk(64448.0 / 6561.0),
                rk(-212.0 / 729.0),
            ],
        ),
        point(
            1.0,
            &[
                rk(9017.0 / 3168.0),
                rk(-355.0 / 33.0),
                rk(46732.0 / 5247.0),
                rk(49.0 / 176.0),
                rk(-5103.0 / 18656.0),
            ],
        ),
        point(
            1.0,
            &[
                rk(35.0 / 384.0),
                rk(0.0),
                rk(500.0 / 1113.0),
                rk(125.0 / 192.0),
                rk(-2187.0 / 6784.0),
                rk(11.0 / 84.0),
            ],
        ),
    ],
    error: point(
        1.0,
        &[
            rk(71.0 / 57600.0),
            rk(0.0),
            rk(-71.0 / 16695.0),
            rk(71.0 / 1920.0),
            rk(-17253.0 / 339200.0),
            rk(22.0 / 525.0),
            rk(-1.0 / 40.0),
        ],
    ),
    first_same_as_last: true,
};

/// r1 = 1/2; DPM-Solver-1 is the lower order.
const DPM_SOLVER_12: Tableau = Tableau {
    points: &[
        point(0.0, &[]),
        point(0.5, &[ei(1.0, 0.0)]),
        point(1.0, &[ei(0.0, 0.0), ei(1.0, 0.0)]),
    ],
    error: point(1.0, &[ei(-1.0, 0.0), ei(1.0, 0.0)]),
    first_same_as_last: false,
};

/// r1 = 1/3, r2 = 2/3; DPM-Solver-2 with the same r1 is the lower order.
const DPM_SOLVER_23: Tableau = Tableau {
    points: &[
        point(0.0, &[]),
        point(1.0 / 3.0, &[ei(1.0, 0.0)]),
        point(2.0 / 3.0, &[ei(1.0, -2.0), ei(0.0, 2.0)]),
        point(1.0, &[ei(1.0, -1.5), ei(0.0, 0.0), ei(0.0, 1.5)]),
    ],
    error: point(1.0, &[ei(1.5, -1.5), ei(-1.5, 0.0), ei(0.0, 1.5)]),
    first_same_as_last: false,
};

impl Method {
    /// Its coefficients.
    pub fn tableau(self) -> &'static Tableau {
        match self {
            Method::DormandPrince => &DORMAND_PRINCE,
            Method::DpmSolver12 => &DPM_SOLVER_12,
            Method::DpmSolver23 => &DPM_SOLVER_23,
        }
    }

    /// Rows, each with one evaluation, of one step.
    pub fn rows(self) -> usize {
        let tableau = self.tableau();
        tableau.points.len() - usize::from(!tableau.first_same_as_last)
    }
}
