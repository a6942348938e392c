//! Cold starts. A process starts once, so each configuration of a sweep has one of its own.

use super::measure;
use super::plan::{Candidate, Plan};
use super::result::Cold;
use crate::cli::{print_json, session};
use std::env;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use unnoise::error::{Error, Result};
use unnoise::model::Model;

/// How often a process is asked whether it is done.
const PAUSE: Duration = Duration::from_millis(5);

/// Starts one configuration cold and prints its times: what [`start`] starts.
pub fn serve(plan: &Plan, index: usize, model: &Model, begin: Instant) -> Result<()> {
    let Some(candidate) = plan.candidates.get(index) else {
        let expected = format!("a number below {}", plan.candidates.len());
        return Err(Error::invalid("--cold-of", expected, index.to_string(), "leave it out"));
    };
    let stop = session::stop_on_ctrl_c(false)?;
    print_json(&this_process(candidate, model, &stop, begin)?)
}

fn this_process(
    candidate: &Candidate,
    model: &Model,
    stop: &Arc<AtomicBool>,
    begin: Instant,
) -> Result<Cold> {
    let Candidate { run, request, .. } = candidate;
    let mut sampler = session::compile(run, model, request, stop)?;
    measure::draw(&mut sampler, stop)?;
    Ok(Cold::of(&sampler, begin))
}

/// A process that does not outlive its reader.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be ended again.
        self.0.kill().unwrap_or_default();
        self.0.wait().map(|_| ()).unwrap_or_default();
    }
}

/// Starts this program again for configuration `index` alone, with the flags that it was given.
///
/// # Errors
/// `Error::Interrupted`; and in the process's own words, if it does not come to its samples.
pub fn start(index: usize, stop: &AtomicBool) -> Result<Cold> {
    let failed = |e: io::Error| {
        Error::device("a cold start", format!("cannot be made: {e}"), "leave it out with --no-cold")
    };
    let mut out = tempfile::tempfile().map_err(failed)?;
    let mut words = tempfile::tempfile().map_err(failed)?;
    let mut command = Command::new(env::current_exe().map_err(failed)?);
    // The verb comes first.
    command.args(["bench", "--cold-of", &index.to_string()]).args(env::args_os().skip(2));
    command.stdin(Stdio::null());
    command.stdout(out.try_clone().map_err(failed)?);
    command.stderr(words.try_clone().map_err(failed)?);
    let mut running = Running(command.spawn().map_err(failed)?);
    let status = loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match running.0.try_wait().map_err(failed)? {
            Some(status) => break status,
            None => thread::sleep(PAUSE),
        }
    };
    if status.code() == Some(i32::from(Error::Interrupted.exit_code())) {
        return Err(Error::Interrupted);
    }
    if !status.success() {
        let words = text(&mut words).map_err(failed)?;
        let last = words.trim_end().lines().last().unwrap_or_default();
        return Err(failed(io::Error::other(last.trim_start_matches("error: "))));
    }
    let text = text(&mut out).map_err(failed)?;
    serde_json::from_str(&text).map_err(|e| failed(io::Error::other(e)))
}

fn text(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
