//! The input of a decoder from a part of the state: `y = scale x` of `th x tw` pixels from line
//! `top` and column `left` on, `[B, C, H, W]` f32 to `[n, th, tw, C]` in the storage type.
//!
//! Which part of which samples is a matter of the row: [`Place`].

use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params, words};

/// What a row decodes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Place {
    /// The first of the samples.
    pub sample: u32,
    /// Where its pixels go: the first of the buffer's blocks, see [`super::picture_tile`].
    pub block: u32,
    /// Where the part begins in the state.
    pub top: u32,
    pub left: u32,
}

impl Place {
    pub const WORDS: usize = size_of::<Place>() / 4;

    /// That of the row at the cursor, `first` being the row of the first place.
    pub(super) fn at(places: &[f32], cursor: Cursor, first: u32) -> Place {
        let at = (cursor.row - first) as usize * Place::WORDS;
        let [sample, block, top, left] = [0, 1, 2, 3].map(|i| words(places)[at + i]);
        Place { sample, block, top, left }
    }
}

params! {
    /// `b` states of `c` channels, `h x w`; `n` of them are read. Of the `count` places the first
    /// is that of row `first`.
    pub struct Params {
        pub b: u32,
        pub n: u32,
        pub c: u32,
        pub h: u32,
        pub w: u32,
        pub th: u32,
        pub tw: u32,
        pub scale: f32,
        pub first: u32,
        pub count: u32,
    }
}

impl Params {
    /// Whether what a row reads lies inside the state.
    pub fn holds(&self, place: &Place) -> bool {
        let within =
            |from: u32, size: u32, all: u32| from.checked_add(size).is_some_and(|e| e <= all);
        within(place.sample, self.n, self.b)
            && within(place.top, self.th, self.h)
            && within(place.left, self.tw, self.w)
    }
}

impl Op for Params {
    const NAME: &'static str = "latent_tile";
    const ARGS: &'static [Arg] = &[Arg::read("x"), Arg::read("places"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (self.b * self.c * self.h * self.w) as usize,
            1 => self.count as usize * Place::WORDS,
            _ => (self.n * self.th * self.tw * self.c) as usize,
        }
    }
    fn flops(&self) -> u64 {
        self.elements(2) as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, places, ..] = buffers.read;
        let place = Place::at(places, cursor, self.first);
        let (c, h, w) = (self.c as usize, self.h as usize, self.w as usize);
        let (th, tw) = (self.th as usize, self.tw as usize);
        let y = &mut buffers.write[2][..self.elements(2)];
        parallel::vectors(y, c, |i, y| {
            let sample = place.sample as usize + i / (th * tw);
            let line = place.top as usize + i / tw % th;
            let at = line * w + place.left as usize + i % tw;
            for (k, y) in y.iter_mut().enumerate() {
                *y = self.scale * x[(sample * c + k) * h * w + at];
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut case = |(b, n, c), (h, w), (th, tw), place: Place| {
            let (first, count) = (4, 3);
            let scale = 1.0 / 0.18215;
            let params = Params { b, n, c, h, w, th, tw, scale, first, count };
            let none = [u32::MAX; 4];
            let own = [place.sample, place.block, place.top, place.left];
            let places = CaseArg::U32([none, own, none].concat());
            let x = random.f32(params.elements(0), 2.0);
            let name = format!("latent_tile {n} of {b}x{c}x{h}x{w}, {th}x{tw}");
            Case::new(name, params, vec![x, places, CaseArg::Output])
                .at(Cursor { row: first + 1, time: 0 })
        };
        let place = |sample, top, left| Place { sample, block: 9, top, left };
        vec![
            case((1, 1, 1), (1, 1), (1, 1), place(0, 0, 0)),
            case((2, 2, 4), (8, 6), (8, 6), place(0, 0, 0)),
            case((3, 1, 3), (9, 7), (4, 3), place(2, 5, 4)),
            case((4, 2, 5), (6, 20), (5, 16), place(1, 1, 3)),
        ]
    }
}
