//! The verbs of the command line, one file each: what was typed ([`args`]) becomes a validated
//! request ([`request`]), then a verb runs it and prints.

mod args;
mod arrays;
mod bench;
mod compare;
mod devices;
mod edit;
mod eval;
mod inspect;
mod profile;
mod progress;
mod request;
mod sample;
mod session;
mod sheet;
mod sink;
mod solvers;
mod table;
mod tune;

use args::{Args, Verb};
use bench::Found;
use clap::Parser;
use serde::Serialize;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;
use unnoise::error::{Error, Result};

/// Runs the command line of this process, which began at `start`. Words that clap does not know
/// end the process with exit code 2.
pub fn main(start: Instant) -> ExitCode {
    let done = match Args::parse().verb {
        Verb::Sample(args) => sample::run(&args),
        Verb::Bench(args) => match bench::run(&args, start) {
            Ok(Found::Slower) => return ExitCode::FAILURE,
            Ok(Found::Good) => Ok(()),
            Err(error) => Err(error),
        },
        Verb::Profile(args) => profile::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Solvers(args) => solvers::run(&args),
        Verb::Tune(args) => tune::run(&args),
        Verb::Devices(args) => devices::run(&args),
        Verb::Eval(args) => eval::run(&args),
        Verb::Sheet(args) => sheet::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error {
                Error::Interrupted => say(session::interrupted()),
                _ => say(&format!("error: {error}")),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// The word for so many.
fn plural(count: usize, one: &'static str, more: &'static str) -> &'static str {
    if count == 1 { one } else { more }
}

/// Tells a person something on stderr. Words that nobody can read end no run.
fn say(text: &str) {
    writeln!(io::stderr().lock(), "{text}").unwrap_or_default();
}

/// Prints a result on stdout. A reader that closed the pipe has what it wanted.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::write("stdout".as_ref(), e, "check where the output goes"))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON value on stdout.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other);
    print(&text.map_err(|e| Error::write("stdout".as_ref(), e, "report this"))?)
}
