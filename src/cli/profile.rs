//! `unnoise profile`: what every kernel of every step costs.

use super::args::ProfileArgs;
use super::progress::Progress;
use super::session::{self, Keys};
use super::table::table;
use super::{print, print_json, say};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use unnoise::backend::roofline::Peak;
use unnoise::backend::timeline::Clock;
use unnoise::backend::{Backend, Observer, Settings, Stamping, tune};
use unnoise::error::{Error, Result};
use unnoise::output::Target;
use unnoise::profile::{self, About, By, Cost, Group, HostSpan, Profile, Row, TRUSTED};
use unnoise::sampler::Sampler;

/// Samples of a run of which nothing was said: latency is a matter of one.
const COUNT: usize = 1;
/// Lines of a table of which nothing was said.
const TOP: usize = 15;

/// `profile --json`; times are of one batch, in microseconds unless they say otherwise.
#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    keys: Keys,
    rows: Vec<Row>,
    /// From the beginning of the first launch to the end of the last: the rows and the gaps.
    total_us: f64,
    gaps_us: f64,
    encode_us: f64,
    submit_us: f64,
    /// From the upload of the inputs to the samples on the host.
    wall_us: f64,
    /// Median time of a run with timestamps and of one without, the part by which they differ, and
    /// whether that is little enough.
    profiled_us: f64,
    unprofiled_us: f64,
    overhead: f64,
    trusted: bool,
    compile_ms: f64,
    runs: usize,
    clock: Clock,
    host: &'a [HostSpan],
    offset_us: [f64; 2],
    peak: Option<Peak>,
}

pub fn run(args: &ProfileArgs) -> Result<()> {
    let request = args.run.plan.request(COUNT)?;
    let device = args.run.device()?;
    let stamping = stamping(&args.timestamps)?;
    let views = views(&args.by)?;
    if args.runs == 0 {
        return Err(Error::invalid("--runs", "at least 1", "0", "profile at least one run"));
    }
    let files = Files::of(args)?;
    let model = args.run.plan.open_model()?;
    request.check(&model)?;
    let stop = session::stop_on_ctrl_c(false)?;
    let tuning = session::tuning(args.run.tune, &stop);
    let settings = Settings { tuning, cache: tune::folder(), stamping };
    let backend = session::open(device, &settings)?;
    let mut sampler = session::compile_on(&*backend, &model, &request)?;
    let peak = roofline(&*backend, &stop)?;
    let indices: Vec<usize> = sampler.indices().take(sampler.batch()).collect();
    let progress = Progress::new(0);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let done = |done, of| progress.of(done, of);
    let profile = sampler.profile(&indices, args.runs, Some(peak), &mut observer, done)?;
    drop(progress);
    files.write(&profile, &sampler)?;
    if args.run.plan.json {
        warn(&profile);
        return print_json(&summary(&sampler, &profile));
    }
    print(&words(&sampler, &profile, &views, args.top))?;
    warn(&profile);
    Ok(())
}

/// The files that were asked for, judged before any work.
struct Files {
    trace: Option<PathBuf>,
    html: Option<PathBuf>,
}

impl Files {
    fn of(args: &ProfileArgs) -> Result<Files> {
        let file = |flag, path: &Option<PathBuf>, ending| {
            path.as_ref().map(|path| Target::file(flag, path, &[ending])).transpose()
        };
        let trace = file("--trace", &args.trace, "json")?;
        Ok(Files { trace, html: file("--html", &args.html, "html")? })
    }

    fn write(&self, profile: &Profile, sampler: &Sampler) -> Result<()> {
        let report = sampler.report();
        let about = About { words: Keys::of(report).words(), compile_us: 1e3 * report.compile_ms };
        if let Some(path) = &self.trace {
            profile::write(path, &profile::trace(profile, &about))?;
            say(&format!("{}: a trace, for ui.perfetto.dev or chrome://tracing", path.display()));
        }
        if let Some(path) = &self.html {
            profile::write(path, &profile::page(profile, &about))?;
            say(&format!("{}: a page, for any browser", path.display()));
        }
        Ok(())
    }
}

/// What the device does at most, measured now unless that was done at an earlier start.
fn roofline(backend: &dyn Backend, stop: &AtomicBool) -> Result<Peak> {
    let (progress, total) = (Progress::new(0), Peak::figures(backend));
    let mut rows_done = |done| progress.of(done, total);
    let mut observer = Observer { stop, rows_done: &mut rows_done };
    let (kept, notes) = Peak::of(backend, tune::folder().as_deref(), &mut observer)?;
    drop(progress);
    notes.iter().for_each(|note| say(&format!("note: {note}")));
    Ok(kept.peak)
}

fn stamping(text: &str) -> Result<Stamping> {
    match text {
        "auto" => Ok(Stamping::Auto),
        "inside-passes" => Ok(Stamping::InsidePasses),
        "passes" => Ok(Stamping::Passes),
        _ => Err(Error::invalid(
            "--timestamps",
            "auto, inside-passes or passes",
            text,
            "leave it out to take what the adapter does best",
        )),
    }
}

/// What `--by` names.
fn views(text: &str) -> Result<Vec<By>> {
    let named = |name: &str| By::NAMES.iter().find(|(known, _)| *known == name).map(|(_, by)| *by);
    let view = |name: &str| {
        named(name.trim()).ok_or_else(|| {
            let action = "write --by kernel,layer";
            Error::invalid("--by", "kernel, layer or step, joined by commas", text, action)
        })
    };
    text.split(',').map(view).collect()
}

/// Times that are not to be trusted are never shown without saying so.
fn warn(profile: &Profile) {
    if profile.trusted() {
        return;
    }
    let (percent, limit) = (100.0 * profile.overhead(), 100.0 * TRUSTED);
    say(&format!(
        "warning: a run with timestamps takes {:.3} ms and one without {:.3} ms, {percent:+.0}%: \
         beyond {limit:.0}% the times of launches are not those of a run without timestamps; \
         raise --runs, quiet the machine, or try the other --timestamps",
        profile.profiled_us / 1e3,
        profile.unprofiled_us / 1e3,
    ));
}

fn summary<'a>(sampler: &Sampler, profile: &'a Profile) -> Summary<'a> {
    Summary {
        keys: Keys::of(sampler.report()),
        rows: profile.rows(),
        total_us: profile.total_us,
        gaps_us: profile.gaps_us,
        encode_us: profile.encode_us,
        submit_us: profile.submit_us,
        wall_us: profile.wall_us,
        profiled_us: profile.profiled_us,
        unprofiled_us: profile.unprofiled_us,
        overhead: profile.overhead(),
        trusted: profile.trusted(),
        compile_ms: sampler.report().compile_ms,
        runs: profile.runs,
        clock: profile.clock,
        host: &profile.host,
        offset_us: profile.offset_us,
        peak: profile.peak,
    }
}

/// The totals and the tables.
fn words(sampler: &Sampler, p: &Profile, views: &[By], top: Option<usize>) -> String {
    let ms = |us: f64| format!("{:>10.3} ms", us / 1e3);
    let launches: f64 = p.launches.iter().map(|launch| launch.us).sum();
    let mut text = format!(
        "{}\n\n\
         device   {}   {} in {} launches, {} between them\n\
         host     {}   recording, and {} handing over; compiled before in {:.0} ms\n\
         wall     {}   median of {} runs with timestamps {}, without {} ({:+.1}%)\n\
         timed    {}\n",
        Keys::of(sampler.report()),
        ms(p.total_us),
        ms(launches).trim_start(),
        p.launches.len(),
        ms(p.gaps_us).trim_start(),
        ms(p.encode_us),
        ms(p.submit_us).trim_start(),
        sampler.report().compile_ms,
        ms(p.wall_us),
        p.runs,
        ms(p.profiled_us).trim_start(),
        ms(p.unprofiled_us).trim_start(),
        100.0 * p.overhead(),
        how(p.clock),
    );
    if let Some(peak) = &p.peak {
        let f16 = peak.gflops_f16.map_or(String::new(), |rate| format!(", {rate:.1} in f16"));
        let _ = writeln!(
            text,
            "roofline {:.1} GFLOP/s in f32{f16}; {:.2} GB/s; {:.2} us a launch",
            peak.gflops_f32, peak.gbps, peak.launch_us
        );
    }
    for by in views {
        text += &format!("\n{}", view(p, *by, top));
    }
    text
}

/// How launches were timed, in words.
fn how(clock: Clock) -> &'static str {
    match clock {
        Clock::Host => "by the clock of the processor that runs them",
        Clock::InsidePasses => {
            "after each dispatch: a launch's time begins where the one before it ends"
        }
        Clock::Passes => "at both ends of a pass for each dispatch",
        Clock::Events => "by CUDA events between the launches",
    }
}

/// A table of one view, cut after `top` lines; steps are not cut unasked.
fn view(profile: &Profile, by: By, top: Option<usize>) -> String {
    let groups = profile.by(by);
    let name = By::NAMES.iter().find(|(_, known)| *known == by).map_or("", |(name, _)| name);
    let head = ["by", "calls", "ms", "share", "us/call", "GFLOP/s", "GB/s", "bound", "of roofline"];
    let mut head = head.map(String::from);
    head[0] = format!("by {name}");
    let most = top.unwrap_or(if by == By::Step { usize::MAX } else { TOP }).max(1);
    let mut lines = vec![head];
    lines.extend(groups.iter().take(most).map(line));
    let mut text = table(&lines);
    if groups.len() > most {
        let rest: f64 = groups[most..].iter().map(|group| group.cost.us).sum();
        let _ = writeln!(text, "and {} more, {:.3} ms", groups.len() - most, rest / 1e3);
    }
    text
}

fn line(group: &Group) -> [String; 9] {
    let Cost { calls, us, gflops, gbps, bound, roofline, .. } = group.cost;
    [
        group.name.clone(),
        calls.to_string(),
        format!("{:.3}", us / 1e3),
        format!("{:.1}%", 100.0 * group.share),
        format!("{:.1}", us / calls.max(1) as f64),
        format!("{gflops:.1}"),
        format!("{gbps:.2}"),
        bound.map_or("", |bound| bound.name()).to_string(),
        roofline.map_or(String::new(), |part| format!("{:.0}%", 100.0 * part)),
    ]
}
