//! The catalogue of ops: one file an op, one name in `kernels/`, `shaders/` and here.
//!
//! An op file holds the equation, the `Params` that every backend passes to its kernel, the
//! buffers it binds and their sizes (the shape rule), its cost, its reference on the CPU, and the
//! adversarial cases that tests and benches run. Activations are `[N, H, W, C]` (NHWC), the
//! sampler's state is `[B, C, H, W]` (NCHW) f32; weights are packed K-major (see
//! [`crate::program::Pack`]).

mod cases;
mod epilogue;
mod matrix;
mod mma;
mod on_load;
mod output;
mod parallel;
pub mod philox;
mod random;
pub mod replace;
mod rowmap;
mod tile;

pub mod activation;
pub mod add;
pub mod attention;
pub mod combine;
pub mod concat;
pub mod control;
pub mod conv2d;
pub mod conv_step;
pub mod divide;
pub mod embedding;
pub mod fir_resample;
pub mod geglu;
pub mod group_norm;
pub mod guidance;
pub mod interpolate;
pub mod linear;
pub mod matrix_multiply_add;
pub mod mixture;
pub mod model_input;
pub mod moments;
pub mod multiply;
pub mod multiply_add;
pub mod noise;
pub mod pool;
pub mod predict;
pub mod resample;
pub mod row;
pub mod scale_shift;
pub mod solver_step;
pub mod time_embedding;
pub mod trace;
pub mod unpatchify;

pub use activation::Act;
pub use cases::{Case, CaseArg};
pub use on_load::Norm;
pub use parallel::vector_bits;
pub use rowmap::{Cursor, RowMap, Span};
pub use tile::{Facts, Method, Part, Tile};

use crate::tensor::DType;

/// How a kernel uses a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    ReadWrite,
}

/// A buffer that an op binds. The variable in the shader and the kernel carries the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    pub name: &'static str,
    pub access: Access,
    /// May be absent. A kernel is compiled with `HAS_<NAME>` defined when it is present.
    pub optional: bool,
    /// The define of the op under which its kernel takes the buffer in `vec4`s and without which
    /// in single elements: the `<name>_v` of the shader. `None`: the shader says what it takes.
    pub wide: Option<&'static str>,
}

impl Arg {
    pub const fn read(name: &'static str) -> Self {
        Arg { name, access: Access::Read, optional: false, wide: None }
    }
    pub const fn maybe(name: &'static str) -> Self {
        Arg { optional: true, ..Arg::read(name) }
    }
    pub const fn write(name: &'static str) -> Self {
        Arg { access: Access::Write, ..Arg::read(name) }
    }
    pub const fn update(name: &'static str) -> Self {
        Arg { access: Access::ReadWrite, ..Arg::read(name) }
    }
    pub const fn maybe_update(name: &'static str) -> Self {
        Arg { optional: true, ..Arg::update(name) }
    }
    /// The same in `vec4`s under `define`.
    pub const fn wide(self, define: &'static str) -> Self {
        Arg { wide: Some(define), ..self }
    }
}

/// No op has more arguments than this.
pub const MAX_ARGS: usize = 11;

/// No launch binds more buffers than this (WebGPU's default limit of storage buffers a stage).
pub const MAX_BOUND: usize = 8;

/// The buffers of one call on the CPU, by position in [`Op::ARGS`]; an absent one is empty.
/// `u32` buffers are the same words, see [`words`].
pub struct Buffers<'a> {
    pub read: [&'a [f32]; MAX_ARGS],
    pub write: [&'a mut [f32]; MAX_ARGS],
}

/// The same words as `u32`.
pub fn words(buffer: &[f32]) -> &[u32] {
    bytemuck::cast_slice(buffer)
}

/// One op of the catalogue, implemented by its `Params`.
pub trait Op: bytemuck::Pod {
    const NAME: &'static str;
    const ARGS: &'static [Arg];
    /// Names and byte offsets of the parameters; a test compares them with the kernels' structs.
    const FIELDS: &'static [(&'static str, usize)];

    /// Elements that the buffer of argument `arg` must hold for these parameters (the shape rule).
    fn elements(&self, arg: usize) -> usize;

    /// Elements that argument `arg` must hold for the op at every row of a program: tables that
    /// the cursor and the conditions index are read beyond what one call needs.
    fn reach(&self, arg: usize, _span: &Span) -> usize {
        self.elements(arg)
    }

    /// Floating-point operations, two for a multiply-add.
    fn flops(&self) -> u64;

    /// What the kernel sources are specialised by, besides element types and present buffers:
    /// `(NAME, value)` becomes a define.
    fn defines(&self) -> Vec<(&'static str, u32)> {
        Vec::new()
    }

    /// Ways to cut the work that fit `facts`, for buffers of `dtypes`: at most [`Tile::MOST`], the
    /// first is the one to take unmeasured. Empty for an op that has no choice.
    fn tiles(&self, _dtypes: &[Option<DType>], _facts: &Facts) -> Vec<Tile> {
        Vec::new()
    }

    /// Elements of the f32 sums that one split of a tile writes; 0 for an op that is not split.
    fn partial(&self) -> usize {
        0
    }

    /// Computes the op on the CPU in f32.
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers);

    /// Adversarial cases for tests and benches.
    fn cases() -> Vec<Case>;
}

/// The define `name` if every one of `sizes` divides by four: 16-byte accesses are possible then.
fn wide(name: &'static str, sizes: &[u32]) -> Vec<(&'static str, u32)> {
    if sizes.iter().all(|n| n % 4 == 0) { vec![(name, 1)] } else { Vec::new() }
}

/// Defines of a matrix product with rows of `k` and results of `n` values: `VEC4` and `STORE4` for
/// 16-byte accesses to them.
fn product(k: u32, n: u32) -> Vec<(&'static str, u32)> {
    [wide("VEC4", &[k]), wide("STORE4", &[n])].concat()
}

/// Declares a `Params` struct of 4-byte fields with the offsets that kernels must agree with.
/// A [`RowMap`] field must come first: WGSL aligns it to 16 bytes.
macro_rules! params {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)+
    }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)+ }
        impl $name {
            pub(crate) const OFFSETS: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field)),)+];
        }
    };
}
pub(crate) use params;

macro_rules! catalogue {
    ($($module:ident: $variant:ident,)+) => {
        /// One call of an op with its parameters.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Call { $($variant($module::Params),)+ }

        /// The names of all ops.
        pub const NAMES: &[&str] = &[$(<$module::Params as Op>::NAME,)+];

        impl Call {
            pub fn name(&self) -> &'static str {
                match self { $(Call::$variant(_) => <$module::Params as Op>::NAME,)+ }
            }
            pub fn args(&self) -> &'static [Arg] {
                match self { $(Call::$variant(_) => <$module::Params as Op>::ARGS,)+ }
            }
            /// The parameters as the kernel receives them.
            pub fn params(&self) -> &[u8] {
                match self { $(Call::$variant(p) => bytemuck::bytes_of(p),)+ }
            }
            pub fn fields(&self) -> &'static [(&'static str, usize)] {
                match self { $(Call::$variant(_) => <$module::Params as Op>::FIELDS,)+ }
            }
            pub fn elements(&self, arg: usize) -> usize {
                match self { $(Call::$variant(p) => p.elements(arg),)+ }
            }
            pub fn reach(&self, arg: usize, span: &Span) -> usize {
                match self { $(Call::$variant(p) => p.reach(arg, span),)+ }
            }
            pub fn flops(&self) -> u64 {
                match self { $(Call::$variant(p) => p.flops(),)+ }
            }
            pub fn defines(&self) -> Vec<(&'static str, u32)> {
                match self { $(Call::$variant(p) => p.defines(),)+ }
            }
            pub fn tiles(&self, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
                match self { $(Call::$variant(p) => p.tiles(dtypes, facts),)+ }
            }
            pub fn partial(&self) -> usize {
                match self { $(Call::$variant(p) => p.partial(),)+ }
            }
            pub fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
                match self { $(Call::$variant(p) => p.reference(cursor, buffers),)+ }
            }
        }

        /// The adversarial cases of every op.
        pub fn all_cases() -> Vec<Case> {
            let mut cases = Vec::new();
            $(cases.extend(<$module::Params as Op>::cases());)+
            cases
        }

        $(impl From<$module::Params> for Call {
            fn from(p: $module::Params) -> Call { Call::$variant(p) }
        })+
    };
}

catalogue! {
    activation: Activation,
    add: Add,
    attention: Attention,
    combine: Combine,
    concat: Concat,
    control: Control,
    conv2d: Conv2d,
    conv_step: ConvStep,
    divide: Divide,
    embedding: Embedding,
    fir_resample: FirResample,
    geglu: Geglu,
    group_norm: GroupNorm,
    guidance: Guidance,
    interpolate: Interpolate,
    linear: Linear,
    matrix_multiply_add: MatrixMultiplyAdd,
    mixture: Mixture,
    model_input: ModelInput,
    multiply: Multiply,
    multiply_add: MultiplyAdd,
    noise: Noise,
    pool: Pool,
    predict: Predict,
    replace: Replace,
    resample: Resample,
    scale_shift: ScaleShift,
    solver_step: SolverStep,
    time_embedding: TimeEmbedding,
    trace: Trace,
    unpatchify: Unpatchify,
}

/// Named constants that the loader hands to every kernel source, so that none is typed twice.
pub fn constants() -> Vec<(&'static str, u32)> {
    let mut all = Vec::new();
    all.extend_from_slice(activation::CONSTANTS);
    all.extend_from_slice(fir_resample::CONSTANTS);
    all.extend_from_slice(matrix_multiply_add::CONSTANTS);
    all.extend_from_slice(multiply_add::CONSTANTS);
    all.extend_from_slice(replace::CONSTANTS);
    all.extend_from_slice(pool::CONSTANTS);
    all.extend_from_slice(resample::CONSTANTS);
    all.extend_from_slice(row::CONSTANTS);
    all.extend(control::layout::constants());
    all.extend_from_slice(noise::CONSTANTS);
    all.extend_from_slice(on_load::CONSTANTS);
    all.extend_from_slice(solver_step::CONSTANTS);
    all
}
