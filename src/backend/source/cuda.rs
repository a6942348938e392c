//! CUDA: its files, and what the loader makes around the kernels of a unit.
//!
//! WGSL tells by reflection what a kernel binds; CUDA is told: the loader declares `Args`, a
//! pointer for each bound buffer, asserts the offset of every parameter, and makes the entry point,
//! which calls the kernel's function `run`. Constants are `constexpr` in a namespace of the
//! variant, so that several variants can stand in one unit.

use super::{Expander, Language, Variant};
use crate::error::Result;
use crate::ops::{self, Access, Call};
use crate::tensor::DType;
use std::fmt::Write as _;

/// Files of ops by name, and those that others import by path.
pub(super) const FILES: [&[(&str, &str)]; 2] = [OPS, COMMON];

const OPS: &[(&str, &str)] = embed_ops!("kernels", ".cu");

const COMMON: &[(&str, &str)] = embed!(
    "kernels",
    ".cuh",
    [
        "common/abi",
        "common/activate",
        "common/adaptive",
        "common/addends",
        "common/attention_load",
        "common/attention_mma",
        "common/attention_scalar",
        "common/attention_splits",
        "common/attention_wide",
        "common/conv",
        "common/conv_fields",
        "common/conv_load",
        "common/draw",
        "common/epilogue",
        "common/fragments",
        "common/halo",
        "common/halo_mma",
        "common/last",
        "common/linear_load",
        "common/linear_mma",
        "common/linear_scalar",
        "common/moments",
        "common/normal",
        "common/output",
        "common/persistent",
        "common/philox",
        "common/prediction",
        "common/ptx",
        "common/reduce",
        "common/row",
        "common/rowmap",
        "common/scalar",
        "common/sincos",
        "common/slab",
        "common/state",
        "common/step",
        "common/step_fields",
        "common/sums",
        "common/swizzle",
        "common/update",
        "common/vector",
    ]
);

const PTX: &str = include_str!("../../../kernels/common/ptx.cuh");
const ABI: &str = include_str!("../../../kernels/common/abi.cuh");
const PERSISTENT: &str = include_str!("../../../kernels/common/persistent.cuh");

/// What a compiled kernel says of itself, in the order of its table `<entry>_facts`.
pub const FACTS: [&str; 8] =
    ["THREADS", "SHARED_BYTES", "TILE_M", "TILE_N", "TILE_H", "TILE_W", "BLOCKS", "VEC"];

/// The complete source of one variant; its entry point is named after its op.
///
/// # Errors
/// `Error::Invalid` with file and line if a source is not well formed.
pub fn cuda(variant: &Variant, call: &Call) -> Result<String> {
    unit(&[(variant, call, variant.op.to_string())], None)
}

/// The source of several variants; the entry point of variant i is `<op>_<i>`. `host` stands in for
/// the instructions that C++ has no word for (`kernels/common/ptx.cuh`).
///
/// # Errors
/// As [`cuda`].
pub fn cuda_unit(variants: &[(Variant, Call)], host: Option<&str>) -> Result<String> {
    let named = variants.iter().enumerate();
    let named = named.map(|(i, (variant, call))| (variant, call, format!("{}_{i}", variant.op)));
    unit(&named.collect::<Vec<_>>(), host)
}

fn unit(variants: &[(&Variant, &Call, String)], host: Option<&str>) -> Result<String> {
    let mut text = common(host);
    for (i, (variant, call, entry)) in variants.iter().enumerate() {
        namespace(&mut text, i, variant, call, "__restrict__ ")?;
        entry_point(&mut text, i, entry);
    }
    Ok(text)
}

/// The name of the entry point of [`cuda_persistent`].
pub const PERSISTENT_ENTRY: &str = "trajectory";
/// Bytes of a job before its `Params`: its variant, its blocks, and two words of nothing.
pub const JOB_HEAD: usize = 16;

/// Where `Args` lie in a job with `params` bytes of `Params`.
pub fn job_args(params: usize) -> usize {
    JOB_HEAD + params.next_multiple_of(8)
}

/// Bytes of a job that may be of any of these variants.
pub fn job_bytes(variants: &[(Variant, Call)]) -> usize {
    let of = |(variant, call): &(Variant, Call)| {
        job_args(call.params().len()) + 8 * variant.bound(call.args()).count()
    };
    variants.iter().map(of).max().unwrap_or(JOB_HEAD).next_multiple_of(16)
}

/// The source of one kernel that runs jobs of all these variants, kernels/common/persistent.cuh.
///
/// # Errors
/// As [`cuda`].
pub fn cuda_persistent(variants: &[(Variant, Call)], host: Option<&str>) -> Result<String> {
    let mut text = common(host);
    for (i, (variant, call)) in variants.iter().enumerate() {
        // One job writes what another reads: nothing is restricted.
        namespace(&mut text, i, variant, call, "")?;
    }
    let shared = (0..variants.len())
        .fold("0u".to_string(), |most, i| format!("larger(v{i}::SHARED_BYTES, {most})"));
    let _ = writeln!(
        text,
        "constexpr unsigned JOB_BYTES = {}u;\n\
         constexpr unsigned SHARED_MOST = ({shared} + 15u) / 16u * 16u;",
        job_bytes(variants)
    );
    for (i, (variant, call)) in variants.iter().enumerate() {
        run_of_job(&mut text, i, variant, call);
    }
    text.push_str("__device__ inline void call(const unsigned char* job, const At& at) {\n");
    text.push_str("switch (*reinterpret_cast<const unsigned*>(job)) {\n");
    for i in 0..variants.len() {
        let _ = writeln!(text, "case {i}u: return run_{i}(job, at);");
    }
    let _ = writeln!(text, "}}\n}}\n{PERSISTENT}");
    let _ = writeln!(
        text,
        "extern \"C\" __device__ const unsigned {PERSISTENT_ENTRY}_facts[{}] =\n\
         {{BLOCK, WALK_BYTES}};\n\
         extern \"C\" __global__ void __launch_bounds__(BLOCK, 1)\n\
         {PERSISTENT_ENTRY}(const __grid_constant__ Walk p, const __grid_constant__ Lists a,\n\
         const __grid_constant__ Control c) {{\nwalk(p, a, c);\n}}",
        FACTS.len(),
    );
    Ok(text)
}

/// A function that runs jobs of variant `i`. It is no part of its caller, which the compiler would
/// else take many times longer for. What it is told it keeps in registers: what a job writes could
/// be anything that it reads in memory again.
fn run_of_job(text: &mut String, i: usize, variant: &Variant, call: &Call) {
    let args = job_args(call.params().len());
    let _ = writeln!(
        text,
        "static_assert(v{i}::THREADS == BLOCK && {args}u + sizeof(v{i}::Args) <= JOB_BYTES);\n\
         __device__ __noinline__ void run_{i}(const unsigned char* job, At at) {{\n\
         const auto p = *reinterpret_cast<const v{i}::Params*>(job + {JOB_HEAD}u);\n\
         const auto a = *reinterpret_cast<const v{i}::Args*>(job + {args}u);\n\
         ptx::in_global(at.partial);\nptx::in_global(at.counters);",
    );
    for (arg, _) in variant.bound(call.args()) {
        let _ = writeln!(text, "ptx::in_global(a.{});", arg.name);
    }
    let _ = writeln!(text, "v{i}::run(p, a, at);\n}}");
}

/// What all variants of a unit are written against.
fn common(host: Option<&str>) -> String {
    let mut text = String::new();
    for (name, value) in ops::constants() {
        let _ = writeln!(text, "constexpr unsigned {name} = {value}u;");
    }
    // What the compiler itself is to decide, by architecture.
    text.push_str(host.unwrap_or(PTX));
    text.push_str(ABI);
    text
}

/// A variant in its namespace. `reads` stands before the name of each buffer that it only reads.
fn namespace(
    text: &mut String,
    i: usize,
    variant: &Variant,
    call: &Call,
    reads: &str,
) -> Result<()> {
    let _ = writeln!(text, "namespace v{i} {{\nusing namespace absent;");
    prelude(text, variant, call, reads);
    *text = expanded(variant.op, std::mem::take(text), variant.defined(call.args()))?;
    asserts(text, call);
    let _ = writeln!(text, "}}");
    Ok(())
}

/// `text` with file `name` behind it.
fn expanded(name: &str, text: String, defined: Vec<String>) -> Result<String> {
    let mut expander = Expander {
        files: &|path| Language::Cuda.files().find(|(n, _)| *n == path).map(|(_, text)| *text),
        defined,
        included: Vec::new(),
        pragmas: true,
        text,
    };
    expander.file(name)?;
    Ok(expander.text)
}

/// The constants of a variant, the element types of its buffers and `Args`. What a kernel writes
/// is not restricted: it may be read under another name.
fn prelude(text: &mut String, variant: &Variant, call: &Call, reads: &str) {
    for (name, value) in variant.defines() {
        let _ = writeln!(text, "constexpr unsigned {name} = {value}u;");
    }
    let mut args = String::from("struct Args {\n");
    for (arg, dtype) in variant.bound(call.args()) {
        let name = arg.name;
        let _ = writeln!(text, "using {name}_t = {};", element(dtype));
        let _ = match arg.access {
            Access::Read => writeln!(args, "    const {name}_t* {reads}{name};"),
            Access::Write | Access::ReadWrite => writeln!(args, "    {name}_t* {name};"),
        };
    }
    text.push_str(&args);
    text.push_str("};\n");
}

fn element(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "f32",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        DType::U32 => "u32",
    }
}

/// What Rust passes is what the kernel's struct says: of a `Params` whose words are their own
/// numbers, each field has the number at its offset.
fn asserts(text: &mut String, call: &Call) {
    let words = call.params().len() / 4;
    let numbers: Vec<String> = (0..words).map(|i| format!("{i}u")).collect();
    let _ = writeln!(text, "constexpr Params NUMBERED = {{{}}};", numbers.join(", "));
    for (name, offset) in call.fields() {
        // A map is a struct of words, of which the first stands for it.
        let field = if *name == "map" || name.ends_with("_map") { ".time" } else { "" };
        let number = offset / 4;
        let _ = writeln!(text, "static_assert(NUMBERED.{name}{field} == {number}, \"{name}\");");
    }
    let _ = writeln!(text, "static_assert(sizeof(Params) == {}, \"Params\");", 4 * words);
}

fn entry_point(text: &mut String, i: usize, entry: &str) {
    let facts = FACTS.map(|name| format!("v{i}::{name}")).join(", ");
    let _ = write!(
        text,
        "extern \"C\" __device__ const unsigned {entry}_facts[{count}] = {{{facts}}};\n\
         extern \"C\" __global__ void __launch_bounds__(v{i}::THREADS, v{i}::RESIDENT)\n\
         {entry}(const __grid_constant__ v{i}::Params p, const __grid_constant__ v{i}::Args a,\n\
         {indent}const __grid_constant__ Control c) {{\n\
         {indent}const At at = {{enter(c), blockIdx.x, gridDim.x, c.partial, c.counters}};\n\
         {indent}v{i}::run(p, a, at);\n\
         {indent}leave(c, gridDim.x);\n\
         }}\n",
        count = FACTS.len(),
        indent = "    ",
    );
}
