//! What NVRTC says of a kernel, and what the kernel says of itself.

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use unnoise::backend::cuda::compile::{Compiler, Target};
use unnoise::backend::source::{self, FACTS, Variant};
use unnoise::ops::Call;
use xxhash_rust::xxh3::xxh3_128;

/// What a compiled kernel needs of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    pub registers: u32,
    /// Bytes that registers do not hold: of the stack, and of what is written there for want of
    /// registers.
    pub spilled: u32,
    /// Workgroup memory that the kernel declares beside what it is launched with.
    pub fixed: u32,
    /// Its table, in the order of [`FACTS`].
    pub facts: Vec<u32>,
}

/// Compiles a kernel for an architecture. What was compiled before is remembered below the target
/// folder, by its text.
pub fn needs(
    compiler: &Compiler,
    variant: &Variant,
    call: &Call,
    architecture: u32,
) -> Result<Needs, String> {
    let text = source::cuda(variant, call).map_err(|e| e.to_string())?;
    let target = Target::Machine(architecture);
    let (major, minor) = compiler.version;
    let key = format!("{major}.{minor} {} {READING}\n{text}", target.name());
    let kept = folder().join(format!("{:032x}.json", xxh3_128(key.as_bytes())));
    if let Some(needs) = fs::read(&kept).ok().and_then(|json| serde_json::from_slice(&json).ok()) {
        return Ok(needs);
    }
    let compiled = compiler.compile(variant.op, &text, target).map_err(|e| e.to_string())?;
    let mut needs =
        logged(&compiled.log).ok_or_else(|| format!("no figures in {}", compiled.log))?;
    needs.facts = facts(&compiled.image, variant.op)?;
    let written = tempfile::NamedTempFile::new_in(folder()).map_err(|e| e.to_string())?;
    serde_json::to_writer(&written, &needs).map_err(|e| e.to_string())?;
    written.persist(kept).map_err(|e| e.to_string())?;
    Ok(needs)
}

/// To be changed with what is read from a compilation.
const READING: u32 = 1;

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    fs::create_dir_all(&folder).expect("target can be written");
    folder
}

/// The figures of a log of ptxas; of its functions the largest.
fn logged(log: &str) -> Option<Needs> {
    let before = |unit: &str| {
        let found = log.match_indices(unit).map(|(end, _)| {
            let word = log[..end].split_whitespace().next_back();
            word.and_then(|word| word.parse::<u32>().ok())
        });
        found.collect::<Option<Vec<_>>>().map(|values| values.into_iter().max())
    };
    let stack = before(" bytes stack frame")??;
    let spills = before(" bytes spill stores")??;
    let registers = before(" registers")??;
    let fixed = before(" bytes smem")?.unwrap_or(0);
    Some(Needs { registers, spilled: stack.max(spills), fixed, facts: Vec::new() })
}

/// The table `<entry>_facts` of a cubin, which is an ELF file.
fn facts(image: &[u8], entry: &str) -> Result<Vec<u32>, String> {
    let file = ElfFile64::<object::Endianness>::parse(image).map_err(|e| e.to_string())?;
    let name = format!("{entry}_facts");
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(&name));
    let symbol = symbol.ok_or_else(|| format!("no table {name}"))?;
    let section = symbol.section_index().and_then(|i| file.section_by_index(i).ok());
    let section = section.ok_or_else(|| format!("{name} lies in no section"))?;
    let bytes = section.data_range(symbol.address(), symbol.size()).map_err(|e| e.to_string())?;
    let bytes = bytes.filter(|bytes| bytes.len() == 4 * FACTS.len());
    let bytes = bytes.ok_or_else(|| format!("{name} is no table of {} words", FACTS.len()))?;
    Ok(bytemuck::pod_collect_to_vec(bytes))
}

#[test]
fn a_log_is_read() {
    let log = "ptxas info    : 12 bytes gmem\n\
        ptxas info    : Function properties for inner\n\
        ptxas         .     16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
        ptxas info    : Function properties for add\n\
        ptxas         .     0 bytes stack frame, 24 bytes spill stores, 24 bytes spill loads\n\
        ptxas info    : Used 99 registers, used 1 barriers, 48 bytes smem\n";
    let needs = Needs { registers: 99, spilled: 24, fixed: 48, facts: Vec::new() };
    assert_eq!(logged(log), Some(needs));
    assert_eq!(logged("ptxas info    : 12 bytes gmem"), None);
}
