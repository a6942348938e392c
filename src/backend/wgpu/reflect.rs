//! What a kernel binds, read from the kernel itself: bindings are never typed twice.

use crate::backend::grid::Constants;
use crate::backend::source::Variant;
use crate::error::{Error, Result};
use crate::ops::{Access, Arg, Part};
use std::collections::HashMap;
use wgpu::naga;

/// The sums that one dispatch of a split launch leaves for the next; no argument of the op.
const PARTIAL: &str = "partial";

/// What lies behind a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The uniform `Params`.
    Params,
    /// The buffer at this position of the op's `ARGS`.
    Arg(usize),
    /// The backend's buffer of f32 sums.
    Partial,
}

/// One buffer of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The binding's number in group 0.
    pub number: u32,
    pub buffer: Bound,
    /// Whether the kernel only reads it.
    pub read_only: bool,
}

/// A parsed kernel and what it binds.
pub struct Kernel {
    pub module: naga::Module,
    pub bindings: Vec<Binding>,
    /// Threads of a workgroup.
    pub threads: u32,
    /// The kernel's own named constants, for its grid.
    pub constants: HashMap<String, u32>,
}

impl Kernel {
    /// Parses the source of `variant`, an op with buffers `args`.
    ///
    /// # Errors
    /// `Error::Invalid` if the source does not parse, or its buffers are not those of `args`.
    pub fn parse(variant: &Variant, args: &[Arg], source: &str) -> Result<Kernel> {
        let module = naga::front::wgsl::parse_str(source)
            .map_err(|e| wrong(variant.op, "WGSL", &e.emit_to_string(source)))?;
        let Some(entry) = module.entry_points.iter().find(|e| e.name == variant.op) else {
            return Err(wrong(variant.op, "an entry point of the op's name", "none"));
        };
        let threads = entry.workgroup_size.iter().product();
        let bindings = bindings(variant, args, &module)?;
        let constants = constants(&module);
        Ok(Kernel { module, bindings, threads, constants })
    }
}

impl Constants for Kernel {
    fn threads(&self) -> u32 {
        self.threads
    }
    fn constant(&self, name: &str) -> Result<u32> {
        let found = self.constants.get(name).copied();
        found.ok_or_else(|| wrong(name, "a constant in the kernel", "none"))
    }
}

/// The storage buffers and the uniform of a module, compared with what the op binds.
fn bindings(variant: &Variant, args: &[Arg], module: &naga::Module) -> Result<Vec<Binding>> {
    let mut bindings = Vec::new();
    for (_, global) in module.global_variables.iter() {
        let Some(place) = &global.binding else { continue };
        let name = global.name.as_deref().unwrap_or_default();
        let what = format!("{}: {name}", variant.op);
        if place.group != 0 {
            return Err(wrong(&what, "group 0", &place.group.to_string()));
        }
        let (buffer, read_only) = match global.space {
            naga::AddressSpace::Uniform => (Bound::Params, true),
            naga::AddressSpace::Storage { access } => {
                let Some((buffer, expected)) = storage(variant, args, name) else {
                    return Err(wrong(&what, "a buffer that the op binds", "another"));
                };
                let read_only = !access.contains(naga::StorageAccess::STORE);
                // One part of a split launch may only read what the whole updates.
                let part = variant.part != Part::Whole && expected == Access::ReadWrite;
                if read_only != (expected == Access::Read) && !(part && read_only) {
                    return Err(wrong(&what, &format!("{expected:?}"), "another access"));
                }
                (buffer, read_only)
            }
            _ => return Err(wrong(&what, "a uniform or storage buffer", "another kind")),
        };
        bindings.push(Binding { number: place.binding, buffer, read_only });
    }
    let bound = |buffer| bindings.iter().any(|b| b.buffer == buffer);
    let wanted = match variant.part {
        Part::Whole => (0..args.len()).filter(|i| variant.dtypes[*i].is_some()).collect(),
        // The buffers are shared out among the parts.
        Part::Partial | Part::Reduce => Vec::new(),
    };
    if let Some(i) = wanted.into_iter().find(|i| !bound(Bound::Arg(*i))) {
        return Err(wrong(variant.op, &format!("the buffer {}", args[i].name), "none"));
    }
    if variant.part != Part::Whole && !bound(Bound::Partial) {
        return Err(wrong(variant.op, "the buffer partial", "none"));
    }
    Ok(bindings)
}

/// The storage buffer `name` of a variant and how it is to be accessed.
fn storage(variant: &Variant, args: &[Arg], name: &str) -> Option<(Bound, Access)> {
    match variant.part {
        Part::Partial if name == PARTIAL => return Some((Bound::Partial, Access::Write)),
        Part::Reduce if name == PARTIAL => return Some((Bound::Partial, Access::Read)),
        _ => {}
    }
    let position = args.iter().position(|a| a.name == name);
    let arg = position.filter(|&i| variant.dtypes[i].is_some())?;
    Some((Bound::Arg(arg), args[arg].access))
}

fn constants(module: &naga::Module) -> HashMap<String, u32> {
    let value = |init| match module.global_expressions[init] {
        naga::Expression::Literal(naga::Literal::U32(value)) => Some(value),
        _ => None,
    };
    module.constants.iter().filter_map(|(_, c)| Some((c.name.clone()?, value(c.init)?))).collect()
}

fn wrong(what: &str, expected: &str, found: &str) -> Error {
    Error::invalid(
        format!("kernel {what}"),
        expected,
        found,
        "this is an error in the program, please report it",
    )
}
