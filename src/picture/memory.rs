//! The values in memory over the launches: a rectangle each, from the launch that writes it to the
//! last that reads it, at its bytes of an arena; below them how much is alive.

use super::flow::number;
use super::svg::{Anchor, Frame, Svg, width};
use super::{FAINT, GREY, HOISTED, INK, PLAIN, Palette, block};
use crate::sampler::{Arena, Inspection, MemoryMap, Value, bytes};

const LEFT: f64 = 120.0;
const RIGHT: f64 = 150.0;
const HEAD: f64 = 100.0;
/// Of all launches, and the least of one.
const WIDTH: f64 = 1180.0;
const LEAST: f64 = 6.0;
/// Of the arenas of one part together, the least of one of them, and between them.
const HEIGHT: f64 = 460.0;
const LOW: f64 = 14.0;
const GAP: f64 = 8.0;
/// Of the bars of what is alive, and what is above and below them.
const BARS: f64 = 130.0;
const ABOVE: f64 = 56.0;
const FOOT: f64 = 110.0;
/// Height of a line of the legend.
const LINE: f64 = 18.0;
const SIZE: f64 = 10.5;
/// Values lower than this have no room for a name.
const NAMED: f64 = 11.0;

/// Where an arena lies.
struct Band<'a> {
    arena: &'a Arena,
    y: f64,
    /// Pixels a byte.
    scale: f64,
}

struct Plot<'a> {
    inspection: &'a Inspection,
    bands: Vec<Band<'a>>,
    /// Pixels a launch.
    step: f64,
    /// Below the last band.
    bottom: f64,
}

/// The plot as an SVG. Arenas of one part have one scale; those of tables have another than those
/// of the loop's values.
pub fn memory(inspection: &Inspection) -> String {
    let plot = Plot::new(inspection);
    let mut svg = Svg::default();
    plot.title(&mut svg);
    let palette = Palette::of(inspection);
    plot.bands.iter().enumerate().for_each(|(id, band)| plot.band(&mut svg, id, band));
    plot.divide(&mut svg);
    for value in &inspection.memory.values {
        plot.value(&mut svg, &palette, value);
    }
    plot.alive(&mut svg);
    plot.axis(&mut svg);
    plot.legend(&mut svg, &palette);
    svg.finish([plot.x(plot.launches()) + RIGHT, plot.foot() + FOOT])
}

impl<'a> Plot<'a> {
    fn new(inspection: &'a Inspection) -> Plot<'a> {
        let memory = &inspection.memory;
        let step = (WIDTH / memory.alive.len().max(1) as f64).max(LEAST);
        let all = |hoisted: bool| -> u64 {
            let part = memory.arenas.iter().filter(|arena| arena.hoisted == hoisted);
            part.map(|arena| arena.bytes).sum()
        };
        // Tables are shown lower: the loop is where memory is short.
        let scales = [HEIGHT / all(false).max(1) as f64, 0.5 * HEIGHT / all(true).max(1) as f64];
        let mut y = HEAD;
        let band = |arena: &'a Arena| {
            let band = Band { arena, y, scale: scales[usize::from(arena.hoisted)] };
            y += band.height() + GAP;
            band
        };
        let bands: Vec<Band> = memory.arenas.iter().map(band).collect();
        Plot { inspection, bands, step, bottom: y }
    }

    fn launches(&self) -> usize {
        self.inspection.memory.alive.len()
    }

    /// Where launch `at` begins.
    fn x(&self, at: usize) -> f64 {
        LEFT + at as f64 * self.step
    }

    fn foot(&self) -> f64 {
        self.bottom + ABOVE + BARS
    }

    fn title(&self, svg: &mut Svg) {
        let i = self.inspection;
        let title = format!("{}: values in memory over the launches", i.model);
        svg.text(24.0, 30.0, Anchor::Start, (17.0, INK), &title);
        let ratio = i.activation_bytes as f64 / i.activation_lower_bound_bytes.max(1) as f64;
        let note = format!(
            "batch {}, {}: the loop's values in {}, {ratio:.2}x the {} that are alive at most; \
             tables made before it in {}",
            i.batch,
            i.precision,
            bytes(i.activation_bytes),
            bytes(i.activation_lower_bound_bytes),
            bytes(i.hoisted_bytes)
        );
        svg.text(24.0, 49.0, Anchor::Start, (SIZE, GREY), &note);
        let note = "a rectangle is a value, from the launch that writes it to the last that reads \
                    it; colours are blocks of the network, green are tables";
        svg.text(24.0, 65.0, Anchor::Start, (SIZE, GREY), note);
    }

    fn band(&self, svg: &mut Svg, id: usize, band: &Band) {
        let (x, end) = (self.x(0), self.x(self.launches()));
        let said = bytes(band.arena.bytes);
        let at = Frame { x, y: band.y, w: end - x, h: band.height() };
        svg.frame("arena", at, ["#fafbfc", FAINT], &format!("arena {id}: {said}"));
        let y = band.y + 11.0;
        svg.text(x - 8.0, y, Anchor::End, (SIZE, INK), &format!("arena {id}"));
        svg.text(end + 8.0, y, Anchor::Start, (SIZE, GREY), &said);
    }

    fn value(&self, svg: &mut Svg, palette: &Palette, value: &Value) {
        let band = &self.bands[value.arena];
        let color = if band.arena.hoisted { HOISTED } else { palette.color(&value.name) };
        let at = Frame {
            x: self.x(value.first),
            y: band.y + value.offset as f64 * band.scale,
            w: self.x(value.last + 1) - self.x(value.first),
            h: value.bytes as f64 * band.scale,
        };
        let hoisted = self.inspection.launches_hoisted;
        let [first, last] = [value.first, value.last].map(|at| number(at, hoisted));
        let said = format!(
            "{}: {} at {} of arena {}, launches {first} to {last}",
            value.name,
            bytes(value.bytes),
            value.offset,
            value.arena
        );
        svg.frame("value", at, [color.fill, color.line], &said);
        let names = names(&value.name);
        let fitting = names.into_iter().find(|name| width(name, 8.5) <= at.w - 6.0);
        if let (true, Some(name)) = (at.h >= NAMED, fitting) {
            let y = at.y + (at.h / 2.0).min(9.0) + 3.0;
            svg.text(at.x + 3.0, y, Anchor::Start, (8.5, INK), name);
        }
    }

    /// A bar for each launch, and the most that is alive at one of a step.
    fn alive(&self, svg: &mut Svg) {
        let (memory, foot) = (&self.inspection.memory, self.foot());
        let hoisted = self.inspection.launches_hoisted;
        let most = self.inspection.activation_lower_bound_bytes.max(1);
        let (before, step) = memory.alive.split_at(hoisted);
        let highest = before.iter().max().copied().unwrap_or(0).max(1);
        for (at, alive) in memory.alive.iter().enumerate() {
            let (all, color) = match at < hoisted {
                true => (highest, [HOISTED.fill, HOISTED.line]),
                false => (most, ["#c9d3df", GREY]),
            };
            let h = BARS * *alive as f64 / all as f64;
            let bar = Frame { x: self.x(at), y: foot - h, w: self.step, h };
            let said = format!("launch {}: {} alive", number(at, hoisted), bytes(*alive));
            svg.frame("alive", bar, color, &said);
        }
        let said = "bytes alive at each launch: tables until the loop begins, then the values of a \
                    step, each on a scale of its own";
        let top = foot - BARS;
        svg.text(self.x(0), top - 26.0, Anchor::Start, (SIZE, INK), said);
        let Some((at, _)) = MemoryMap::peak(step) else { return };
        let (x, end) = (self.x(hoisted), self.x(self.launches()));
        svg.path("bound", &format!("M{x:.1} {top:.1}H{end:.1}"), ("#c03a3a", 1.4), "lower bound");
        let layer = &self.inspection.plan[self.inspection.step.start + at].layer;
        let said = format!("most: {} at launch {}, {layer}", bytes(most), at + 1);
        svg.text(end, top - 8.0, Anchor::End, (SIZE, "#c03a3a"), &said);
        svg.text(end + 8.0, top + 4.0, Anchor::Start, (SIZE, "#c03a3a"), "lower bound");
    }

    /// Numbers of launches, and the line between what runs once and what runs in every step.
    fn axis(&self, svg: &mut Svg) {
        let (foot, hoisted) = (self.foot(), self.inspection.launches_hoisted);
        let each = (26.0 / self.step).ceil() as usize;
        for at in 0..self.launches() {
            let within = if at < hoisted { at } else { at - hoisted };
            let crowded = at < hoisted && at + each > hoisted && within > 0;
            if within.is_multiple_of(each) && !crowded {
                let x = self.x(at) + self.step / 2.0;
                svg.text(x, foot + 15.0, Anchor::Middle, (SIZE, GREY), &number(at, hoisted));
            }
        }
        let parts = [(0, hoisted, "before the loop"), (hoisted, self.launches(), "one step")];
        for (start, end, name) in parts {
            if end > start {
                let x = (self.x(start) + self.x(end)) / 2.0;
                svg.text(x, foot + 34.0, Anchor::Middle, (SIZE, INK), name);
                svg.text(x, HEAD - 10.0, Anchor::Middle, (SIZE, INK), name);
            }
        }
    }

    /// The line where the loop begins, behind everything else.
    fn divide(&self, svg: &mut Svg) {
        let hoisted = self.inspection.launches_hoisted;
        if hoisted > 0 {
            let (x, above, foot) = (self.x(hoisted), self.bottom - GAP, self.foot());
            let path = format!("M{x:.1} {HEAD:.1}V{above:.1}M{x:.1} {:.1}V{foot:.1}", foot - BARS);
            svg.path("loop", &path, (INK, 1.0), "the loop begins");
        }
    }

    /// Which colour is which block.
    fn legend(&self, svg: &mut Svg, palette: &Palette) {
        let (mut x, mut y) = (LEFT, self.foot() + 62.0);
        for (name, color) in palette.blocks().chain([("tables", HOISTED), ("no block", PLAIN)]) {
            let w = 22.0 + width(name, SIZE);
            if x + w > self.x(self.launches()) {
                (x, y) = (LEFT, y + LINE);
            }
            let swatch = Frame { x, y: y - 9.0, w: 11.0, h: 11.0 };
            svg.frame("legend", swatch, [color.fill, color.line], name);
            svg.text(x + 16.0, y, Anchor::Start, (SIZE, INK), name);
            x += w + 16.0;
        }
    }
}

/// The name of a layer, the same without its block, and its last part.
fn names(layer: &str) -> [&str; 3] {
    let within = block(layer).and_then(|block| layer.strip_prefix(block)?.strip_prefix('.'));
    [layer, within.unwrap_or(layer), layer.rsplit('.').next().unwrap_or(layer)]
}

impl Band<'_> {
    fn height(&self) -> f64 {
        (self.arena.bytes as f64 * self.scale).max(LOW)
    }
}
