//! The labelled grid: samples in a near square of cells, each with the name of its class.

use super::pixels::Picture;
use super::write;
use crate::error::{Error, Result};
use font8x8::{BASIC_FONTS, GREEK_FONTS, LATIN_FONTS, UnicodeFonts};
use std::path::Path;

const PAPER: u8 = 255;
const INK: u8 = 48;
/// Pixels around each cell.
const GAP: usize = 4;
/// Small samples are enlarged towards this many pixels.
const CELL: usize = 64;
/// Side of a character.
const FONT: usize = 8;
/// Height of the caption below a sample.
const CAPTION: usize = FONT + 3;
/// Longest side of a picture, in pixels.
const LONGEST: usize = 1 << 14;

/// Where everything lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    columns: usize,
    rows: usize,
    zoom: usize,
    /// Distance from one cell to the next.
    pitch: [usize; 2],
}

impl Layout {
    /// For `n` samples of `h` by `w`: as near to square as whole rows allow, wider before higher.
    fn new(n: usize, h: usize, w: usize, captions: bool) -> Layout {
        let columns = (1..).find(|c| c * c >= n).unwrap_or(1);
        let zoom = (CELL / h.max(w)).max(1);
        let below = if captions { CAPTION } else { 0 };
        let pitch = [w * zoom + GAP, h * zoom + below + GAP];
        Layout { columns, rows: n.div_ceil(columns.max(1)), zoom, pitch }
    }

    fn size(&self) -> [usize; 2] {
        [GAP + self.columns * self.pitch[0], GAP + self.rows * self.pitch[1]]
    }

    /// The upper left corner of a cell.
    fn corner(&self, cell: usize) -> [usize; 2] {
        let (row, column) = (cell / self.columns, cell % self.columns);
        [GAP + column * self.pitch[0], GAP + row * self.pitch[1]]
    }
}

/// Whether `count` samples of `shape` make a picture; `what` names the flag.
pub(super) fn check(what: &str, [c, h, w]: [usize; 3], count: usize) -> Result<()> {
    if c != 1 && c != 3 {
        return Err(Error::invalid(
            what,
            "samples of 1 or 3 channels for a picture",
            format!("{c} channels"),
            "use .npy or .safetensors",
        ));
    }
    if super::is_series([c, h, w]) {
        return Err(Error::invalid(
            what,
            "samples of more than one line for a picture",
            format!("a series of {w} values"),
            "use .npy or .safetensors",
        ));
    }
    let [width, height] = Layout::new(count, h, w, true).size();
    if width.max(height) > LONGEST {
        return Err(Error::invalid(
            what,
            format!("a grid of at most {LONGEST} pixels a side"),
            format!("{width} x {height} for {count} samples"),
            "use a folder, .npy or .safetensors, or a smaller --count",
        ));
    }
    Ok(())
}

/// Writes samples `[N, C, H, W]` as a grid.
pub(super) fn save(
    path: &Path,
    data: &[f32],
    [n, c, h, w]: [usize; 4],
    range: [f32; 2],
    captions: Option<Vec<String>>,
) -> Result<u64> {
    let layout = Layout::new(n, h, w, captions.is_some());
    let [width, height] = layout.size();
    let mut canvas = Picture::filled(width, height, c, PAPER);
    for (i, sample) in data.chunks_exact(c * h * w).enumerate() {
        let [x, y] = layout.corner(i);
        canvas.draw(&Picture::of_sample(sample, [c, h, w], range), x, y, layout.zoom);
        if let Some(captions) = &captions {
            write_line(&mut canvas, &captions[i], x, y + h * layout.zoom + 2, w * layout.zoom);
        }
    }
    write(path, |file| canvas.write_png(file))
}

/// Writes `text` centred in `width` pixels from `x` on; what does not fit is cut off.
fn write_line(canvas: &mut Picture, text: &str, x: usize, y: usize, width: usize) {
    let letters: Vec<char> = text.chars().take(width / FONT).collect();
    let start = x + (width - letters.len() * FONT) / 2;
    for (i, &letter) in letters.iter().enumerate() {
        for (dy, bits) in glyph(letter).into_iter().enumerate() {
            for dx in (0..FONT).filter(|dx| bits >> dx & 1 == 1) {
                canvas.set(start + i * FONT + dx, y + dy, INK);
            }
        }
    }
}

/// The rows of a character, the lowest bit leftmost; a question mark for what the font lacks.
fn glyph(letter: char) -> [u8; FONT] {
    BASIC_FONTS
        .get(letter)
        .or_else(|| LATIN_FONTS.get(letter))
        .or_else(|| GREEK_FONTS.get(letter))
        .or_else(|| BASIC_FONTS.get('?'))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_near_square() {
        for (n, columns, rows) in [(1, 1, 1), (2, 2, 1), (5, 3, 2), (10, 4, 3), (64, 8, 8)] {
            let layout = Layout::new(n, 32, 32, true);
            assert_eq!((layout.columns, layout.rows), (columns, rows), "of {n} samples");
            assert!(layout.columns * layout.rows >= n);
        }
    }

    #[test]
    fn small_samples_are_enlarged_and_large_ones_kept() {
        for (side, zoom) in [(8, 8), (28, 2), (32, 2), (64, 1), (256, 1)] {
            assert_eq!(Layout::new(1, side, side, false).zoom, zoom, "of side {side}");
        }
    }

    #[test]
    fn captions_stay_in_their_cell_and_differ() {
        let line = |text| {
            let mut canvas = Picture::filled(40, 8, 1, PAPER);
            write_line(&mut canvas, text, 4, 0, 32);
            canvas
        };
        let (three, long) = (line("3"), line("a very long name \u{1F980}"));
        assert_ne!(three.bytes, line("8").bytes);
        for y in 0..8 {
            for x in (0..4).chain(36..40) {
                assert_eq!(long.bytes[y * 40 + x], PAPER, "at {x}, {y}");
            }
        }
        assert!(long.bytes.contains(&INK));
        assert_eq!(glyph('\u{1F980}'), glyph('?'));
        assert_ne!(glyph('é'), glyph('?'));
    }
}
