//! The one error type. A message names the object, what was expected, what was found and what to
//! do next; the variant decides the exit code.

use std::path::Path;

/// What every fallible function of the library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done, in one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something the user gave is wrong: a file, a key, a flag, a device that is not there.
    #[error("{what}: expected {expected}, found {found}; {action}")]
    Invalid { what: String, expected: String, found: String, action: String },

    /// A file that the user named could not be read, or a place could not be opened.
    #[error("{path}: cannot {verb}: {source}; {action}")]
    Io { path: String, verb: &'static str, source: std::io::Error, action: String },

    /// Results could not be written, in a place that was fine before the work: a full disk.
    #[error("{path}: cannot write: {source}; {action}")]
    Write { path: String, source: std::io::Error, action: String },

    /// The device failed while it worked: lost, out of memory, or a driver error.
    #[error("{device}: {what}; {action}")]
    Device { device: String, what: String, action: String },

    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Bad input: `what` names the file and key or the flag.
    pub fn invalid(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Error::Invalid {
            what: what.into(),
            expected: expected.into(),
            found: found.into(),
            action: action.into(),
        }
    }

    /// A file operation that failed before the work; `verb` completes "cannot ...".
    pub fn io(
        path: &Path,
        verb: &'static str,
        source: std::io::Error,
        action: impl Into<String>,
    ) -> Self {
        Error::Io { path: path.display().to_string(), verb, source, action: action.into() }
    }

    /// Results that could not be written.
    pub fn write(path: &Path, source: std::io::Error, action: impl Into<String>) -> Self {
        Error::Write { path: path.display().to_string(), source, action: action.into() }
    }

    /// A device that failed at work.
    pub fn device(
        device: impl Into<String>,
        what: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Error::Device { device: device.into(), what: what.into(), action: action.into() }
    }

    /// The process exit code: 2 for bad input, 1 for a failure at work, 130 for Ctrl-C.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Invalid { .. } | Error::Io { .. } => 2,
            Error::Device { .. } | Error::Write { .. } => 1,
            Error::Interrupted => 130,
        }
    }
}
