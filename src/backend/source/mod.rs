//! The one loader of kernel sources: embedded files, imports, conditionals and a prelude.
//!
//! A source may say `//!include NAME` (another file of its `common` folder, taken once),
//! `#ifdef NAME`, `#ifndef NAME`, `#else` and `#endif`. The prelude defines what is known of one
//! variant: `HAS_<ARG>` for each bound optional buffer, the defines of the op, of its tile and of
//! the part of a split sum as constants, the shared constants of [`ops::constants`], `<arg>_t`, the
//! element type of each bound buffer, and for buffers that may be wide ([`Arg::wide`]) `<arg>_v`,
//! which is `vec4<<arg>_t>` or `<arg>_t`: shaders declare each of them once.

use crate::error::{Error, Result};
use crate::ops::{self, Arg, Call, Facts, Part, Tile};
use crate::tensor::DType;
use xxhash_rust::xxh3::Xxh3;

/// Embeds sources of `folder` by name.
macro_rules! embed {
    ($folder:literal, $ending:literal, [$($name:literal),* $(,)?]) => {
        &[$(($name, include_str!(concat!("../../../", $folder, "/", $name, $ending)))),*]
    };
}

/// Embeds the source of every op: in each language a file of its name.
macro_rules! embed_ops {
    ($folder:literal, $ending:literal) => {
        embed!(
            $folder,
            $ending,
            [
                "activation",
                "add",
                "attention",
                "combine",
                "concat",
                "control",
                "conv2d",
                "conv_step",
                "divide",
                "embedding",
                "fir_resample",
                "geglu",
                "group_norm",
                "guidance",
                "interpolate",
                "linear",
                "matrix_multiply_add",
                "mixture",
                "model_input",
                "multiply",
                "multiply_add",
                "noise",
                "pool",
                "predict",
                "replace",
                "resample",
                "scale_shift",
                "solver_step",
                "time_embedding",
                "trace",
                "unpatchify",
            ]
        )
    };
}

mod cuda;
mod wgsl;

pub use cuda::{
    FACTS, JOB_HEAD, PERSISTENT_ENTRY, cuda, cuda_persistent, cuda_unit, job_args, job_bytes,
};
pub use wgsl::wgsl;

/// What kernels are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Wgsl,
    Cuda,
}

impl Language {
    /// Every source: those of ops by name, those that others import by path.
    fn files(self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let [ops, common] = match self {
            Language::Wgsl => wgsl::FILES,
            Language::Cuda => cuda::FILES,
        };
        ops.iter().chain(common)
    }
}

/// What a kernel is compiled for: two launches with equal variants share a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    pub op: &'static str,
    /// The op's own defines, and what its tile needs of the device.
    pub defines: Vec<(&'static str, u32)>,
    /// For each of the op's `ARGS` the element type, if bound.
    pub dtypes: Vec<Option<DType>>,
    /// How the work is cut, for an op that has a choice.
    pub tile: Option<Tile>,
    pub part: Part,
}

impl Variant {
    /// The variants that `call` needs with buffers of these types, cut as `tile` on a device of
    /// these `facts`, in the order in which they run: one, or two where the sum is split.
    pub fn of(
        call: &Call,
        dtypes: &[Option<DType>],
        tile: Option<Tile>,
        facts: &Facts,
    ) -> Vec<Variant> {
        let of_device = tile.map(|tile| facts.defines(&tile)).unwrap_or_default();
        let variant = |part: &Part| Variant {
            op: call.name(),
            defines: [call.defines(), of_device.clone()].concat(),
            dtypes: dtypes.to_vec(),
            tile,
            part: *part,
        };
        facts.parts(tile).iter().map(variant).collect()
    }

    /// Every variant that `call` may be given on a device of these `facts`.
    pub fn all(call: &Call, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Variant> {
        let tiles = call.tiles(dtypes, facts);
        match tiles.is_empty() {
            true => Variant::of(call, dtypes, None, facts),
            false => {
                let of = |tile: &Tile| Variant::of(call, dtypes, Some(*tile), facts);
                tiles.iter().flat_map(of).collect()
            }
        }
    }

    /// All defines: also those of the tile and of the part.
    pub fn defines(&self) -> Vec<(&'static str, u32)> {
        let tile = self.tile.map(|tile| tile.defines()).unwrap_or_default();
        [self.defines.clone(), tile, self.part.defines()].concat()
    }

    /// The bound buffers of an op's `args`.
    pub fn bound<'a>(&self, args: &'a [Arg]) -> impl Iterator<Item = (&'a Arg, DType)> {
        args.iter().zip(self.dtypes.clone()).filter_map(|(arg, dtype)| Some((arg, dtype?)))
    }

    fn defined(&self, args: &[Arg]) -> Vec<String> {
        let present = self.bound(args).filter(|(arg, _)| arg.optional);
        let names = present.map(|(arg, _)| format!("HAS_{}", arg.name.to_uppercase()));
        names.chain(self.defines().iter().map(|(name, _)| name.to_string())).collect()
    }
}

/// A hash, as hex, of every source in `language` and of the constants in it: what was measured or
/// compiled with one text says nothing about another.
pub fn fingerprint(language: Language) -> String {
    let mut hash = Xxh3::new();
    for (name, text) in language.files() {
        hash.update(name.as_bytes());
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    for (name, value) in ops::constants() {
        hash.update(format!("{name} {value}\n").as_bytes());
    }
    format!("{:016x}", hash.digest())
}

/// Resolves imports and conditionals.
struct Expander<'a> {
    files: &'a dyn Fn(&str) -> Option<&'a str>,
    defined: Vec<String>,
    included: Vec<String>,
    /// Whether `#pragma` is a line like any other.
    pragmas: bool,
    text: String,
}

impl Expander<'_> {
    /// Appends file `name` unless it is there already.
    fn file(&mut self, name: &str) -> Result<()> {
        if self.included.iter().any(|n| n == name) {
            return Ok(());
        }
        self.included.push(name.to_string());
        let Some(source) = (self.files)(name) else {
            return Err(malformed(name, 0, "a kernel source of this name", "none"));
        };
        // One entry for each open conditional: whether its lines are kept.
        let mut kept: Vec<bool> = Vec::new();
        for (number, line) in source.lines().enumerate() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some(directive @ ("#ifdef" | "#ifndef")), Some(flag)) => {
                    let present = self.defined.iter().any(|d| d == flag);
                    kept.push(present == (directive == "#ifdef"));
                }
                (Some("#else"), None) => match kept.last_mut() {
                    Some(last) => *last = !*last,
                    None => return Err(malformed(name, number + 1, "an open #ifdef", "#else")),
                },
                (Some("#endif"), None) => {
                    if kept.pop().is_none() {
                        return Err(malformed(name, number + 1, "an open #ifdef", "#endif"));
                    }
                }
                (Some("#pragma"), _) if self.pragmas && !kept.contains(&false) => {
                    self.text.push_str(line);
                    self.text.push('\n');
                }
                (Some(word), _) if word.starts_with('#') && word != "#pragma" => {
                    return Err(malformed(
                        name,
                        number + 1,
                        "#ifdef, #ifndef, #else, #endif",
                        line,
                    ));
                }
                _ if kept.contains(&false) => {}
                (Some("//!include"), Some(other)) => self.file(&format!("common/{other}"))?,
                _ => {
                    self.text.push_str(line);
                    self.text.push('\n');
                }
            }
        }
        if !kept.is_empty() {
            return Err(malformed(name, source.lines().count(), "#endif", "the end of the file"));
        }
        Ok(())
    }
}

fn malformed(file: &str, line: usize, expected: &str, found: &str) -> Error {
    Error::invalid(
        format!("kernel source {file}, line {line}"),
        expected,
        found,
        "this is an error in the program, please report it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(files: &[(&str, &'static str)], defined: &[&str]) -> Result<String> {
        let mut expander = Expander {
            files: &|path| files.iter().find(|(n, _)| *n == path).map(|(_, text)| *text),
            defined: defined.iter().map(|d| d.to_string()).collect(),
            included: Vec::new(),
            pragmas: false,
            text: String::new(),
        };
        expander.file("main")?;
        Ok(expander.text)
    }

    #[test]
    fn conditionals_nest() {
        let main = "a\n#ifdef X\nb\n#ifndef Y\nc\n#else\nd\n#endif\n#else\ne\n#endif\nf";
        assert_eq!(expand(&[("main", main)], &["X"]).unwrap(), "a\nb\nc\nf\n");
        assert_eq!(expand(&[("main", main)], &["X", "Y"]).unwrap(), "a\nb\nd\nf\n");
        assert_eq!(expand(&[("main", main)], &[]).unwrap(), "a\ne\nf\n");
    }

    #[test]
    fn imports_are_taken_once() {
        let files = [
            ("main", "//!include p\n//!include q\nm"),
            ("common/p", "//!include q\np"),
            ("common/q", "q"),
        ];
        assert_eq!(expand(&files, &[]).unwrap(), "q\np\nm\n");
    }

    #[test]
    fn malformed_sources_name_file_and_line() {
        for (text, line) in
            [("a\n#else", 2), ("#endif", 1), ("#ifdef A\nb", 2), ("\n#if A", 2), ("#ifdef", 1)]
        {
            let message = expand(&[("main", text)], &[]).unwrap_err().to_string();
            assert!(message.contains(&format!("main, line {line}")), "{text}: {message}");
        }
        let message = expand(&[("main", "//!include lost")], &[]).unwrap_err().to_string();
        assert!(message.contains("common/lost"), "{message}");
    }
}
