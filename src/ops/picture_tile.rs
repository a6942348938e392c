//! What a decoder gives, in the order of pictures: `[n, th, tw, C]` becomes a corner of blocks
//! `[C, ho, wo]` f32, of which sample i takes every `step`-th from the row's own on
//! ([`Place::block`]).

use super::latent_tile::Place;
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, params};

params! {
    /// x `[n, th, tw, c]`, y `[blocks, c, ho, wo]`. Of the `count` places the first is that of row
    /// `first`.
    pub struct Params {
        pub n: u32,
        pub c: u32,
        pub th: u32,
        pub tw: u32,
        pub ho: u32,
        pub wo: u32,
        pub blocks: u32,
        pub step: u32,
        pub first: u32,
        pub count: u32,
    }
}

impl Params {
    /// Whether what a row writes lies inside the blocks.
    pub fn holds(&self, place: &Place) -> bool {
        let samples = self.n.saturating_sub(1).saturating_mul(self.step);
        place.block.saturating_add(samples) < self.blocks
            && self.th <= self.ho
            && self.tw <= self.wo
    }
}

impl Op for Params {
    const NAME: &'static str = "picture_tile";
    const ARGS: &'static [Arg] = &[Arg::read("x"), Arg::read("places"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (self.n * self.th * self.tw * self.c) as usize,
            1 => self.count as usize * Place::WORDS,
            _ => (self.blocks * self.c * self.ho * self.wo) as usize,
        }
    }
    fn flops(&self) -> u64 {
        0
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, places, ..] = buffers.read;
        let place = Place::at(places, cursor, self.first);
        let (c, th, tw) = (self.c as usize, self.th as usize, self.tw as usize);
        let (ho, wo) = (self.ho as usize, self.wo as usize);
        for (i, x) in x[..self.elements(0)].chunks_exact(c).enumerate() {
            let block = (place.block + i as u32 / (self.th * self.tw) * self.step) as usize;
            let at = i / tw % th * wo + i % tw;
            for (k, x) in x.iter().enumerate() {
                buffers.write[2][(block * c + k) * ho * wo + at] = *x;
            }
        }
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut case = |(n, c), (th, tw), (ho, wo), (blocks, step), block| {
            let (first, count) = (2, 2);
            let params = Params { n, c, th, tw, ho, wo, blocks, step, first, count };
            let places = CaseArg::U32(vec![u32::MAX, u32::MAX, 0, 0, 9, block, 9, 9]);
            let x = random.data(params.elements(0), 2.0);
            let name = format!("picture_tile {n}x{th}x{tw}x{c} into {blocks}x{ho}x{wo}");
            Case::new(name, params, vec![x, places, CaseArg::OutputF32])
                .at(Cursor { row: first + 1, time: 0 })
        };
        vec![
            case((1, 1), (1, 1), (1, 1), (1, 1), 0),
            case((2, 3), (8, 6), (8, 6), (3, 1), 1),
            case((2, 3), (4, 7), (9, 7), (8, 4), 2),
            case((1, 4), (5, 16), (5, 20), (2, 7), 1),
        ]
    }
}
