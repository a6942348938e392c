//! What follows the matrix product of `conv2d`, `linear` and `attention`, while the block is in
//! cache.

use super::activation::Apply;
use super::parallel;
use std::cell::RefCell;

/// `y = act((y + bias + row + residual) * scale)`; an empty slice stands for an absent addend.
pub(super) struct Epilogue<'a> {
    pub bias: &'a [f32],
    pub scale: f32,
    pub act: u32,
}

thread_local! {
    /// bias + row, over and over.
    static ADDEND: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Epilogue<'_> {
    /// `y` and `residual` are vectors of `c` channels, `row` is one for all of them.
    pub fn apply(&self, y: &mut [f32], c: usize, row: &[f32], residual: &[f32]) {
        ADDEND.with_borrow_mut(|addend| {
            let at = |values: &[f32], k: usize| values.get(k).copied().unwrap_or(0.0);
            parallel::repeat(addend, (0..c).map(|k| at(self.bias, k) + at(row, k)));
            let (scale, act) = (self.scale, self.act);
            parallel::vectorized(Finish { y, addend, residual, scale, act });
        });
    }
}

/// `y = act((y + addend + residual) * scale)`.
struct Finish<'a> {
    y: &'a mut [f32],
    /// Over and over.
    addend: &'a [f32],
    residual: &'a [f32],
    scale: f32,
    act: u32,
}

impl parallel::Loop for Finish<'_> {
    #[inline(always)]
    fn run(self) {
        let Finish { y, addend, residual, scale, act } = self;
        for y in y.chunks_mut(addend.len()) {
            y.iter_mut().zip(addend).for_each(|(y, a)| *y += a);
        }
        y.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
        if scale != 1.0 {
            y.iter_mut().for_each(|v| *v *= scale);
        }
        Apply { act, values: y }.run();
    }
}
