//! A contact sheet: bands of models, rows of solvers, columns of budgets, and in each cell some
//! samples with a figure below.

use super::canvas::{Anchor, Canvas, FAINT, Font, Frame, GREY, INK};
use crate::error::{Error, Result};
use std::path::Path;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sheet {
    pub title: String,
    pub note: String,
    pub bands: Vec<Band>,
}

/// The rows of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    pub title: String,
    /// `[C, H, W]` of a sample, of 1 or 3 channels.
    pub shape: [usize; 3],
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub name: String,
    /// One a column.
    pub cells: Vec<Cell>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Bytes `[n, C, H, W]`.
    pub samples: Vec<u8>,
    pub caption: String,
    /// The best of its column has a frame.
    pub best: bool,
}

/// Small samples are enlarged towards this many pixels.
const SIDE: usize = 64;
/// Between samples, and around cells.
const GAP: usize = 2;
const MARGIN: usize = 12;
/// Of a line of text.
const LINE: usize = 22;
/// Of the title and its note.
const HEAD: usize = 70;
/// Longest side of a picture, in pixels.
const LONGEST: usize = 1 << 14;

/// Where the cells of a band lie.
struct Layout {
    zoom: usize,
    /// Of the names on the left.
    names: usize,
    cell: [usize; 2],
    width: usize,
    height: usize,
}

impl Layout {
    fn of(band: &Band) -> Layout {
        let [c, h, w] = band.shape;
        let zoom = SIDE.checked_div(h.max(w)).unwrap_or(1).max(1);
        let cells = || band.rows.iter().flat_map(|row| &row.cells);
        let shown = cells().map(|cell| cell.samples.len() / (c * h * w).max(1)).max().unwrap_or(0);
        let text = |text: &String| text.chars().count() * Font::Small.width();
        let captions = cells().map(|cell| &cell.caption).chain(&band.columns).map(text);
        let pictures = shown * (w * zoom + GAP);
        let cell = [pictures.max(captions.max().unwrap_or(0)) + MARGIN, h * zoom + LINE + MARGIN];
        let names = band.rows.iter().map(|row| text(&row.name)).max().unwrap_or(0) + MARGIN;
        let width = names + band.columns.len() * cell[0];
        let height = LINE + LINE + band.rows.len() * cell[1] + MARGIN;
        let title = band.title.chars().count() * Font::Label.width();
        Layout { zoom, names, cell, width: width.max(title), height }
    }
}

/// Writes a sheet as PNG. Returns its length.
///
/// # Errors
/// Samples of neither 1 nor 3 channels, a sheet that is too large, a file that cannot be written.
pub fn save(path: &Path, sheet: &Sheet) -> Result<u64> {
    let (layouts, [width, height]) = layouts(path, sheet)?;
    let mut canvas = Canvas::new(width, height);
    let left = MARGIN as f64;
    canvas.text(&sheet.title, [left, 22.0], Anchor::Left, Font::Title, INK);
    canvas.text(&sheet.note, [left, 48.0], Anchor::Left, Font::Small, GREY);
    let mut top = HEAD;
    for (band, layout) in sheet.bands.iter().zip(&layouts) {
        draw(&mut canvas, band, layout, top);
        top += layout.height;
    }
    canvas.save(path)
}

/// Whether a sheet can be written, as [`save`] says.
pub fn check(path: &Path, sheet: &Sheet) -> Result<()> {
    layouts(path, sheet).map(drop)
}

/// Where bands lie, and the width and height of all.
fn layouts(path: &Path, sheet: &Sheet) -> Result<(Vec<Layout>, [usize; 2])> {
    let layouts: Vec<Layout> = sheet.bands.iter().map(Layout::of).collect();
    let wide = |text: &String, font: Font| text.chars().count() * font.width();
    let texts = wide(&sheet.title, Font::Title).max(wide(&sheet.note, Font::Small));
    let width = layouts.iter().map(|l| l.width).max().unwrap_or(0).max(texts) + 2 * MARGIN;
    let height = HEAD + layouts.iter().map(|l| l.height).sum::<usize>();
    let what = format!("--out {}", path.display());
    if let Some(band) = sheet.bands.iter().find(|b| b.shape[0] != 1 && b.shape[0] != 3) {
        let found = format!("{} channels", band.shape[0]);
        return Err(Error::invalid(what, "samples of 1 or 3 channels", found, "leave it out"));
    }
    if width.max(height) > LONGEST {
        return Err(Error::invalid(
            what,
            format!("a sheet of at most {LONGEST} pixels a side"),
            format!("{width} x {height}"),
            "draw fewer models, solvers or budgets",
        ));
    }
    Ok((layouts, [width, height]))
}

/// One band, from the line `top` on.
fn draw(canvas: &mut Canvas, band: &Band, layout: &Layout, top: usize) {
    let left = |column: usize| MARGIN + layout.names + column * layout.cell[0];
    let middle = |line: usize| (line + LINE / 2) as f64;
    let at = [MARGIN as f64, middle(top)];
    canvas.text(&band.title, at, Anchor::Left, Font::Label, INK);
    for (i, column) in band.columns.iter().enumerate() {
        let at = [left(i) as f64, middle(top + LINE)];
        canvas.text(column, at, Anchor::Left, Font::Small, GREY);
    }
    let [c, h, w] = band.shape;
    for (i, row) in band.rows.iter().enumerate() {
        let y = top + 2 * LINE + i * layout.cell[1];
        let at = [MARGIN as f64, (y + h * layout.zoom / 2) as f64];
        canvas.text(&row.name, at, Anchor::Left, Font::Small, INK);
        for (j, cell) in row.cells.iter().enumerate() {
            for (k, sample) in cell.samples.chunks_exact(c * h * w).enumerate() {
                let x = left(j) + k * (w * layout.zoom + GAP);
                canvas.sample(sample, band.shape, [x, y], layout.zoom);
            }
            let at = [left(j) as f64, middle(y + h * layout.zoom + GAP)];
            let color = if cell.best { INK } else { GREY };
            canvas.text(&cell.caption, at, Anchor::Left, Font::Small, color);
            let frame = Frame {
                x: left(j) as f64 - 2.5,
                y: y as f64 - 2.5,
                width: (layout.cell[0] - MARGIN) as f64 + 5.0,
                height: (layout.cell[1] - MARGIN) as f64 + 5.0,
            };
            canvas.border(frame, if cell.best { INK } else { FAINT });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_lie_beside_each_other_and_the_best_has_a_frame() {
        let cell =
            |byte: u8, best| Cell { samples: vec![byte; 2 * 16], caption: "1.5".into(), best };
        let row =
            |name: &str| Row { name: name.into(), cells: vec![cell(90, true), cell(160, false)] };
        let band = Band {
            title: "a model".into(),
            shape: [1, 4, 4],
            columns: vec!["NFE 5".into(), "NFE 10".into()],
            rows: vec![row("ddim"), row("euler")],
        };
        let sheet = Sheet { title: "t".into(), note: "n".into(), bands: vec![band.clone(), band] };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        save(&path, &sheet).unwrap();
        let drawn = image::open(&path).unwrap().into_rgb8();
        let count = |byte: u8| drawn.pixels().filter(|p| p.0 == [byte; 3]).count();
        // Two bands of two rows, each with two samples of 4 x 4 pixels that are 16 wide and high.
        assert_eq!(count(90), 2 * 2 * 2 * 64 * 64);
        assert_eq!(count(160), count(90));
        let frames = drawn.pixels().filter(|p| p.0 == INK).count();
        assert!(frames > 2 * 2 * 2 * 130, "{frames} pixels of ink");
    }

    #[test]
    fn what_makes_no_picture_is_refused() {
        let band = Band { title: String::new(), shape: [2, 4, 4], columns: vec![], rows: vec![] };
        let sheet = Sheet { bands: vec![band], ..Sheet::default() };
        let error = save(Path::new("a.png"), &sheet).unwrap_err().to_string();
        assert!(error.contains("--out a.png") && error.contains("2 channels"), "{error}");
    }
}
