//! A trajectory as text: what it holds, then a line a row, six digits a coefficient.

use super::{Eval, Expr, Row, Stage, Term, Trajectory};
use std::fmt;

impl fmt::Display for Trajectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, times) = (self.rows.len(), self.times.len());
        write!(f, "rows {rows}, times {times}, evaluations {}, ", self.nfe())?;
        writeln!(f, "draws {}, history {}", self.draws, self.history)?;
        if let Some(a) = &self.adaptive {
            let [start, end] = [a.sigma_start, a.sigma_end].map(digits);
            let [rtol, atol] = [a.rtol, a.atol].map(digits);
            write!(f, "adaptive {:?}, sigma {start} to {end}, rtol {rtol}, ", a.method)?;
            writeln!(f, "atol {atol}, steps up to {}", a.budget)?;
        }
        for (i, row) in self.rows.iter().enumerate() {
            writeln!(f, "{i:>3}  {}", self.row(row))?;
        }
        Ok(())
    }
}

impl Trajectory {
    fn row(&self, row: &Row) -> String {
        let mut parts = Vec::new();
        match row.stage {
            Some(Stage::Step(part)) => parts.push(format!("evaluation {part} of a step")),
            Some(stage) => parts.push(format!("{stage:?}").to_lowercase()),
            None => {}
        }
        parts.extend(row.eval.as_ref().map(|eval| self.eval(eval)));
        let updates = [("x", Some(&row.x)), ("saved", row.saved.as_ref())];
        for (name, expr) in updates.into_iter().chain([("push", row.push.as_ref())]) {
            if let (Some(expr), None) = (expr, row.stage) {
                parts.push(format!("{name} = {}", sum(expr, row)));
            }
        }
        if let Some(known) = row.known {
            let part = if known.whole { "x" } else { "known part" };
            let z = known.draw.map_or("z".into(), |draw| format!("z{}", draw.index));
            let terms = join([(known.alpha, "y".into()), (known.sigma, z)]);
            parts.push(format!("{part} = {terms}"));
        }
        if let Some(snr) = row.snr {
            parts.push(format!("snr {}, factor {}", digits(snr.ratio), digits(snr.factor)));
        }
        parts.join(" | ")
    }

    /// What is asked, and how the answer F is read.
    fn eval(&self, eval: &Eval) -> String {
        let p = &eval.prediction;
        let mut text = format!("F(t = {}, ", digits(self.times[eval.time]));
        text += &format!("{}), x0 = ", join([(p.c_in, "x".into())]));
        text += &join([(p.x0_x, "x".into()), (p.x0_f, "F".into())]);
        if let Some(clip) = p.clip {
            text += &format!(" within {}", digits(clip));
        }
        if let Some(threshold) = p.threshold {
            let [quantile, max] = [threshold.quantile, threshold.max].map(digits);
            text += &format!(" within its quantile {quantile}, at most {max}");
        }
        let terms = [(p.eps_x, "x"), (p.eps_f, "F"), (p.eps_x0, "x0")];
        text += &format!(", eps = {}", join(terms.map(|(c, name)| (c, name.into()))));
        if let Some((least, most)) = eval.log_variance {
            text += &format!(", log variance {} to {}", digits(least), digits(most));
        }
        text
    }
}

fn sum(expr: &Expr, row: &Row) -> String {
    let name = |term| match term {
        Term::X => "x".to_string(),
        Term::Saved => "saved".to_string(),
        Term::X0 => "x0".to_string(),
        Term::Eps => "eps".to_string(),
        Term::History(n) => format!("h{n}"),
        Term::Noise(n) => row.draws.get(n).map_or("z".into(), |draw| format!("z{}", draw.index)),
    };
    join(expr.terms().map(|(term, c)| (c, name(term))))
}

/// The sum of the terms that are there.
fn join(terms: impl IntoIterator<Item = (f64, String)>) -> String {
    let mut text = String::new();
    for (c, name) in terms.into_iter().filter(|(c, _)| *c != 0.0) {
        let sign = match (text.is_empty(), c < 0.0) {
            (true, true) => "-",
            (true, false) => "",
            (false, true) => " - ",
            (false, false) => " + ",
        };
        let factor = digits(c.abs()) + " ";
        let factor = if factor == "1 " { "" } else { &factor };
        text += &format!("{sign}{factor}{name}");
    }
    if text.is_empty() { "0".into() } else { text }
}

/// Six digits, without zeros at the end.
fn digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    let plain = rounded == 0.0 || (1e-4..1e7).contains(&rounded.abs());
    if plain { rounded.to_string() } else { format!("{rounded:e}") }
}
