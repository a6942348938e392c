//! Points of two dimensions over the density that they were drawn from.

use super::canvas::{Anchor, Canvas, Color, FAINT, Font, Frame, GREY, INK, Marker, ticks};
use crate::error::Result;
use rayon::prelude::*;
use std::path::Path;

/// What is drawn.
pub struct Cloud<'a> {
    /// Above the picture, and below the title.
    pub title: String,
    pub note: String,
    /// From and to in the first and in the second dimension.
    pub range: [[f64; 2]; 2],
    /// ln p at a point.
    pub log_density: &'a (dyn Fn([f64; 2]) -> f64 + Sync),
    pub points: &'a [[f32; 2]],
    /// Ways of some of the points, from noise to data.
    pub paths: &'a [Vec<[f32; 2]>],
}

/// Longer side of the area, in pixels.
const SIDE: f64 = 960.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 84.0;
const RIGHT: f64 = 30.0;
const BOTTOM: f64 = 76.0;

/// ln p is shaded from the largest value down to this far below it, in steps.
const DEPTH: f64 = 9.0;
const BANDS: f64 = 12.0;
/// From where there is nothing to where there is most.
const SHADES: [Color; 4] = [[255, 255, 255], [238, 244, 250], [202, 222, 240], [140, 184, 222]];
const POINT: Color = [24, 28, 44];
const PATH: Color = [214, 92, 24];

/// Draws `cloud` and writes it as PNG.
///
/// # Errors
/// The file cannot be written.
pub fn save(path: &Path, cloud: &Cloud) -> Result<u64> {
    let [[x0, x1], [y0, y1]] = cloud.range;
    let scale = SIDE / (x1 - x0).max(y1 - y0);
    let (width, height) = ((x1 - x0) * scale, (y1 - y0) * scale);
    let area = Frame { x: LEFT, y: TOP, width, height };
    let mut canvas = Canvas::new((LEFT + width + RIGHT) as usize, (TOP + height + BOTTOM) as usize);
    let to_pixel = |[x, y]: [f64; 2]| [LEFT + (x - x0) * scale, TOP + (y1 - y) * scale];
    canvas.inside(area, |canvas| {
        shade(canvas, cloud, area, scale);
        let at = |p: &[f32; 2]| to_pixel(p.map(f64::from));
        let opacity = (900.0 / cloud.points.len().max(1) as f64).sqrt().clamp(0.25, 0.8);
        for point in cloud.points {
            canvas.marker(Marker::Disc, at(point), 2.0, POINT, opacity);
        }
        for way in cloud.paths {
            for pair in way.windows(2) {
                canvas.line(at(&pair[0]), at(&pair[1]), 1.3, PATH, 0.6);
            }
            way.first().iter().for_each(|p| canvas.marker(Marker::Ring, at(p), 4.0, PATH, 0.9));
            way.last().iter().for_each(|p| canvas.marker(Marker::Disc, at(p), 3.2, PATH, 1.0));
        }
    });
    axes(&mut canvas, cloud, area, to_pixel);
    canvas.save(path)
}

/// Bands of equal ln p.
fn shade(canvas: &mut Canvas, cloud: &Cloud, area: Frame, scale: f64) {
    let (columns, rows) = (area.width.ceil() as usize, area.height.ceil() as usize);
    let [[x0, _], [_, y1]] = cloud.range;
    let log = |i: usize| {
        let (x, y) = ((i % columns) as f64 + 0.5, (i / columns) as f64 + 0.5);
        (cloud.log_density)([x0 + x / scale, y1 - y / scale])
    };
    let logs: Vec<f64> = (0..columns * rows).into_par_iter().map(log).collect();
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for (i, log) in logs.into_iter().enumerate() {
        let share = (1.0 + (log - most) / DEPTH).clamp(0.0, 1.0);
        let color = shade_of((share * BANDS).ceil() / BANDS);
        let (x, y) = (area.x as i64 + (i % columns) as i64, area.y as i64 + (i / columns) as i64);
        canvas.blend(x, y, color, 1.0);
    }
}

/// The colour of a share from 0 to 1, linear between the shades.
fn shade_of(share: f64) -> Color {
    let at = share * (SHADES.len() - 1) as f64;
    let low = (at as usize).min(SHADES.len() - 2);
    let part = at - low as f64;
    std::array::from_fn(|c| {
        let (a, b) = (f64::from(SHADES[low][c]), f64::from(SHADES[low + 1][c]));
        (a + (b - a) * part).round() as u8
    })
}

fn axes(canvas: &mut Canvas, cloud: &Cloud, area: Frame, to_pixel: impl Fn([f64; 2]) -> [f64; 2]) {
    let [[x0, x1], [y0, y1]] = cloud.range;
    let (bottom, middle) = (area.y + area.height, area.x + area.width / 2.0);
    let (values, digits) = ticks(x0, x1, 8);
    for x in values {
        let [px, _] = to_pixel([x, y0]);
        canvas.line([px, bottom], [px, bottom + 6.0], 1.0, INK, 1.0);
        let label = format!("{x:.digits$}");
        canvas.text(&label, [px, bottom + 18.0], Anchor::Middle, Font::Small, INK);
    }
    let (values, digits) = ticks(y0, y1, 8);
    for y in values {
        let [_, py] = to_pixel([x0, y]);
        canvas.line([area.x - 6.0, py], [area.x, py], 1.0, INK, 1.0);
        canvas.text(&format!("{y:.digits$}"), [area.x - 10.0, py], Anchor::Right, Font::Small, INK);
    }
    canvas.border(area, FAINT);
    canvas.text("x[0]", [middle, bottom + 48.0], Anchor::Middle, Font::Label, INK);
    let centre = [28.0, area.y + area.height / 2.0];
    canvas.text("x[1]", centre, Anchor::Upwards, Font::Label, INK);
    canvas.text(&cloud.title, [area.x, 28.0], Anchor::Left, Font::Title, INK);
    canvas.text(&cloud.note, [area.x, 58.0], Anchor::Left, Font::Small, GREY);
}
