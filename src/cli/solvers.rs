//! `unnoise solvers`: what can be asked for.

use super::args::SolversArgs;
use super::table::table;
use super::{compare, print, print_json};
use unnoise::error::Result;
use unnoise::solver::{Kind, SOLVER_FAMILIES, SOLVERS, SchedulerClass, SolverInfo};

pub fn run(args: &SolversArgs) -> Result<()> {
    if args.compare.wanted {
        return compare::run(&args.compare, args.list.json);
    }
    if args.list.json {
        return print_json(&*SOLVERS);
    }
    print(&words())
}

/// The schedules of `--schedule` and where they come from.
const SCHEDULES: &[(&str, &str)] = &[
    ("linear", "VP, beta linear in t; Ho et al. 2020, arXiv:2006.11239, section 4"),
    ("scaled_linear", "VP, sqrt(beta) linear in t; Rombach et al. 2022, arXiv:2112.10752"),
    ("squaredcos_cap_v2", "VP, cosine; Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17"),
    ("sigmoid", "VP, beta a sigmoid of t; Xu et al. 2022, arXiv:2203.02923 (GeoDiff)"),
    ("vp", "VP SDE in continuous time; Song et al. 2021, arXiv:2011.13456, eq. 11"),
    ("sub-vp", "sub-VP SDE; Song et al. 2021, arXiv:2011.13456, eq. 12"),
    ("ve", "VE SDE; Song et al. 2021, arXiv:2011.13456, eq. 9"),
    ("edm", "sigma(t) = t; Karras et al. 2022, arXiv:2206.00364, table 1"),
    ("flow", "rectified flow; Liu et al. 2022, arXiv:2209.03003, eq. 1"),
];

/// The spacings of `--sigmas` and where they come from.
const SPACINGS: &[(&str, &str)] = &[
    ("karras", "Karras et al. 2022, arXiv:2206.00364, eq. 5"),
    ("exponential", "ln(sigma) evenly spaced; Crowson 2022, k-diffusion"),
    ("polyexponential", "ln(sigma) along a power, rho; Crowson 2022, k-diffusion"),
    ("beta", "quantiles of a beta distribution; Lee et al. 2024, arXiv:2407.12173"),
    ("align-your-steps", "a table for ten steps; Sabour et al. 2024, arXiv:2404.14507"),
];

/// Everything that can be asked for, as tables.
fn words() -> String {
    let mut lines = vec![["name", "kind", "NFE a step", "order", "reference"].map(String::from)];
    for (family, meaning) in SOLVER_FAMILIES {
        lines.push(Default::default());
        lines.push([format!("{family}:"), "".into(), "".into(), "".into(), meaning.to_string()]);
        let members = SOLVERS.iter().filter(|solver| solver.family == *family);
        lines.extend(members.map(row));
    }
    let mut text = table(&lines);
    text += "\nOf an adaptive solver (ode-rk45, dpm-adaptive) --steps is the budget.\n";
    for (title, entries) in [
        ("schedules (--schedule, for mixture and EDM's own files)", SCHEDULES),
        ("spacings of the noise levels (--sigmas)", SPACINGS),
    ] {
        let rows = entries.iter().map(|(name, what)| [format!("  {name}"), what.to_string()]);
        text += &format!("\n{title}\n{}", table(&rows.collect::<Vec<_>>()));
    }
    text += "\nschedulers (_class_name of scheduler_config.json) and the first solver of each\n";
    let rows = SchedulerClass::all().map(|class| {
        let solver = SOLVERS.iter().find(|s| s.schedulers.contains(&class.name.as_str()));
        [format!("  {}", class.name), solver.map_or("", |s| s.name).to_string()]
    });
    text + &table(&rows.collect::<Vec<_>>())
}

fn row(solver: &SolverInfo) -> [String; 5] {
    let kind = match solver.kind {
        Kind::Ode => "ODE",
        Kind::Sde => "SDE",
    };
    let nfe = match (solver.nfe_per_step, solver.nfe_extra) {
        (each, 0) => each.to_string(),
        (each, extra) => format!("{each}, {extra:+} a run"),
    };
    let name = format!("  {}", solver.name);
    [name, kind.into(), nfe, solver.order.to_string(), solver.reference.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use unnoise::model;
    use unnoise::solver::Sigmas;

    #[test]
    fn the_lists_are_those_of_the_flags() {
        let names = |list: &[(&'static str, &str)]| -> Vec<&str> {
            list.iter().map(|(name, _)| *name).collect()
        };
        assert_eq!(names(SCHEDULES), names(model::SCHEDULES));
        let spacings: Vec<_> = Sigmas::NAMES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names(SPACINGS), spacings);
        let text = words();
        for solver in SOLVERS.iter() {
            assert!(text.contains(&format!("\n  {} ", solver.name)), "{} is missing", solver.name);
        }
    }
}
