//! Curves over a number, both logarithmic: errors over network evaluations, times over steps.
//! Panels stand side by side, each with its legend.

use super::canvas::{Anchor, Canvas, Color, FAINT, Font, Frame, GREY, INK, Marker, PAPER};
use crate::error::Result;
use std::path::Path;

/// One curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub name: String,
    /// x and y: evaluations and error, say.
    pub points: Vec<[f64; 2]>,
    /// How far up each point reaches; empty where they do not.
    pub upper: Vec<f64>,
}

/// What an axis tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// Powers of two below, powers of ten beside.
    Powers,
    /// These numbers below, plain numbers beside.
    Measured(Vec<f64>),
}

/// One pair of axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub scale: Scale,
    pub series: Vec<Series>,
    /// A value below this says nothing, and why.
    pub floor: Option<(f64, String)>,
}

const AREA: [f64; 2] = [640.0, 700.0];
const LEFT: f64 = 110.0;
const TOP: f64 = 116.0;
const BOTTOM: f64 = 84.0;
/// Between the area and its legend.
const GAP: f64 = 22.0;
/// Height of a line of the legend.
const LINE: f64 = 22.0;

/// Times the median of all values: the axis goes no higher.
const ASTRAY: f64 = 100.0;

/// Colours that stay apart for most eyes, light ones left out.
const COLORS: [Color; 10] = [
    [31, 98, 168],
    [214, 92, 24],
    [30, 140, 86],
    [178, 40, 60],
    [118, 82, 168],
    [133, 94, 66],
    [206, 82, 156],
    [90, 98, 108],
    [150, 140, 20],
    [20, 150, 170],
];

/// Where a panel lies and what its axes span, as exponents.
struct Axes {
    area: Frame,
    /// log2 of x, log10 of y.
    x: [f64; 2],
    y: [f64; 2],
}

impl Axes {
    fn new(panel: &Panel, left: f64) -> Axes {
        let points = || panel.series.iter().flat_map(|s| s.points.iter());
        let span = |values: &mut dyn Iterator<Item = f64>| {
            values.fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| [a.min(v), b.max(v)])
        };
        let x = span(&mut points().map(|p| p[0].log2()));
        let floor = panel.floor.as_ref().map(|(floor, _)| *floor).filter(|f| *f > 0.0);
        let reach = panel.series.iter().flat_map(|s| s.upper.iter().copied());
        let drawn = points().map(|p| p[1]).chain(reach).filter(|y| *y > 0.0);
        let y = span(&mut drawn.clone().map(f64::log10));
        // Nothing below the floor is worth its room.
        let low = floor.map_or(y[0], |f| y[0].max(f.log10() - 0.3).min(f.log10() - 0.15));
        let mut all: Vec<f64> = drawn.clone().collect();
        all.sort_by(f64::total_cmp);
        // Runs that went astray would press the others together.
        let high =
            all.get(all.len() / 2).map_or(y[1], |middle| y[1].min((ASTRAY * middle).log10()));
        // One value lies in the middle; where there is none, anything will do.
        let known = |[a, b]: [f64; 2]| match a.is_finite() {
            true if a < b => [a, b],
            true => [a - 0.5, a + 0.5],
            false => [0.0, 1.0],
        };
        let ([x0, x1], [y0, y1]) = (known(x), known([low, high]));
        let area = Frame { x: left + LEFT, y: TOP, width: AREA[0], height: AREA[1] };
        Axes { area, x: [x0 - 0.25, x1 + 0.25], y: [y0 - 0.1, y1 + 0.2] }
    }

    fn at_x(&self, x: f64) -> f64 {
        let share = (x.log2() - self.x[0]) / (self.x[1] - self.x[0]);
        self.area.x + share * self.area.width
    }

    /// A value below the axis, or none at all, is drawn at its foot, one above it at its top.
    fn at_y(&self, y: f64) -> f64 {
        let log = if y > 0.0 { y.log10().clamp(self.y[0], self.y[1]) } else { self.y[0] };
        let share = (log - self.y[0]) / (self.y[1] - self.y[0]);
        self.area.y + (1.0 - share) * self.area.height
    }
}

/// Draws the panels that have curves and writes them as PNG.
///
/// # Errors
/// The file cannot be written.
pub fn save(path: &Path, title: &str, note: &str, panels: &[Panel]) -> Result<u64> {
    let panels: Vec<&Panel> = panels.iter().filter(|p| !p.series.is_empty()).collect();
    let longest = |p: &Panel| p.series.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
    let legend = |p: &Panel| 40.0 + (longest(p) * Font::Small.width()) as f64;
    let pitch = |p: &Panel| LEFT + AREA[0] + GAP + legend(p) + 16.0;
    let width: f64 = panels.iter().map(|p| pitch(p)).sum::<f64>().max(LEFT + AREA[0]);
    let lines = panels.iter().map(|p| p.series.len()).max().unwrap_or(0);
    let height = TOP + AREA[1].max(lines as f64 * LINE) + BOTTOM;
    let mut canvas = Canvas::new(width.ceil() as usize, height.ceil() as usize);
    canvas.text(title, [LEFT, 30.0], Anchor::Left, Font::Title, INK);
    canvas.text(note, [LEFT, 58.0], Anchor::Left, Font::Small, GREY);
    let mut left = 0.0;
    for panel in panels {
        draw(&mut canvas, panel, &Axes::new(panel, left));
        left += pitch(panel);
    }
    canvas.save(path)
}

/// The look of the i-th curve.
fn style(i: usize) -> (Color, Marker) {
    (COLORS[i % COLORS.len()], Marker::ALL[i % Marker::ALL.len()])
}

fn draw(canvas: &mut Canvas, panel: &Panel, axes: &Axes) {
    grid(canvas, panel, axes);
    canvas.inside(axes.area, |canvas| {
        if let Some((floor, _)) = &panel.floor {
            let top = axes.at_y(*floor);
            let height = axes.area.y + axes.area.height - top;
            canvas.fill(Frame { y: top, height, ..axes.area }, FAINT, 0.8);
        }
        for (i, series) in panel.series.iter().enumerate() {
            let (color, marker) = style(i);
            let at = |p: &[f64; 2]| [axes.at_x(p[0]), axes.at_y(p[1])];
            for pair in series.points.windows(2) {
                canvas.line(at(&pair[0]), at(&pair[1]), 2.0, color, 0.75);
            }
            for (point, upper) in series.points.iter().zip(&series.upper) {
                let ([x, foot], top) = (at(point), axes.at_y(*upper));
                canvas.line([x, foot], [x, top], 1.5, color, 0.6);
                canvas.line([x - 5.0, top], [x + 5.0, top], 1.5, color, 0.6);
            }
            for point in &series.points {
                canvas.marker(marker, at(point), 7.0, PAPER, 1.0);
                canvas.marker(marker, at(point), 5.5, color, 1.0);
            }
        }
        if let Some((floor, why)) = &panel.floor {
            let at = [axes.area.x + 12.0, axes.at_y(*floor) + 14.0];
            canvas.text(why, at, Anchor::Left, Font::Small, GREY);
        }
    });
    canvas.border(axes.area, GREY);
    legend(canvas, panel, axes);
}

/// Lines and numbers of the axes.
fn grid(canvas: &mut Canvas, panel: &Panel, axes: &Axes) {
    let Frame { x, y, width, height } = axes.area;
    let powers = || (0..32).map(|e| f64::from(e).exp2()).collect();
    let ticks: Vec<f64> = match &panel.scale {
        Scale::Powers => powers(),
        Scale::Measured(values) => values.clone(),
    };
    let within = |n: &f64| axes.x[0] <= n.log2() && n.log2() <= axes.x[1];
    for n in ticks.into_iter().filter(within) {
        let px = axes.at_x(n);
        canvas.line([px, y], [px, y + height], 1.0, FAINT, 1.0);
        canvas.text(&n.to_string(), [px, y + height + 18.0], Anchor::Middle, Font::Small, INK);
    }
    for decade in axes.y[0].floor() as i32..=axes.y[1].ceil() as i32 {
        for digit in 1..10 {
            let value = f64::from(digit) * 10_f64.powi(decade);
            if value.log10() < axes.y[0] || value.log10() > axes.y[1] {
                continue;
            }
            let py = axes.at_y(value);
            let strength = if digit == 1 { 1.0 } else { 0.35 };
            canvas.line([x, py], [x + width, py], 1.0, FAINT, strength);
            let wide = if panel.scale == Scale::Powers { 1.5 } else { 2.5 };
            let tight = axes.y[1] - axes.y[0] < wide && [2, 5].contains(&digit);
            if digit == 1 || tight {
                let label = match panel.scale {
                    Scale::Powers => format!("{digit}e{decade}"),
                    Scale::Measured(_) => plain(digit, decade),
                };
                canvas.text(&label, [x - 10.0, py], Anchor::Right, Font::Small, INK);
            }
        }
    }
    let middle = x + width / 2.0;
    canvas.text(&panel.x_label, [middle, y + height + 50.0], Anchor::Middle, Font::Label, INK);
    let centre = [x - 82.0, y + height / 2.0];
    canvas.text(&panel.y_label, centre, Anchor::Upwards, Font::Label, INK);
    canvas.text(&panel.title, [x, y - 16.0], Anchor::Left, Font::Label, INK);
}

/// `20`, `0.02`: a digit with its zeros.
fn plain(digit: i32, decade: i32) -> String {
    let digits = (-decade).max(0) as usize;
    format!("{:.digits$}", f64::from(digit) * 10_f64.powi(decade))
}

/// Names in the order of the curves' ends, the largest value first.
fn legend(canvas: &mut Canvas, panel: &Panel, axes: &Axes) {
    let end = |i: &usize| panel.series[*i].points.last().map_or(0.0, |p| p[1]);
    let mut order: Vec<usize> = (0..panel.series.len()).collect();
    order.sort_by(|a, b| end(b).total_cmp(&end(a)));
    for (row, i) in order.into_iter().enumerate() {
        let (color, marker) = style(i);
        let x = axes.area.x + axes.area.width + GAP;
        let y = axes.area.y + 8.0 + row as f64 * LINE;
        canvas.line([x - 10.0, y], [x + 14.0, y], 2.0, color, 0.75);
        canvas.marker(marker, [x + 2.0, y], 5.5, color, 1.0);
        canvas.text(&panel.series[i].name, [x + 22.0, y], Anchor::Left, Font::Small, INK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_out() {
        let cases = [(2, 1, "20"), (1, 0, "1"), (5, -2, "0.05"), (1, 3, "1000")];
        for (digit, decade, text) in cases {
            assert_eq!(plain(digit, decade), text);
        }
    }

    #[test]
    fn one_point_lies_inside_its_axes() {
        for point in [[50.0, 1234.0], [1.0, 0.02]] {
            let panel = Panel {
                title: String::new(),
                x_label: String::new(),
                y_label: String::new(),
                scale: Scale::Measured(vec![point[0]]),
                series: vec![Series { points: vec![point], ..Series::default() }],
                floor: None,
            };
            let axes = Axes::new(&panel, 0.0);
            let at = [axes.at_x(point[0]), axes.at_y(point[1])];
            let Frame { x, y, width, height } = axes.area;
            assert!(at[0] > x + 0.2 * width && at[0] < x + 0.8 * width, "{at:?}");
            assert!(at[1] > y + 0.2 * height && at[1] < y + 0.8 * height, "{at:?}");
        }
    }
}
