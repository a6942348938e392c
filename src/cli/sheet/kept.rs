//! Finished cells, kept in a file so that a run that was stopped goes on and a larger sheet takes
//! them over.

use super::cell::{Cell, Key};
use std::fs;
use std::io;
use std::path::PathBuf;
use unnoise::error::{Error, Result};
use unnoise::output;

/// The cells of a file, if there is one to keep them in.
pub struct Kept {
    path: Option<PathBuf>,
    cells: Vec<Cell>,
}

impl Kept {
    /// Reads the file, if it is there.
    ///
    /// # Errors
    /// A file of something else.
    pub fn open(path: Option<PathBuf>) -> Result<Kept> {
        let Some(path) = path else { return Ok(Kept { path: None, cells: Vec::new() }) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => "[]".to_string(),
            Err(e) => return Err(Error::io(&path, "read", e, "name another file")),
        };
        let cells = serde_json::from_str(&text).map_err(|e| {
            let what = format!("--kept {}", path.display());
            let action = "name a new file, or delete this one";
            Error::invalid(what, "cells that an earlier sheet kept", e.to_string(), action)
        })?;
        Ok(Kept { path: Some(path), cells })
    }

    /// The cell of that key.
    pub fn take(&self, key: &Key) -> Option<Cell> {
        self.cells.iter().find(|cell| cell.key == *key).cloned()
    }

    /// Keeps a cell.
    pub fn add(&mut self, cell: Cell) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        self.cells.push(cell);
        let text = serde_json::to_string(&self.cells).map_err(io::Error::other);
        let text = text.map_err(|e| Error::write(path, e, "report this"))?;
        output::save_text(path, &text)
    }
}
