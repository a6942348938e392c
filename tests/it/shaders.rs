//! Every kernel variant that a case reaches is valid WGSL, and can be written for Vulkan, Metal and
//! DirectX 12: no device needed.

use super::tint::Tint;
use naga::back;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use std::collections::{BTreeSet, HashSet};
use unnoise::backend::source::{Variant, wgsl};
use unnoise::backend::wgpu::reflect::{Bound, Kernel};
use unnoise::ops::{self, Arg, Call, Facts, Method, Part, Tile, all_cases};
use unnoise::program::SlotId;
use unnoise::tensor::DType;

/// The variants of all cases in f32 and f16, and those of adaptive steps, each once.
fn variants() -> Vec<(Variant, Call)> {
    let mut seen = HashSet::new();
    let mut variants = Vec::new();
    for case in all_cases() {
        for storage in [DType::F32, DType::F16] {
            let dtypes: Vec<_> = case.args.iter().map(|arg| arg.dtype(storage)).collect();
            let all = devices().into_iter().flat_map(|d| Variant::all(&case.call, &dtypes, &d));
            for variant in all.filter(|variant| seen.insert(variant.clone())) {
                variants.push((variant, case.call));
            }
        }
    }
    for program in super::device_adaptive::programs() {
        for launch in program.bodies.iter().flat_map(|body| &body.launches) {
            let dtype = |id: &Option<SlotId>| id.map(|id| program.slots[id.0].dtype);
            let dtypes: Vec<_> = launch.args.iter().map(dtype).collect();
            let all = Variant::all(&launch.call, &dtypes, &Facts::LEAST);
            for variant in all.into_iter().filter(|variant| seen.insert(variant.clone())) {
                variants.push((variant, launch.call));
            }
        }
    }
    variants
}

/// Devices that differ in which tiles they can run.
fn devices() -> [Facts; 5] {
    let lanes = Facts { subgroup_min: 8, subgroup_max: 8, ..Facts::LEAST };
    let software = Facts { software: true, ..lanes };
    let wave = Facts { subgroup_min: 32, subgroup_max: 64, ..Facts::LEAST };
    let nvidia = Facts { subgroup_min: 32, subgroup_max: 32, matrix: 16, ..Facts::LEAST };
    let apple = Facts { matrix: 8, ..nvidia };
    [Facts::LEAST, software, wave, nvidia, apple]
}

fn validate(module: &naga::Module) -> Result<ModuleInfo, String> {
    let capabilities = Capabilities::IMMEDIATES
        | Capabilities::SHADER_FLOAT16
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX;
    Validator::new(ValidationFlags::all(), capabilities)
        .validate(module)
        .map_err(|e| format!("{:?}", e.into_inner()))
}

/// The kernel of a variant, or a panic with its source.
fn kernel(variant: &Variant, args: &[Arg]) -> Kernel {
    let source = wgsl(variant, args).unwrap();
    Kernel::parse(variant, args, &source).unwrap_or_else(|e| panic!("{variant:?}: {e}"))
}

#[test]
fn every_variant_is_valid_and_portable() {
    let variants = variants();
    let reached: HashSet<&str> = variants.iter().map(|(variant, _)| variant.op).collect();
    assert_eq!(reached.len(), ops::NAMES.len(), "ops without a case: only {reached:?}");
    for (variant, call) in &variants {
        let kernel = kernel(variant, call.args());
        let info = validate(&kernel.module).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
        portable(variant, &kernel, &info);
        spirv(variant, &kernel.module, &info);
        metal(variant, &kernel.module, &info);
        if !has_matrices(variant) {
            hlsl(variant, &kernel.module, &info);
        }
    }
}

/// Whether it needs cooperative matrices, which neither HLSL nor tint's WGSL have.
fn has_matrices(variant: &Variant) -> bool {
    variant.tile.is_some_and(|tile| tile.method == Method::Matrix)
}

/// The second opinion, on the same variants.
#[test]
fn tint_takes_every_variant() {
    let Some(tint) = Tint::find() else { return };
    let complaints: Vec<String> = variants()
        .iter()
        .filter(|(variant, _)| !has_matrices(variant))
        .filter_map(|(variant, call)| {
            let source = wgsl(variant, call.args()).unwrap();
            tint.check(&source).err().map(|e| format!("{variant:?}: {e}"))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The limits that every adapter has.
fn portable(variant: &Variant, kernel: &Kernel, _info: &ModuleInfo) {
    let storage = kernel.bindings.iter().filter(|b| b.buffer != Bound::Params).count();
    assert!(storage <= ops::MAX_BOUND, "{variant:?} binds {storage} storage buffers");
    assert!(kernel.threads <= 256, "{variant:?} has {} threads", kernel.threads);
    let module = &kernel.module;
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).unwrap();
    let shared = module.global_variables.iter();
    let shared = shared.filter(|(_, g)| g.space == naga::AddressSpace::WorkGroup);
    let bytes: u32 = shared.map(|(_, g)| layouter[g.ty].size).sum();
    let most = if has_matrices(variant) { 32 << 10 } else { 16 << 10 };
    assert!(bytes <= most, "{variant:?} uses {bytes} bytes of workgroup memory");
}

/// The arguments of a kernel that it reads or writes, not only declares.
fn used(variant: &Variant, args: &[Arg]) -> BTreeSet<&'static str> {
    let Kernel { module, bindings, .. } = kernel(variant, args);
    let info = validate(&module).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
    let entry = info.get_entry_point(0);
    let globals = module.global_variables.iter().filter(|(global, _)| !entry[*global].is_empty());
    let numbers = globals.filter_map(|(_, global)| Some(global.binding?.binding));
    let bound = numbers.filter_map(|n| bindings.iter().find(|b| b.number == n));
    let named = bound.filter_map(|binding| match binding.buffer {
        Bound::Arg(i) => Some(args[i].name),
        Bound::Params | Bound::Partial => None,
    });
    named.collect()
}

/// The two dispatches of a split launch share its arguments out: what neither used would be
/// silently ignored.
#[test]
fn the_parts_of_a_split_launch_use_what_the_whole_does() {
    let split = |variant: &Variant| variant.tile.filter(|tile| tile.splits > 1);
    let variants = variants();
    let halves = |part| variants.iter().filter(move |(v, _)| v.part == part && split(v).is_some());
    for (partial, call) in halves(Part::Partial) {
        let tile = split(partial).map(|tile| Tile { splits: 1, ..tile });
        let whole = Variant { tile, part: Part::Whole, ..partial.clone() };
        let reduce = Variant { part: Part::Reduce, ..partial.clone() };
        let [whole, partial, reduce] =
            [&whole, partial, &reduce].map(|variant| used(variant, call.args()));
        let both: BTreeSet<_> = partial.union(&reduce).copied().collect();
        assert_eq!(both, whole, "{tile:?} of {call:?}");
        let result = if whole.contains("y") { "y" } else { "state" };
        assert!(reduce.contains(result) && !partial.contains(result), "{call:?}");
        assert!(!reduce.contains("x") && !reduce.contains("weight"), "{call:?}");
    }
    assert!(halves(Part::Reduce).count() > 20);
}

fn spirv(variant: &Variant, module: &naga::Module, info: &ModuleInfo) {
    let options = back::spv::Options::default();
    let words = back::spv::write_vec(module, info, &options, None);
    words.unwrap_or_else(|e| panic!("{variant:?}: SPIR-V: {e}"));
}

/// Each binding in a slot of its own, the immediates in another.
fn metal(variant: &Variant, module: &naga::Module, info: &ModuleInfo) {
    let mut resources = back::msl::EntryPointResources {
        immediates_buffer: Some(30),
        sizes_buffer: Some(29),
        ..Default::default()
    };
    for (_, global) in module.global_variables.iter() {
        if let Some(place) = global.binding {
            let target = back::msl::BindTarget {
                buffer: Some(place.binding as u8),
                mutable: true,
                ..Default::default()
            };
            resources.resources.insert(place, target);
        }
    }
    let options = back::msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: [(variant.op.to_string(), resources)].into(),
        fake_missing_bindings: false,
        ..Default::default()
    };
    let pipeline = back::msl::PipelineOptions::default();
    let written = back::msl::write_string(module, info, &options, &pipeline);
    let (_, written) = written.unwrap_or_else(|e| panic!("{variant:?}: MSL: {e}"));
    for name in written.entry_point_names {
        name.unwrap_or_else(|e| panic!("{variant:?}: MSL: {e}"));
    }
}

fn hlsl(variant: &Variant, module: &naga::Module, info: &ModuleInfo) {
    let target = back::hlsl::BindTarget { space: 7, ..Default::default() };
    let options = back::hlsl::Options {
        shader_model: back::hlsl::ShaderModel::V6_2,
        fake_missing_bindings: true,
        immediates_target: Some(target),
        special_constants_binding: Some(back::hlsl::BindTarget { space: 8, ..Default::default() }),
        ..Default::default()
    };
    let pipeline = back::hlsl::PipelineOptions::default();
    let mut text = String::new();
    let written = back::hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None);
    let written = written.unwrap_or_else(|e| panic!("{variant:?}: HLSL: {e}"));
    for name in written.entry_point_names {
        name.unwrap_or_else(|e| panic!("{variant:?}: HLSL: {e}"));
    }
}

/// Names and byte offsets of a struct of a module.
fn members(module: &naga::Module, name: &str) -> Option<Vec<(String, usize)>> {
    module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name)).map(|(_, ty)| {
        let naga::TypeInner::Struct { members, .. } = &ty.inner else { panic!("{name}") };
        members.iter().map(|m| (m.name.clone().unwrap(), m.offset as usize)).collect()
    })
}

fn owned(fields: &[(&str, usize)]) -> Vec<(String, usize)> {
    fields.iter().map(|(name, offset)| (name.to_string(), *offset)).collect()
}

#[test]
fn structs_have_the_same_offsets_on_both_sides() {
    let row_map = [("time", 0), ("cond", 4), ("div", 8), ("modulo", 12)];
    let mut rows = 0;
    for (variant, call) in variants() {
        let module = kernel(&variant, call.args()).module;
        let params = members(&module, "Params").expect("a kernel has Params");
        assert_eq!(params, owned(call.fields()), "Params of {}", variant.op);
        if let Some(row) = members(&module, "Row") {
            rows += 1;
            assert_eq!(row, owned(ops::row::Row::FIELDS), "Row in {}", variant.op);
            let mix = members(&module, "Mix").expect("a Row holds Mix");
            assert_eq!(mix, owned(ops::row::Mix::FIELDS), "Mix in {}", variant.op);
        }
        if let Some(map) = members(&module, "RowMap") {
            assert_eq!(map, owned(&row_map), "RowMap in {}", variant.op);
        }
    }
    assert!(rows > 0, "no kernel reads rows");
}

/// The files of a folder of shaders, without their ending.
fn files(folder: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    let mut names: Vec<_> = files
        .map(|path| {
            assert_eq!(path.extension().unwrap(), "wgsl", "{}", path.display());
            path.file_stem().unwrap().to_str().unwrap().to_string()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn an_op_is_one_shader_file() {
    let mut names: Vec<_> = ops::NAMES.iter().map(|name| name.to_string()).collect();
    names.sort();
    assert_eq!(files("shaders"), names);
}

#[test]
fn every_common_file_is_included_and_every_shader_has_its_header() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let shaders = files("shaders").into_iter().map(|name| read(&format!("shaders/{name}.wgsl")));
    let common = files("shaders/common");
    let mut all: Vec<String> = shaders.collect();
    for (text, name) in all.iter().zip(files("shaders")) {
        let header = text.lines().take_while(|line| line.starts_with("// ")).count();
        assert_eq!(header, 5, "{name}.wgsl opens with five comment lines");
        let reference = format!("// Reference: src/ops/{name}.rs");
        assert!(text.contains(&reference), "{name}.wgsl names its reference");
    }
    all.extend(common.iter().map(|name| read(&format!("shaders/common/{name}.wgsl"))));
    for name in common {
        let include = format!("//!include {name}\n");
        assert!(all.iter().any(|text| text.contains(&include)), "common/{name}.wgsl is unused");
    }
}
