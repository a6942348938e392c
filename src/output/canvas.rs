//! A drawing surface: shapes by their signed distance, so that every edge is smooth, and text.

use super::pixels::Picture;
use super::write;
use crate::error::Result;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use std::path::Path;

/// Red, green, blue.
pub(super) type Color = [u8; 3];

pub(super) const PAPER: Color = [255, 255, 255];
pub(super) const INK: Color = [40, 44, 52];
pub(super) const FAINT: Color = [228, 231, 236];
pub(super) const GREY: Color = [120, 126, 136];

/// A rectangle of pixels, its upper left corner and its size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// How a text stands to the point it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
    /// Middle, written upwards.
    Upwards,
}

/// The mark of one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Disc,
    Square,
    Diamond,
    Up,
    Down,
    Cross,
    Plus,
    Ring,
}

impl Marker {
    pub const ALL: [Marker; 8] = [
        Marker::Disc,
        Marker::Square,
        Marker::Up,
        Marker::Cross,
        Marker::Diamond,
        Marker::Ring,
        Marker::Down,
        Marker::Plus,
    ];

    /// Signed distance from (x, y) to the mark of size r around the origin.
    fn distance(self, x: f64, y: f64, r: f64) -> f64 {
        let half = 0.8660254037844386; // sin of 60 degrees
        let triangle = |y: f64| (0.5 * y + half * x.abs() - 0.62 * r).max(-y - 0.62 * r);
        let bar = |a: f64, b: f64| (a.abs() - 1.1 * r).max(b.abs() - 0.3 * r);
        let root = std::f64::consts::FRAC_1_SQRT_2;
        let (u, v) = (root * (x + y), root * (x - y));
        match self {
            Marker::Disc => x.hypot(y) - r,
            Marker::Ring => (x.hypot(y) - 0.8 * r).abs() - 0.25 * r,
            Marker::Square => x.abs().max(y.abs()) - 0.86 * r,
            Marker::Diamond => u.abs().max(v.abs()) - 0.86 * r,
            Marker::Up => triangle(-y),
            Marker::Down => triangle(y),
            Marker::Cross => bar(u, v).min(bar(v, u)),
            Marker::Plus => bar(x, y).min(bar(y, x)),
        }
    }
}

/// Pixels to draw on.
pub(super) struct Canvas {
    picture: Picture,
    /// Nothing is drawn outside.
    clip: Frame,
}

impl Canvas {
    /// An empty sheet.
    pub fn new(width: usize, height: usize) -> Canvas {
        let picture = Picture::filled(width, height, 3, 255);
        let clip = Frame { x: 0.0, y: 0.0, width: width as f64, height: height as f64 };
        Canvas { picture, clip }
    }

    /// Draws with nothing outside `frame`.
    pub fn inside(&mut self, frame: Frame, draw: impl FnOnce(&mut Canvas)) {
        let before = std::mem::replace(&mut self.clip, frame);
        draw(self);
        self.clip = before;
    }

    /// Writes the sheet as PNG.
    pub fn save(&self, path: &Path) -> Result<u64> {
        write(path, |file| self.picture.write_png(file))
    }

    /// Lays `color` over a pixel, `cover` from 0 to 1.
    pub fn blend(&mut self, x: i64, y: i64, color: Color, cover: f64) {
        let Frame { x: left, y: top, width, height } = self.clip;
        let (px, py) = (x as f64 + 0.5, y as f64 + 0.5);
        let inside = px >= left && px < left + width && py >= top && py < top + height;
        let size = (self.picture.width as i64, self.picture.height as i64);
        if !inside || x < 0 || y < 0 || x >= size.0 || y >= size.1 {
            return;
        }
        let at = (y as usize * self.picture.width + x as usize) * 3;
        for (byte, value) in self.picture.bytes[at..at + 3].iter_mut().zip(color) {
            let mixed = f64::from(*byte) * (1.0 - cover) + f64::from(value) * cover;
            *byte = mixed.round() as u8;
        }
    }

    /// Fills what lies within `distance` 0, looked for in `[left, top, right, bottom]`.
    fn shape(
        &mut self,
        [left, top, right, bottom]: [f64; 4],
        color: Color,
        opacity: f64,
        distance: impl Fn(f64, f64) -> f64,
    ) {
        let clip = self.clip;
        let (left, right) = (left.max(clip.x), right.min(clip.x + clip.width));
        let (top, bottom) = (top.max(clip.y), bottom.min(clip.y + clip.height));
        for y in top.floor() as i64..=bottom.ceil() as i64 {
            for x in left.floor() as i64..=right.ceil() as i64 {
                let cover = (0.5 - distance(x as f64 + 0.5, y as f64 + 0.5)).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.blend(x, y, color, cover * opacity);
                }
            }
        }
    }

    /// A straight line with round ends.
    pub fn line(&mut self, a: [f64; 2], b: [f64; 2], width: f64, color: Color, opacity: f64) {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length2 = (dx * dx + dy * dy).max(1e-12);
        let r = 0.5 * width;
        let bounds = [
            a[0].min(b[0]) - r - 1.0,
            a[1].min(b[1]) - r - 1.0,
            a[0].max(b[0]) + r + 1.0,
            a[1].max(b[1]) + r + 1.0,
        ];
        self.shape(bounds, color, opacity, |x, y| {
            let along = (((x - a[0]) * dx + (y - a[1]) * dy) / length2).clamp(0.0, 1.0);
            (x - a[0] - along * dx).hypot(y - a[1] - along * dy) - r
        });
    }

    /// The edge of a frame.
    pub fn border(&mut self, frame: Frame, color: Color) {
        let (right, bottom) = (frame.x + frame.width, frame.y + frame.height);
        let corners = [[frame.x, frame.y], [right, frame.y], [right, bottom], [frame.x, bottom]];
        for i in 0..4 {
            self.line(corners[i], corners[(i + 1) % 4], 1.0, color, 1.0);
        }
    }

    /// A filled frame.
    pub fn fill(&mut self, frame: Frame, color: Color, opacity: f64) {
        for y in frame.y.round() as i64..(frame.y + frame.height).round() as i64 {
            for x in frame.x.round() as i64..(frame.x + frame.width).round() as i64 {
                self.blend(x, y, color, opacity);
            }
        }
    }

    /// A sample of bytes `[C, H, W]`, of 1 or 3 channels, each of its pixels `zoom` wide and high;
    /// it must lie inside.
    pub fn sample(&mut self, sample: &[u8], [c, h, w]: [usize; 3], at: [usize; 2], zoom: usize) {
        let mut picture = Picture::filled(w, h, 3, 0);
        for (i, byte) in picture.bytes.iter_mut().enumerate() {
            *byte = sample[(i % 3).min(c - 1) * h * w + i / 3];
        }
        self.picture.draw(&picture, at[0], at[1], zoom);
    }

    /// A mark of size r at a point.
    pub fn marker(&mut self, marker: Marker, [x, y]: [f64; 2], r: f64, color: Color, opacity: f64) {
        let reach = 1.5 * r + 1.0;
        let bounds = [x - reach, y - reach, x + reach, y + reach];
        self.shape(bounds, color, opacity, |px, py| marker.distance(px - x, py - y, r));
    }

    /// Writes `text` beside the point, centred on it in height.
    pub fn text(&mut self, text: &str, at: [f64; 2], anchor: Anchor, font: Font, color: Color) {
        let (advance, height) = (font.width() as i64, font.height() as i64);
        let length = advance * text.chars().count() as i64;
        let along = match anchor {
            Anchor::Left => 0,
            Anchor::Middle | Anchor::Upwards => length / 2,
            Anchor::Right => length,
        };
        let (x, y) = (at[0].round() as i64, at[1].round() as i64);
        for (i, letter) in text.chars().enumerate() {
            for (row, line) in font.glyph(letter).enumerate() {
                for (column, value) in line.iter().enumerate() {
                    let u = i as i64 * advance + column as i64 - along;
                    let v = row as i64 - height / 2;
                    let (px, py) =
                        if anchor == Anchor::Upwards { (x + v, y - u) } else { (x + u, y + v) };
                    self.blend(px, py, color, f64::from(*value) / 255.0);
                }
            }
        }
    }
}

/// A size and a weight of the one typeface, Noto Sans Mono.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Font {
    Small,
    Label,
    Title,
}

impl Font {
    fn raster(self) -> (FontWeight, RasterHeight) {
        match self {
            Font::Small => (FontWeight::Regular, RasterHeight::Size16),
            Font::Label => (FontWeight::Regular, RasterHeight::Size20),
            Font::Title => (FontWeight::Bold, RasterHeight::Size24),
        }
    }

    /// Pixels from one letter to the next.
    pub fn width(self) -> usize {
        let (weight, size) = self.raster();
        get_raster_width(weight, size)
    }

    pub fn height(self) -> usize {
        self.raster().1.val()
    }

    /// The rows of a letter; a question mark for what the typeface lacks here.
    fn glyph(self, letter: char) -> impl Iterator<Item = &'static [u8]> {
        let (weight, size) = self.raster();
        let raster = get_raster(letter, weight, size).or_else(|| get_raster('?', weight, size));
        raster.into_iter().flat_map(|raster| raster.rows())
    }
}

/// Round numbers from `low` to `high`, about `count` of them, and how many digits they need.
pub(super) fn ticks(low: f64, high: f64, count: usize) -> (Vec<f64>, usize) {
    let rough = (high - low) / count.max(1) as f64;
    let power = rough.log10().floor();
    let unit = 10_f64.powf(power);
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|s| s * unit >= rough).unwrap_or(10.0) * unit;
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    let digits = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
    ((first..=last).map(|i| i as f64 * step).collect(), digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(-1.0, 1.0, 4), (vec![-1.0, -0.5, 0.0, 0.5, 1.0], 1));
        let (values, digits) = ticks(-42.0, 137.0, 5);
        assert_eq!((values, digits), (vec![0.0, 50.0, 100.0], 0));
    }

    #[test]
    fn every_marker_has_ink_of_its_own() {
        let drawn = Marker::ALL.map(|marker| {
            let mut canvas = Canvas::new(21, 21);
            canvas.marker(marker, [10.5, 10.5], 6.0, INK, 1.0);
            canvas.picture.bytes
        });
        for (i, a) in drawn.iter().enumerate() {
            assert!(a.contains(&INK[0]), "{:?} is empty", Marker::ALL[i]);
            assert!(drawn[..i].iter().all(|b| a != b), "{:?} is another", Marker::ALL[i]);
        }
    }

    #[test]
    fn what_is_clipped_leaves_no_ink_outside() {
        let mut canvas = Canvas::new(20, 10);
        let frame = Frame { x: 5.0, y: 2.0, width: 10.0, height: 6.0 };
        canvas.inside(frame, |canvas| {
            canvas.line([-50.0, 5.0], [80.0, 5.0], 3.0, INK, 1.0);
            canvas.text("wide text", [10.0, 5.0], Anchor::Middle, Font::Small, INK);
        });
        for (i, pixel) in canvas.picture.bytes.chunks(3).enumerate() {
            let (x, y) = (i % 20, i / 20);
            let inside = (5..15).contains(&x) && (2..8).contains(&y);
            assert!(inside || pixel == PAPER, "ink at {x}, {y}");
        }
        assert!(canvas.picture.bytes.contains(&INK[0]));
    }
}
