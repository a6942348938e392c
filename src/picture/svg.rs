//! An SVG as it grows: the few shapes that plans are drawn with.

use std::fmt::{self, Write as _};

/// Width of a letter of a monospaced font, of its size.
const LETTER: f64 = 0.602;

/// A drawing. Lengths are pixels, colours are any that CSS knows.
#[derive(Default)]
pub(super) struct Svg {
    body: String,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

/// Which point of a line of text is given.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Text that is safe within an element and within quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no name for other control characters.
            c if c < ' ' && !['\t', '\n', '\r'].contains(&c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// How wide a line of `size` pixels is.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * LETTER
}

/// The line without its middle, where it is wider than `room`.
pub(super) fn fit(text: &str, size: f64, room: f64) -> String {
    let (letters, most) = (text.chars().count(), (room / (size * LETTER)).max(0.0) as usize);
    if letters <= most {
        return text.to_string();
    }
    let kept = most.saturating_sub(1);
    // Names differ at their ends more than where they begin.
    let (head, tail) = (kept / 3, kept - kept / 3);
    let middle = if most > 0 { "\u{2026}" } else { "" };
    let first: String = text.chars().take(head).collect();
    let last: String = text.chars().skip(letters - tail).collect();
    format!("{first}{middle}{last}")
}

impl Svg {
    fn put(&mut self, element: fmt::Arguments) {
        // Writing to a string does not fail.
        writeln!(self.body, "{element}").unwrap_or_default();
    }

    /// A filled rectangle with a border, and what is said of it where a mouse points.
    pub fn frame(&mut self, class: &str, at: Frame, colors: [&str; 2], title: &str) {
        let Frame { x, y, w, h } = at;
        let [fill, stroke] = colors;
        let (class, title) = (escape(class), escape(title));
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{w:.2}\" height=\"{h:.2}\" \
             fill=\"{fill}\" stroke=\"{stroke}\"><title>{title}</title></rect>"
        ));
    }

    /// A line of text of this size, whose baseline is at `y`.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, (size, color): (f64, &str), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
             fill=\"{color}\">{text}</text>"
        ));
    }

    /// A line along `path`, in the words of SVG.
    pub fn path(&mut self, class: &str, path: &str, (color, thick): (&str, f64), title: &str) {
        let (class, title) = (escape(class), escape(title));
        self.put(format_args!(
            "<path class=\"{class}\" d=\"{path}\" fill=\"none\" stroke=\"{color}\" \
             stroke-width=\"{thick}\"><title>{title}</title></path>"
        ));
    }

    /// A filled triangle that points to (x, y): to the right, to the left or down.
    pub fn head(&mut self, (x, y): (f64, f64), (dx, dy): (f64, f64), color: &str) {
        let (back_x, back_y) = (x - 5.0 * dx, y - 5.0 * dy);
        let (side_x, side_y) = (3.0 * dy, 3.0 * dx);
        self.put(format_args!(
            "<path d=\"M{x:.1} {y:.1}L{:.1} {:.1}L{:.1} {:.1}Z\" fill=\"{color}\"/>",
            back_x + side_x,
            back_y + side_y,
            back_x - side_x,
            back_y - side_y
        ));
    }

    /// The file, so large.
    pub fn finish(self, [w, h]: [f64; 2]) -> String {
        let fonts = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" \
             viewBox=\"0 0 {w:.0} {h:.0}\" font-family=\"{fonts}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}
