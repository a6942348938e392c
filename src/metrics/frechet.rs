//! The Frechet distance between two normal distributions (Heusel et al. 2017, arXiv:1706.08500,
//! eq. 6): the FID where the features are Inception's.

use super::Statistics;
use crate::error::{Error, Result};
use faer::{Mat, Side};

/// `|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))` of means m and covariances A, B.
///
/// `(A B)^(1/2)` has the trace of `(A^(1/2) B A^(1/2))^(1/2)`, whose argument is symmetric: the sum
/// of the roots of its eigenvalues.
///
/// # Errors
/// Statistics of different networks, or of fewer than two samples.
pub fn frechet_distance(a: &Statistics, b: &Statistics) -> Result<f64> {
    a.check_fits(b)?;
    for (which, statistics) in [("samples", a), ("reference", b)] {
        if statistics.count < 2 {
            return Err(Error::invalid(
                which,
                "2 or more for a Frechet distance, which needs a covariance",
                statistics.count.to_string(),
                "give more",
            ));
        }
    }
    let between = a.mean().iter().zip(b.mean()).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let [ca, cb] = [a, b].map(covariance);
    let root = root(&ca, &a.space.name)?;
    let product = &root * &cb * &root;
    let product = Mat::from_fn(product.nrows(), product.ncols(), |i, j| {
        0.5 * (product[(i, j)] + product[(j, i)])
    });
    let values = product.self_adjoint_eigenvalues(Side::Lower);
    let values = values.map_err(|_| no_eigenvalues(&a.space.name))?;
    let common: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
    let trace = |c: &Mat<f64>| (0..c.nrows()).map(|i| c[(i, i)]).sum::<f64>();
    let distance = between + trace(&ca) + trace(&cb) - 2.0 * common;
    // Rounding may go below zero; a NaN stays one.
    Ok(if distance < 0.0 { 0.0 } else { distance })
}

fn covariance(statistics: &Statistics) -> Mat<f64> {
    let d = statistics.space.features;
    Mat::from_fn(d, d, |i, j| statistics.covariance(i, j))
}

/// The symmetric root of a covariance; eigenvalues below zero are rounding.
fn root(c: &Mat<f64>, name: &str) -> Result<Mat<f64>> {
    let eigen = c.self_adjoint_eigen(Side::Lower).map_err(|_| no_eigenvalues(name))?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let scaled =
        Mat::from_fn(c.nrows(), c.ncols(), |i, j| vectors[(i, j)] * values[j].max(0.0).sqrt());
    Ok(&scaled * vectors.transpose())
}

fn no_eigenvalues(name: &str) -> Error {
    Error::device(
        "this process",
        format!("the covariance of the features of {name} has no eigenvalues that were found"),
        "look at the samples and at the weights of the network",
    )
}
