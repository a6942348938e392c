//! Samples as pixels.

use std::io::{self, Cursor, Write};

/// `[low, high]` to `0..=255`, halves to even, as the pipelines of diffusers save their images.
pub fn to_byte(value: f32, [low, high]: [f32; 2]) -> u8 {
    (((value - low) / (high - low)).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8
}

/// A picture of 1 (grey) or 3 (RGB) channels, `[H, W, C]`.
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub bytes: Vec<u8>,
}

impl Picture {
    /// A picture of one value everywhere.
    pub fn filled(width: usize, height: usize, channels: usize, value: u8) -> Self {
        Picture { width, height, channels, bytes: vec![value; width * height * channels] }
    }

    /// The picture of one sample `[C, H, W]`.
    pub fn of_sample(sample: &[f32], [c, h, w]: [usize; 3], range: [f32; 2]) -> Self {
        let mut picture = Picture::filled(w, h, c, 0);
        for (i, byte) in picture.bytes.iter_mut().enumerate() {
            *byte = to_byte(sample[(i % c) * h * w + i / c], range);
        }
        picture
    }

    /// Sets every channel of a pixel.
    pub fn set(&mut self, x: usize, y: usize, value: u8) {
        let at = (y * self.width + x) * self.channels;
        self.bytes[at..][..self.channels].fill(value);
    }

    /// Draws `other` at `(x, y)`, each of its pixels `zoom` wide and high.
    pub fn draw(&mut self, other: &Picture, x: usize, y: usize, zoom: usize) {
        let c = self.channels;
        for row in 0..other.height * zoom {
            for column in 0..other.width * zoom {
                let from = ((row / zoom) * other.width + column / zoom) * c;
                let to = ((y + row) * self.width + x + column) * c;
                self.bytes[to..][..c].copy_from_slice(&other.bytes[from..][..c]);
            }
        }
    }

    /// Encodes as PNG.
    pub fn write_png(&self, file: &mut impl Write) -> io::Result<()> {
        let color = match self.channels {
            1 => image::ExtendedColorType::L8,
            _ => image::ExtendedColorType::Rgb8,
        };
        let (width, height) = (self.width as u32, self.height as u32);
        // The encoder seeks, and a picture is small.
        let mut png = Cursor::new(Vec::new());
        let format = image::ImageFormat::Png;
        image::write_buffer_with_format(&mut png, &self.bytes, width, height, color, format)
            .map_err(io::Error::other)?;
        file.write_all(png.get_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_as_diffusers_rounds() {
        let cases = [(-1.0, 0), (1.0, 255), (0.0, 128), (-7.0, 0), (7.0, 255), (-0.5, 64)];
        for (value, byte) in cases {
            assert_eq!(to_byte(value, [-1.0, 1.0]), byte, "of {value}");
            assert_eq!(to_byte(value / 2.0 + 0.5, [0.0, 1.0]), byte, "of {value}, halved");
        }
    }

    #[test]
    fn channels_become_the_last_axis() {
        let sample = [-1.0, 1.0, 1.0, -1.0, 0.0, 0.0]; // [3, 1, 2]
        let picture = Picture::of_sample(&sample, [3, 1, 2], [-1.0, 1.0]);
        assert_eq!(picture.bytes, [0, 255, 128, 255, 0, 128]);
    }
}
