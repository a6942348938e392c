//! A case of an op as programs of one launch, so that every backend runs the same cases through
//! the same door. What the op writes starts as NaN (or as the case's content where it is updated in
//! place), put there by a copying launch: no fixed slot may be written.

use std::sync::Arc;
use unnoise::backend::{Backend, Observer, RunInputs, WeightSource};
use unnoise::error::{Error, Result};
use unnoise::ops::moments::Region;
use unnoise::ops::{Access, Act, Call, Case, CaseArg, RowMap, Span, activation};
use unnoise::program::{Body, Launch, Memory, Program, RowRef, Slot, SlotId, Source};
use unnoise::tensor::DType;

/// One program for one buffer that the case's op writes.
pub struct Compared {
    /// Position in the op's `ARGS`.
    pub arg: usize,
    pub program: Program,
    pub inputs: RunInputs,
}

/// The programs of a case whose activations and weights are stored as `storage`.
pub fn case_programs(case: &Case, storage: DType) -> Vec<Compared> {
    let written = |i: &usize| {
        case.call.args()[*i].access != Access::Read && !matches!(case.args[*i], CaseArg::Absent)
    };
    (0..case.args.len())
        .filter(written)
        .map(|arg| Compared {
            arg,
            program: case_program(case, storage, arg),
            inputs: RunInputs::default(),
        })
        .collect()
}

/// The program that runs `case` and returns what it wrote to argument `compared`.
fn case_program(case: &Case, storage: DType, compared: usize) -> Program {
    let mut build = Build { slots: Vec::new(), prologue: Vec::new() };
    let args: Vec<Option<SlotId>> =
        (0..case.args.len()).map(|i| build.bind(case, i, storage)).collect();
    let bound = args[compared].expect("only a bound argument is compared");
    let len = build.slots[bound.0].len;
    let (layer, covers) = (case.name.clone(), Default::default());
    let mut launches = vec![Launch { call: case.call, args, layer, covers }];
    let mut output = bound;
    if build.slots[bound.0].dtype != DType::F32 {
        output = build.slot("result", DType::F32, len, Source::Scratch);
        launches.push(copy(bound, output, len));
    }
    // The cursor's row is the position of the row, so empty rows come first.
    let mut rows = vec![RowRef { body: 0, time: 0 }; case.cursor.row as usize];
    rows.push(RowRef { body: 1, time: case.cursor.time });
    Program {
        slots: build.slots,
        arenas: Vec::new(),
        prologue: build.prologue,
        bodies: vec![Body { name: "empty", launches: Vec::new() }, Body { name: "case", launches }],
        rows,
        output,
        output_len: len,
        span: span(case),
        memory: Memory::default(),
    }
}

/// The times, conditions, rows and draws that a case stands for.
fn span(case: &Case) -> Span {
    let mut span = Span {
        times: case.cursor.time as usize + 1,
        conditions: 1,
        rows: case.cursor.row as usize + 1,
        draws: 0,
    };
    for (i, (arg, content)) in case.call.args().iter().zip(&case.args).enumerate() {
        match (arg.name, content) {
            ("cond", CaseArg::U32(c)) => {
                span.conditions = c.iter().max().map_or(1, |c| *c as usize + 1);
            }
            ("draws", CaseArg::F32(d)) => span.draws = d.len() / case.call.elements(i),
            _ => {}
        }
    }
    span
}

struct Build {
    slots: Vec<Slot>,
    prologue: Vec<Launch>,
}

impl Build {
    fn slot(&mut self, name: &str, dtype: DType, len: usize, source: Source) -> SlotId {
        self.slots.push(Slot { name: name.to_string(), dtype, len, source });
        SlotId(self.slots.len() - 1)
    }

    fn bind(&mut self, case: &Case, i: usize, storage: DType) -> Option<SlotId> {
        let arg = case.call.args()[i];
        let dtype = case.args[i].dtype(storage)?;
        let content = match &case.args[i] {
            CaseArg::Absent => return None,
            CaseArg::Data(values) | CaseArg::F32(values) => pack(values, dtype),
            CaseArg::U32(values) => values.clone(),
            CaseArg::Output | CaseArg::OutputF32 => {
                pack(&vec![f32::NAN; case.call.elements(i)], dtype)
            }
        };
        let len = case.args[i].elements().unwrap_or_else(|| case.call.elements(i));
        let table = Source::Table(Arc::from(content));
        if arg.access == Access::Read {
            return Some(self.slot(arg.name, dtype, len, table));
        }
        let initial = self.slot(&format!("{} at the start", arg.name), dtype, len, table);
        let slot = self.slot(arg.name, dtype, len, Source::State);
        self.prologue.push(copy(initial, slot, len));
        Some(slot)
    }
}

/// Copies `len` elements, converting between f16 and f32.
fn copy(from: SlotId, to: SlotId, len: usize) -> Launch {
    let params =
        activation::Params { map: RowMap::IDENTITY, n: 1, c: len as u32, act: Act::None as u32 };
    Launch {
        call: Call::from(params),
        args: vec![Some(from), None, Some(to)],
        layer: "copy".to_string(),
        covers: Default::default(),
    }
}

/// Values as the 32-bit words of a table; f16 ones in pairs, the first in the low half.
fn pack(values: &[f32], dtype: DType) -> Vec<u32> {
    match dtype {
        DType::F16 => {
            let half = |v: Option<&f32>| half::f16::from_f32(*v.unwrap_or(&0.0)).to_bits() as u32;
            values.chunks(2).map(|p| half(p.first()) | half(p.get(1)) << 16).collect()
        }
        DType::BF16 => {
            let half = |v: Option<&f32>| half::bf16::from_f32(*v.unwrap_or(&0.0)).to_bits() as u32;
            values.chunks(2).map(|p| half(p.first()) | half(p.get(1)) << 16).collect()
        }
        DType::F32 | DType::U32 => values.iter().map(|v| v.to_bits()).collect(),
    }
}

/// Runs a compared program on a backend.
pub fn run(backend: &dyn Backend, compared: &Compared) -> Result<Vec<f32>> {
    let mut session = backend.prepare(&compared.program, &NoWeights)?;
    let mut out = vec![0.0; compared.program.output_len];
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    session.run(&compared.inputs, &mut observer, &mut out)?;
    Ok(out)
}

/// The content of a case is in tables: it has no parameters.
pub struct NoWeights;

impl WeightSource for NoWeights {
    fn values(&self, name: &str, _: &[usize]) -> Result<Vec<f32>> {
        Err(Error::invalid(name, "no parameters in a case", name, "use a table"))
    }
}

/// Largest difference that a case allows at `expected`.
///
/// In f16 inputs are the same rounded values on both sides, so what is left is the rounding of the
/// result and, where an op rounds in between, one more: twice half a unit in the last place.
pub fn tolerance(case: &Case, arg: usize, storage: DType, expected: f64) -> f64 {
    let f32_part = case.atol as f64 + case.rtol as f64 * expected.abs();
    match case.args[arg].dtype(storage) {
        Some(DType::F16) => f32_part + expected.abs() * f64::powi(2.0, -10) + f64::powi(2.0, -24),
        Some(DType::BF16) => f32_part + expected.abs() * f64::powi(2.0, -7),
        _ => f32_part,
    }
}

/// Whether f32 holds the number as a subnormal.
fn is_subnormal(v: f64) -> bool {
    v != 0.0 && v.abs() < f64::from(f32::MIN_POSITIVE)
}

/// Compares what a backend found with the oracle: `Err` shows the first ten mismatches.
pub fn compare(
    case: &Case,
    arg: usize,
    storage: DType,
    found: &[f32],
    expected: &[f64],
) -> std::result::Result<(), String> {
    let name = format!("{} -> {} ({storage})", case.name, case.call.args()[arg].name);
    let expected_f32: Vec<f32> = expected.iter().map(|v| *v as f32).collect();
    if let Some(region) = moments_region(case, arg) {
        let (found, expected) = (merged(&region, found), merged(&region, &expected_f32));
        let found: Vec<f32> = found.iter().map(|v| *v as f32).collect();
        return compare_values(case, arg, storage, &found, &expected, &name);
    }
    compare_values(case, arg, storage, found, expected, &name)
}

/// Where a case's op leaves the moments of its result, if `arg` is the buffer of moments.
fn moments_region(case: &Case, arg: usize) -> Option<Region> {
    let region = match case.call {
        Call::Conv2d(p) => Region { at: p.into, n: p.n, tiles: p.tiles, c: p.cout },
        Call::Attention(p) => p.region(),
        Call::Linear(p) => Region { at: p.into, n: p.m / p.hw.max(1), tiles: p.tiles, c: p.n },
        _ => return None,
    };
    (case.call.args()[arg].name == "moments").then_some(region)
}

/// Count, mean and variance of each channel of each sample: how a map is cut into tiles is the
/// kernel's own affair. Nothing if the op keeps none.
fn merged(region: &Region, buffer: &[f32]) -> Vec<f64> {
    let n = if region.tiles > 0 { region.n as usize } else { 0 };
    let channels = (0..n).flat_map(|n| (0..region.c as usize).map(move |c| (n, c)));
    let moments = channels.map(|(n, c)| region.channel(buffer, n, c));
    moments.flat_map(|m| [m.count, m.mean, m.m2 / m.count]).collect()
}

fn compare_values(
    case: &Case,
    arg: usize,
    storage: DType,
    found: &[f32],
    expected: &[f64],
    name: &str,
) -> std::result::Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{name}: {} elements, expected {}", found.len(), expected.len()));
    }
    let wrong: Vec<String> = found
        .iter()
        .zip(expected)
        .enumerate()
        .filter(|(_, (f, e))| {
            let same = f.is_nan() && e.is_nan() || f64::from(**f) == **e;
            // Not `>`: a NaN on one side only is a mismatch. Nothing is close to infinity.
            let close = (f64::from(**f) - **e).abs() <= tolerance(case, arg, storage, **e);
            // Flags and names in a row are the bits of numbers too small for any computation.
            let word = case.call.args()[arg].name == "live"
                && (is_subnormal(**e) || is_subnormal(f64::from(**f)));
            !(same || e.is_finite() && close && !word)
        })
        .map(|(i, (f, e))| format!("  [{i}] found {f:e}, expected {e:e}"))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let shown = wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    Err(format!("{name}: {} of {} elements are wrong:\n{shown}", wrong.len(), found.len()))
}
