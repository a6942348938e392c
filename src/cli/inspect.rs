//! `unnoise inspect`: the plan of a model, from its configuration alone.

use super::args::InspectArgs;
use super::{print, print_json, say};
use std::path::{Path, PathBuf};
use unnoise::backend::roofline::{Kept, Peak};
use unnoise::backend::tune::{self, Identity};
use unnoise::backend::{Backend, select};
use unnoise::error::{Error, Result};
use unnoise::output::Target;
use unnoise::picture;
use unnoise::sampler::{self, Inspection};
use unnoise::tensor::DType;

/// Samples of a plan of which nothing was said: costs are quoted for one.
const COUNT: usize = 1;

pub fn run(args: &InspectArgs) -> Result<()> {
    let mut request = args.plan.request(COUNT)?;
    let model = args.plan.open_model()?;
    let device = args.device.as_deref().map(open).transpose()?;
    if let Some(device) = &device {
        request.precision = request.precision.on(device.as_ref());
    }
    let pictures = pictures(args)?;
    let peak = roofline();
    let inspection = sampler::inspect(&model, &request, peak.as_ref())?;
    if let Some(device) = &device {
        fits(&inspection, device.as_ref())?;
    }
    inspection.notes.iter().for_each(|note| say(&format!("note: {note}")));
    for Picture { path, what, draw } in &pictures {
        picture::save(path, &draw(&inspection))?;
        say(&format!("{}: {what}", path.display()));
    }
    if args.plan.json { print_json(&inspection) } else { print(&inspection.to_string()) }
}

/// Opens a device to ask what it has; it measures nothing.
fn open(spec: &str) -> Result<Box<dyn Backend>> {
    let selected = select::open(&spec.parse()?)?;
    say(&selected.reason);
    Ok(selected.backend)
}

/// Compares the plan's memory with the device's, as a run does.
fn fits(inspection: &Inspection, device: &dyn Backend) -> Result<()> {
    let needs = inspection.needs();
    let Some(room) = device.room()? else {
        say(&format!("{} does not tell how much memory is free", device.device()));
        return Ok(());
    };
    needs.check(room, &device.device(), device.supports(DType::F16))?;
    let (all, free) = (sampler::bytes(needs.all), sampler::bytes(room.free));
    say(&format!("memory: {all} of the {free} that are free on {}", device.device()));
    Ok(())
}

/// What the device that was measured last does at most. A plan is of no device, and asks none.
fn roofline() -> Option<Peak> {
    let (Identity { adapter, driver, .. }, kept) = Kept::latest(&tune::folder()?)?;
    say(&format!("floors are those of {adapter} ({driver}), measured on {}", kept.measured));
    Some(kept.peak)
}

/// Whether two names of files, of which none may be there yet, are of one.
fn same(a: &Path, b: &Path) -> bool {
    let folder = |path: &Path| beside(path).canonicalize().ok();
    a.file_name() == b.file_name() && folder(a) == folder(b)
}

/// The folder that a file lies in.
fn beside(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Gives the text of a picture's file.
type Draw = fn(&Inspection) -> String;

/// A picture that was asked for.
struct Picture {
    path: PathBuf,
    what: &'static str,
    draw: Draw,
}

/// What is to be drawn, each in a file of its own that can be written.
fn pictures(args: &InspectArgs) -> Result<Vec<Picture>> {
    type Kind<'a> = (&'a str, &'a Option<PathBuf>, &'a [&'a str]);
    let kinds: [(Kind, &str, Draw); 3] = [
        (("--memory", &args.memory, &["svg"]), "values in memory over time", picture::memory),
        (("--svg", &args.svg, &["svg"]), "the graph before and after fusion", picture::graph),
        (("--dot", &args.dot, &["dot", "gv"]), "the same for Graphviz", picture::dot),
    ];
    let mut pictures: Vec<Picture> = Vec::new();
    for ((flag, path, endings), what, draw) in kinds {
        let Some(path) = path else { continue };
        let path = Target::file(flag, path, endings)?;
        if pictures.iter().any(|other| same(&other.path, &path)) {
            let named = format!("{flag} {}", path.display());
            let action = "name two files";
            return Err(Error::invalid(named, "a file of its own", "that of --memory", action));
        }
        pictures.push(Picture { path, what, draw });
    }
    Ok(pictures)
}
