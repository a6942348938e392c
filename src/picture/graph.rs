//! The graph before and after fusion, side by side: boxes from top to bottom in the order in which
//! they are computed, edges straight to the next one and else in lanes beside them.

use super::flow::{Item, after, before};
use super::lanes::{Edges, edges};
use super::svg::{Anchor, Frame, Svg, fit, width};
use super::{Color, GREY, HOISTED, INK, Palette, sides};
use crate::sampler::Inspection;

const MARGIN: f64 = 28.0;
/// Above the first box.
const HEAD: f64 = 112.0;
/// Height of a box with one line, of each further line, and between boxes.
const LINE: f64 = 20.0;
const MORE: f64 = 13.0;
const GAP: f64 = 8.0;
/// Between the part before the loop and the loop.
const PART: f64 = 34.0;
const SIZE: f64 = 11.0;
const SMALL: f64 = 9.5;
/// Of the text of a box, and how far a level of resolution is indented.
const TEXT: f64 = 460.0;
const INDENT: f64 = 14.0;
const LANE: f64 = 7.0;
/// Between the two columns.
const APART: f64 = 40.0;

/// One column of boxes.
struct Column<'a> {
    title: String,
    items: Vec<Item<'a>>,
    boxes: Vec<Frame>,
    /// What a launch of the loop reads of the tables made before it, on the left.
    tables: Edges,
    /// All other edges, on the right.
    values: Edges,
    /// From the left edge of the lanes on the left.
    left: f64,
    right: f64,
    bottom: f64,
}

/// The picture as an SVG.
pub fn graph(inspection: &Inspection) -> String {
    let palette = Palette::of(inspection);
    let (hoisted, step) = (inspection.launches_hoisted, inspection.launches_per_step);
    let titles = [
        format!("before fusion: {} layers", inspection.graph.len()),
        format!("after fusion: {step} launches a step, {hoisted} before the loop"),
    ];
    let [first, second] = titles;
    let before = Column::new(first, before(inspection), false, MARGIN);
    let after = Column::new(second, after(inspection), true, before.right + APART);
    let mut svg = Svg::default();
    let model = format!("{}: the network as it is planned", inspection.model);
    svg.text(MARGIN, 30.0, Anchor::Start, (17.0, INK), &model);
    let notes = [
        "colours are blocks of the network, green runs once before the loop; indented is of lower \
         resolution",
        "#1 is the first launch of a step, #p1 the first before the loop; an edge in a lane is a \
         value that is read later",
    ];
    for (note, y) in notes.into_iter().zip([49.0, 65.0]) {
        svg.text(MARGIN, y, Anchor::Start, (SIZE, GREY), note);
    }
    before.draw(&mut svg, &palette, "layer");
    after.draw(&mut svg, &palette, "launch");
    let bottom = before.bottom.max(after.bottom);
    svg.finish([after.right + MARGIN, bottom + MARGIN])
}

impl<'a> Column<'a> {
    /// Lays out `items`; where `parted`, those before the loop come first and stand apart.
    fn new(title: String, items: Vec<Item<'a>>, parted: bool, left: f64) -> Column<'a> {
        let table = |id: usize, read: usize| {
            parted && items[read].hoisted.is_some() && items[id].hoisted.is_none()
        };
        let of = |wanted: bool| -> Vec<Vec<usize>> {
            let reads = items.iter().enumerate().map(|(id, item)| {
                item.reads.iter().copied().filter(|read| table(id, *read) == wanted).collect()
            });
            reads.collect()
        };
        let [tables, values] = [true, false].map(|wanted| edges(of(wanted).iter().map(|r| &r[..])));
        let start = left + lanes(&tables);
        let widest = levels(&items).into_iter().max().unwrap_or(0) as f64 * INDENT;
        let mut y = HEAD;
        let mut boxes = Vec::new();
        for (id, (item, level)) in items.iter().zip(levels(&items)).enumerate() {
            if parted && id > 0 && item.hoisted.is_none() && items[id - 1].hoisted.is_some() {
                y += PART;
            }
            let x = start + level as f64 * INDENT;
            let h = LINE + lines(item).len() as f64 * MORE;
            boxes.push(Frame { x, y, w: start + widest + TEXT - x, h });
            y += h + GAP;
        }
        let right = start + widest + TEXT + lanes(&values);
        Column { title, items, boxes, tables, values, left, right, bottom: y }
    }

    fn draw(&self, svg: &mut Svg, palette: &Palette, class: &str) {
        svg.text(self.left, HEAD - 16.0, Anchor::Start, (13.0, INK), &self.title);
        for (side, edges) in [(-1.0, &self.tables), (1.0, &self.values)] {
            self.edges(svg, palette, side, edges);
        }
        for (item, at) in self.items.iter().zip(&self.boxes) {
            node(svg, palette, class, item, *at);
        }
    }

    fn color(&self, palette: &Palette, id: usize) -> &'static str {
        let item = &self.items[id];
        item.hoisted.map_or(palette.color(item.name), |_| HOISTED).line
    }

    /// Edges on the right (`side` 1) or on the left (-1) of the boxes.
    fn edges(&self, svg: &mut Svg, palette: &Palette, side: f64, edges: &Edges) {
        for &from in &edges.straight {
            let [a, b] = [self.boxes[from], self.boxes[from + 1]];
            let x = a.x.max(b.x) + 16.0;
            let color = self.color(palette, from);
            let (top, bottom) = (a.y + a.h, b.y);
            let path = format!("M{x:.1} {top:.1}V{:.1}", bottom - 4.0);
            svg.path("edge", &path, (color, 1.2), &self.said(from, from + 1));
            svg.head((x, bottom), (0.0, 1.0), color);
        }
        for bus in &edges.buses {
            let color = self.color(palette, bus.from);
            let edge = |at: Frame| if side > 0.0 { at.x + at.w } else { at.x };
            let from = self.boxes[bus.from];
            let outermost = if side > 0.0 { edge(from) } else { self.start() };
            let lane = outermost + side * (12.0 + bus.lane as f64 * LANE);
            for &to in &bus.to {
                let (start, end) = (edge(from), edge(self.boxes[to]));
                let (leaves, enters) = (from.y + 14.0, self.boxes[to].y + 6.0);
                let path = format!(
                    "M{start:.1} {leaves:.1}H{lane:.1}V{enters:.1}H{:.1}",
                    end + side * 4.0
                );
                svg.path("edge", &path, (color, 1.2), &self.said(bus.from, to));
                svg.head((end, enters), (-side, 0.0), color);
            }
        }
    }

    /// Where boxes begin at the least.
    fn start(&self) -> f64 {
        self.left + lanes(&self.tables)
    }

    /// What an edge brings.
    fn said(&self, from: usize, to: usize) -> String {
        let (from, to) = (&self.items[from], &self.items[to]);
        format!("{} -> {}: {}", from.name, to.name, sides(from.shape))
    }
}

fn node(svg: &mut Svg, palette: &Palette, class: &str, item: &Item, at: Frame) {
    let Color { fill, line } = item.hoisted.map_or(palette.color(item.name), |_| HOISTED);
    svg.frame(class, at, [fill, line], &format!("{} {}", item.kind, item.name));
    let why = item.hoisted.filter(|_| !item.layers.is_empty());
    let once = why.map_or(String::new(), |why| format!("once, by {why}  "));
    let notes = format!("{once}{}  {}", sides(item.shape), item.number);
    let (x, end, base) = (at.x + 7.0, at.x + at.w - 7.0, at.y + 14.0);
    svg.text(end, base, Anchor::End, (SMALL, GREY), &notes);
    svg.text(x, base, Anchor::Start, (SIZE, line), item.kind);
    let name = x + width(item.kind, SIZE) + 8.0;
    let room = end - width(&notes, SMALL) - 10.0 - name;
    svg.text(name, base, Anchor::Start, (SIZE, INK), &fit(item.name, SIZE, room));
    for (i, text) in lines(item).iter().enumerate() {
        let y = base + 2.0 + (i + 1) as f64 * MORE;
        let text = fit(text, SMALL, end - x - 14.0);
        svg.text(x + 14.0, y, Anchor::Start, (SMALL, INK), &text);
    }
}

/// The further lines of a box: what it computes, where that is more than its name says.
fn lines<'a>(item: &Item<'a>) -> &'a [String] {
    match item.layers {
        [layer] if layer == item.name => &[],
        layers => layers,
    }
}

/// How far each item is indented: once for every resolution above its own. A row of channels is
/// where the map before it is.
fn levels(items: &[Item]) -> Vec<usize> {
    let pixels = |item: &Item| match item.shape {
        [h, w, _] => Some(h * w),
        _ => None,
    };
    let found: Vec<Option<usize>> = items.iter().map(pixels).collect();
    let mut sizes: Vec<usize> = found.iter().copied().flatten().collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.dedup();
    let mut level = 0;
    let of = |pixels: &Option<usize>| {
        level = pixels.map_or(level, |p| sizes.iter().position(|s| *s == p).unwrap_or(0));
        level
    };
    found.iter().map(of).collect()
}

/// Room for the lanes of some edges.
fn lanes(edges: &Edges) -> f64 {
    match edges.lanes() {
        0 => 0.0,
        lanes => 18.0 + lanes as f64 * LANE,
    }
}
