//! WGSL: its files and the prelude of a variant.

use super::{Expander, Language, Variant};
use crate::error::Result;
use crate::ops::{self, Arg, Method};
use crate::tensor::DType;
use std::fmt::Write as _;

/// Files of ops by name, and those that others import by path.
pub(super) const FILES: [&[(&str, &str)]; 2] = [OPS, COMMON];

const OPS: &[(&str, &str)] = embed_ops!("shaders", ".wgsl");

const COMMON: &[(&str, &str)] = embed!(
    "shaders",
    ".wgsl",
    [
        "common/activate",
        "common/addends",
        "common/adaptive",
        "common/attention_load",
        "common/conv",
        "common/conv_fields",
        "common/conv_load",
        "common/cursor",
        "common/draw",
        "common/epilogue",
        "common/gemm",
        "common/grid",
        "common/halo",
        "common/halo_matrix",
        "common/lanes",
        "common/linear_load",
        "common/matrix",
        "common/moments",
        "common/normal",
        "common/output",
        "common/philox",
        "common/prediction",
        "common/reduce",
        "common/results",
        "common/row",
        "common/row_product",
        "common/rowmap",
        "common/sincos",
        "common/state",
        "common/step",
        "common/step_fields",
        "common/subgroup",
        "common/update",
        "common/vector",
    ]
);

/// The complete WGSL source of one variant of the kernel whose buffers are `args`.
///
/// # Errors
/// `Error::Invalid` with file and line if a source is not well formed.
pub fn wgsl(variant: &Variant, args: &[Arg]) -> Result<String> {
    let mut text = String::new();
    if variant.dtypes.contains(&Some(DType::F16)) {
        text.push_str("enable f16;\n");
    }
    if variant.tile.is_some_and(|tile| tile.method == Method::Matrix) {
        text.push_str("enable wgpu_cooperative_matrix;\n");
    }
    let defines = variant.defines();
    for (name, value) in ops::constants().iter().chain(&defines) {
        let _ = writeln!(text, "const {name}: u32 = {value}u;");
    }
    for (arg, dtype) in variant.bound(args) {
        let name = arg.name;
        let _ = writeln!(text, "alias {name}_t = {dtype};");
        if let Some(define) = arg.wide {
            let wide = defines.iter().any(|(name, _)| *name == define);
            let unit = if wide { format!("vec4<{name}_t>") } else { format!("{name}_t") };
            let _ = writeln!(text, "alias {name}_v = {unit};");
        }
    }
    let mut expander = Expander {
        files: &|path| Language::Wgsl.files().find(|(n, _)| *n == path).map(|(_, t)| *t),
        defined: variant.defined(args),
        included: Vec::new(),
        pragmas: false,
        text,
    };
    expander.file(variant.op)?;
    Ok(expander.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Call, Facts};

    /// `geglu` binds x and y in quads of channels where those divide by four.
    #[test]
    fn a_buffer_is_wide_under_the_define_that_its_argument_names() {
        let prelude = |c| {
            let call = Call::from(ops::geglu::Params { n: 1, c });
            let dtypes = [Some(DType::F32), Some(DType::F16)];
            let variant = &Variant::of(&call, &dtypes, None, &Facts::LEAST)[0];
            wgsl(variant, call.args()).unwrap()
        };
        for (c, unit) in [(8, "vec4<y_t>"), (6, "y_t")] {
            let declared = format!("alias y_t = f16;\nalias y_v = {unit};\n");
            assert!(prelude(c).contains(&declared), "{}", prelude(c));
        }
    }
}
