//! How a parameter of the graph lies in the checkpoint: as a tensor of its own, as a part of one,
//! or not at all.

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
}

/// A tensor that a checkpoint may hold though sampling does not read it: a buffer that the
/// network's code already says, or a layer of the training alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    /// One that ends with a dot stands for all tensors below it, of whatever shape.
    pub name: String,
    pub shape: Vec<usize>,
    /// What it must hold for the network to be the one that was built.
    pub values: Option<Vec<f32>>,
}
