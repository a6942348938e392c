//! How a parameter of the graph lies in the checkpoint: as a tensor of its own, as a part of one,
//! or not at all.

use crate::ops::fir_resample::MOST_TAPS;

/// A parameter as the graph reads it (PyTorch's order: `[out, in, kh, kw]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// The checkpoint's key of the tensor that it is or lies in.
    pub name: String,
    pub shape: Vec<usize>,
    pub stored: Stored,
}

/// What a parameter is of the tensor that its name stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Stored {
    /// All of it.
    #[default]
    Whole,
    /// Some of its rows, as the queries are of a fused projection.
    Rows(Part),
    /// Of as many equal chunks of its rows as `of` those that are named, in their order.
    Chunks { of: usize, taken: &'static [usize] },
    /// All of it times a number.
    Times(f32),
    /// No file holds it: every element is this.
    Constant(f32),
    /// The kernel of a convolution, and behind it a filter in both directions, as one kernel.
    Filtered(Filter),
}

/// The filter `y[o] = sum_j taps[j] x[o + j]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filter {
    taps: [f32; MOST_TAPS],
    count: usize,
}

impl Filter {
    /// Of `taps` the first [`MOST_TAPS`] count.
    pub fn new(taps: &[f32]) -> Filter {
        let tap = |i: usize| taps.get(i).copied().unwrap_or(0.0);
        Filter { taps: std::array::from_fn(tap), count: taps.len().clamp(1, MOST_TAPS) }
    }

    /// What a kernel's side grows by.
    fn more(&self) -> usize {
        self.count - 1
    }

    /// The kernels `[sides[0] .. sides[3]]` that do what those of `kernels`, smaller by
    /// [`Filter::more`], and the filter do one after the other.
    fn join(&self, kernels: &[f32], sides: &[usize]) -> Vec<f32> {
        let (h, w) = (sides[2] - self.more(), sides[3] - self.more());
        let taps = || self.taps[..self.count].iter().map(|tap| f64::from(*tap)).enumerate();
        let join = |kernel: &[f32]| {
            let mut joined = vec![0.0; sides[2] * sides[3]];
            for (at, value) in kernel.iter().enumerate() {
                for (i, down) in taps() {
                    for (j, across) in taps() {
                        joined[(at / w + i) * sides[3] + at % w + j] +=
                            f64::from(*value) * down * across;
                    }
                }
            }
            joined.into_iter().map(|v| v as f32)
        };
        kernels.chunks_exact((h * w).max(1)).flat_map(join).collect()
    }
}

/// One of several kinds of rows that take turns in a tensor: its rows are `[.., parts, run]`, and
/// those with this `part`, in order, are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub part: usize,
    /// How many kinds there are.
    pub parts: usize,
    /// Rows of one kind before the next begins.
    pub run: usize,
}

impl Param {
    /// A tensor of its own.
    pub fn new(name: impl Into<String>, shape: &[usize]) -> Param {
        Param { name: name.into(), shape: shape.to_vec(), stored: Stored::Whole }
    }

    /// The shape of the tensor that a checkpoint holds for it, if any.
    pub fn tensor(&self) -> Option<Vec<usize>> {
        let mut shape = self.shape.clone();
        match self.stored {
            Stored::Constant(_) => return None,
            Stored::Rows(Part { parts, .. }) => shape[0] *= parts,
            Stored::Filtered(filter) => shape[2..].iter_mut().for_each(|n| *n -= filter.more()),
            Stored::Chunks { of, taken } => shape[0] = shape[0] / taken.len().max(1) * of,
            Stored::Whole | Stored::Times(_) => {}
        }
        Some(shape)
    }

    /// Its values: made of those of its tensor, or a constant, for which `tensor` is empty.
    pub fn of(&self, tensor: Vec<f32>) -> Vec<f32> {
        match self.stored {
            Stored::Whole => tensor,
            Stored::Times(factor) => tensor.into_iter().map(|v| v * factor).collect(),
            Stored::Constant(value) => vec![value; self.elements()],
            Stored::Filtered(filter) => filter.join(&tensor, &self.shape),
            Stored::Chunks { of, taken } => {
                let chunk = tensor.len() / of.max(1);
                taken.iter().flat_map(|i| &tensor[i * chunk..][..chunk]).copied().collect()
            }
            Stored::Rows(Part { part, parts, run }) => {
                let row = self.shape[1..].iter().product::<usize>();
                let runs = tensor.chunks_exact((run * row).max(1)).skip(part).step_by(parts);
                runs.flatten().copied().collect()
            }
        }
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Numbers of a checkpoint that it stands for.
    pub fn parameters(&self) -> usize {
        match self.stored {
            Stored::Constant(_) => 0,
            Stored::Filtered(_) => self.tensor().map_or(0, |shape| shape.iter().product()),
            Stored::Whole | Stored::Times(_) | Stored::Rows(_) | Stored::Chunks { .. } => {
                self.elements()
            }
        }
    }
}

/// A tensor that a checkpoint may hold though sampling does not read it: a buffer that the
/// network's code already says, or a layer of the training alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    pub name: String,
    pub shape: Vec<usize>,
    /// What it must hold for the network to be the one that was built.
    pub values: Option<Vec<f32>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a 1x2 kernel filtered by two taps, by hand.
    #[test]
    fn a_filter_joins_its_kernel() {
        let stored = Stored::Filtered(Filter::new(&[2.0, 3.0]));
        let param = Param { stored, ..Param::new("conv.weight", &[1, 1, 2, 3]) };
        assert_eq!((param.tensor(), param.parameters()), (Some(vec![1, 1, 1, 2]), 2));
        // [10, 1] across [2, 3] is [20, 32, 3]; down it is that twice, times 2 and 3.
        assert_eq!(param.of(vec![10.0, 1.0]), [40.0, 64.0, 6.0, 60.0, 96.0, 9.0]);
    }
}
