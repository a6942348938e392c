//! The command line of `unnoise`: parse, run, print, exit code.

mod cli;

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    cli::main(Instant::now())
}
