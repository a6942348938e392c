//! Linear expressions over what an update may read: `a * X0 + b * EPS + c * noise`.

use std::ops::{Add, Mul, Sub};

/// What an update may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// The state before the update.
    X,
    /// The saved copy.
    Saved,
    /// The clipped prediction of the data.
    X0,
    /// The prediction of the noise.
    Eps,
    /// The prediction pushed `n + 1` pushes ago.
    History(usize),
    /// Fresh noise, the row's n-th draw.
    Noise(usize),
}

/// A linear combination of [`Term`]s with f64 coefficients; a term appears once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expr(Vec<(Term, f64)>);

impl Expr {
    /// The terms with their coefficients, zero ones left out.
    pub fn terms(&self) -> impl Iterator<Item = (Term, f64)> + '_ {
        self.0.iter().copied().filter(|(_, c)| *c != 0.0)
    }

    /// The coefficient of a term, zero if absent.
    pub fn coefficient(&self, term: Term) -> f64 {
        self.0.iter().find(|(t, _)| *t == term).map_or(0.0, |(_, c)| *c)
    }

    fn accumulate(mut self, other: Expr, sign: f64) -> Expr {
        for (term, c) in other.0 {
            match self.0.iter_mut().find(|(t, _)| *t == term) {
                Some((_, sum)) => *sum += sign * c,
                None => self.0.push((term, sign * c)),
            }
        }
        self
    }
}

impl Expr {
    /// Nothing: the sum of no terms.
    pub fn zero() -> Expr {
        Expr::default()
    }
}

impl From<Term> for Expr {
    fn from(term: Term) -> Expr {
        Expr(vec![(term, 1.0)])
    }
}

impl Mul<Term> for f64 {
    type Output = Expr;
    fn mul(self, term: Term) -> Expr {
        Expr(vec![(term, self)])
    }
}

impl Mul<Expr> for f64 {
    type Output = Expr;
    fn mul(self, expr: Expr) -> Expr {
        Expr(expr.0.into_iter().map(|(t, c)| (t, self * c)).collect())
    }
}

impl Add for Expr {
    type Output = Expr;
    fn add(self, other: Expr) -> Expr {
        self.accumulate(other, 1.0)
    }
}

impl Sub for Expr {
    type Output = Expr;
    fn sub(self, other: Expr) -> Expr {
        self.accumulate(other, -1.0)
    }
}
