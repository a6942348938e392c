//! The last convolution of a network with the step that its output is for: `f = conv2d(x)`, then
//! what [`solver_step`] does with it. The output lives in workgroup memory;
//! what reaches memory is the next state.
//!
//! The convolution has what a network's last one has, a norm on load and a bias; f is f32. Without
//! guidance, where two outputs that different workgroups compute would have to meet.

mod cases;

use super::{Arg, Buffers, Case, Cursor, Facts, Method, Op, Span, Tile};
use super::{conv2d, solver_step};
use crate::tensor::DType;
use std::cell::Cell;

/// The parameters of both; the kernel sees one struct of all their fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Params {
    pub conv: conv2d::Params,
    pub step: solver_step::Params,
}

/// The most channels of f: those of a workgroup's pixels lie in its memory.
pub const CHANNELS: u32 = 16;

/// Pixels in a line of the output come in multiples of this, and with them the elements of the
/// state that a thread takes at once.
pub const ACROSS: u32 = 4;

/// Whose argument an argument is, and which.
#[derive(Clone, Copy)]
enum Of {
    Conv(usize),
    Step(usize),
}

const WHOSE: [Of; 10] = [
    Of::Conv(0),
    Of::Conv(2),
    Of::Conv(3),
    Of::Conv(4),
    Of::Step(0),
    Of::Step(2),
    Of::Step(3),
    Of::Step(4),
    Of::Step(5),
    Of::Step(6),
];

/// The buffers of a launch, given those of the convolution and of the step.
pub fn args<T: Copy>(conv: &[Option<T>], step: &[Option<T>]) -> Vec<Option<T>> {
    let of = |whose: &Of| match whose {
        Of::Conv(i) => conv[*i],
        Of::Step(i) => step[*i],
    };
    WHOSE.iter().map(of).collect()
}

const BOTH: usize = conv2d::Params::OFFSETS.len() + solver_step::Params::OFFSETS.len();
static OFFSETS: [(&str, usize); BOTH] = offsets();

const fn offsets() -> [(&'static str, usize); BOTH] {
    let (conv, step) = (conv2d::Params::OFFSETS, solver_step::Params::OFFSETS);
    let mut all = [("", 0); BOTH];
    let mut i = 0;
    while i < BOTH {
        all[i] = match i < conv.len() {
            true => conv[i],
            false => {
                let (name, offset) = step[i - conv.len()];
                (name, std::mem::offset_of!(Params, step) + offset)
            }
        };
        i += 1;
    }
    all
}

thread_local! {
    /// The network's output, taken out while in use.
    static OUTPUT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// The buffers of the convolution and of the step.
fn parts<'a>(buffers: &mut Buffers<'a>) -> [Buffers<'a>; 2] {
    let none = || Buffers { read: [&[]; super::MAX_ARGS], write: Default::default() };
    let mut parts = [none(), none()];
    for (i, whose) in WHOSE.iter().enumerate() {
        let (part, at) = match whose {
            Of::Conv(at) => (&mut parts[0], *at),
            Of::Step(at) => (&mut parts[1], *at),
        };
        part.read[at] = buffers.read[i];
        part.write[at] = std::mem::take(&mut buffers.write[i]);
    }
    parts
}

impl Op for Params {
    const NAME: &'static str = "conv_step";
    const ARGS: &'static [Arg] = &[
        Arg::read("x").wide("VEC4"),
        Arg::read("weight"),
        Arg::maybe("vectors"),
        Arg::maybe_update("moments"),
        Arg::update("state").wide("STATE4"),
        Arg::read("table"),
        Arg::read("run"),
        Arg::maybe("draws"),
        Arg::maybe_update("saved").wide("STATE4"),
        Arg::maybe_update("history").wide("STATE4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = &OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match WHOSE[arg] {
            Of::Conv(arg) => self.conv.elements(arg),
            Of::Step(arg) => self.step.elements(arg),
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match WHOSE[arg] {
            Of::Conv(arg) => self.conv.reach(arg, span),
            Of::Step(arg) => self.step.reach(arg, span),
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        [self.conv.defines(), self.step.defines(), vec![("COUT", self.conv.cout)]].concat()
    }
    fn tiles(&self, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
        let mut of_conv = vec![None; conv2d::Params::ARGS.len()];
        for (whose, dtype) in WHOSE.iter().zip(dtypes) {
            if let Of::Conv(i) = whose {
                of_conv[*i] = *dtype;
            }
        }
        let mut tiles = self.conv.tiles(&of_conv, facts);
        // A workgroup has all of a pixel's channels: few, and no cooperative matrix of them.
        tiles.retain(|t| t.columns >= self.conv.cout && t.method != Method::Matrix);
        tiles
    }
    fn partial(&self) -> usize {
        self.conv.partial()
    }
    fn flops(&self) -> u64 {
        self.conv.flops() + self.step.flops()
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let mut f = OUTPUT.take();
        f.resize(self.step.elements(1), 0.0);
        let [mut conv, mut step] = parts(buffers);
        let y = conv2d::Params::ARGS.len() - 1;
        conv.write[y] = &mut f;
        self.conv.reference(cursor, &mut conv);
        step.read[1] = &f;
        self.step.reference(cursor, &mut step);
        OUTPUT.set(f);
    }
    fn cases() -> Vec<Case> {
        cases::cases()
    }
}
