//! A program's launches as kernels are told them: parameters, addresses, grids. No driver is called
//! here: the emulator of the tests runs what this records.

use crate::backend::grid::{Constants, workgroups};
use crate::backend::source::Variant;
use crate::backend::tune::Tuned;
use crate::backend::work::{Cut, Work};
use crate::error::{Error, Result};
use crate::ops::{Call, Tile};
use crate::program::Program;

/// Where buffers lie: device addresses, or whatever stands for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Of each slot of the program.
    pub slots: Vec<u64>,
    /// Of the sums of splits, and of the tiles' counters.
    pub partial: u64,
    pub counters: u64,
    /// Of a cursor that stays at the start, for the prologue, and of the one that steps.
    pub start: u64,
    pub advance: u64,
}

/// One launch, ready.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Position in [`Recording::kernels`].
    pub kernel: usize,
    /// The bytes of `Params`.
    pub params: Vec<u8>,
    /// The addresses of `Args`: the bound buffers in order.
    pub args: Vec<u64>,
    /// The addresses of `Control`: cursor, advance (0 but for a body's last launch), partial,
    /// counters.
    pub control: [u64; 4],
    pub blocks: u32,
    /// Bytes of workgroup memory.
    pub shared: u32,
    /// Floating-point operations, and bytes of the buffers.
    pub flops: f64,
    pub bytes: f64,
    /// The layer, for messages.
    pub layer: String,
}

/// Everything that a run launches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Each variant once.
    pub kernels: Vec<(Variant, Call)>,
    pub prologue: Vec<Recorded>,
    /// The launches of each body.
    pub bodies: Vec<Vec<Recorded>>,
    /// Bytes of the sums of splits, and tiles to be counted, of the launch that needs most.
    pub partial_bytes: u64,
    pub counters: u32,
}

/// What a compiled kernel says of itself.
pub trait Compiled: Constants {
    /// Bytes of workgroup memory.
    fn shared_bytes(&self) -> u32;
}

/// Records `program`, its launches cut as was chosen; `kernel` knows the compiled variants.
///
/// # Errors
/// `Error::Invalid` if a kernel lacks a constant, or a grid is too long.
pub fn record<K: Compiled>(
    program: &Program,
    work: &Work,
    tuned: &Tuned,
    at: &Addresses,
    kernel: &dyn Fn(&Variant, &Call) -> Result<K>,
) -> Result<Recording> {
    let partial_bytes = work.partial_bytes(Some(tuned));
    let mut recording = Recording { partial_bytes, ..Recording::default() };
    let mut launches = Vec::with_capacity(work.launches.len());
    for cut in &work.launches {
        launches.push(one(program, cut, tuned.tile(&cut.class), at, kernel, &mut recording)?);
    }
    let mut launches = launches.into_iter();
    recording.prologue = launches.by_ref().take(program.prologue.len()).collect();
    for body in &program.bodies {
        let mut body: Vec<Recorded> = launches.by_ref().take(body.launches.len()).collect();
        for launch in &mut body {
            launch.control[0] = at.advance;
        }
        if let Some(last) = body.last_mut() {
            last.control[1] = at.advance;
        }
        recording.bodies.push(body);
    }
    Ok(recording)
}

/// The kernel of a launch cut as `tile`.
pub(super) fn variant(cut: &Cut, tile: Option<Tile>) -> Variant {
    match <[Variant; 1]>::try_from(cut.variants(tile)) {
        Ok([variant]) => variant,
        Err(_) => unreachable!("the last workgroup adds the splits: one variant a launch"),
    }
}

/// One launch, as the prologue runs it.
pub(super) fn one<K: Compiled>(
    program: &Program,
    cut: &Cut,
    tile: Option<Tile>,
    at: &Addresses,
    kernel: &dyn Fn(&Variant, &Call) -> Result<K>,
    recording: &mut Recording,
) -> Result<Recorded> {
    let call = cut.launch.call;
    let variant = variant(cut, tile);
    let compiled = kernel(&variant, &call)?;
    let blocks = workgroups(&call, &variant, true, &compiled)?;
    let splits = tile.map_or(1, |tile| tile.splits);
    let tiles = blocks / u64::from(splits);
    let known = recording.kernels.iter().position(|(known, _)| *known == variant);
    let position = known.unwrap_or(recording.kernels.len());
    if known.is_none() {
        recording.kernels.push((variant, call));
    }
    if tile.is_some() {
        // Of the tiles, for their splits, and of the columns of samples, for moments.
        recording.counters = recording.counters.max(2 * tiles as u32);
    }
    let bound = cut.launch.args.iter().flatten();
    let bytes =
        cut.launch.args.iter().enumerate().filter_map(|(i, slot)| {
            Some(call.elements(i) * program.slots[(*slot)?.0].dtype.size())
        });
    Ok(Recorded {
        kernel: position,
        params: call.params().to_vec(),
        args: bound.map(|slot| at.slots[slot.0]).collect(),
        control: [at.start, 0, at.partial, at.counters],
        blocks: u32::try_from(blocks).ok().filter(|b| *b <= MOST_BLOCKS).ok_or_else(|| {
            Error::invalid(
                format!("layer {}", cut.launch.layer),
                format!("a launch of at most {MOST_BLOCKS} workgroups"),
                blocks.to_string(),
                "use a smaller --batch",
            )
        })?,
        shared: compiled.shared_bytes(),
        flops: call.flops() as f64,
        bytes: bytes.sum::<usize>() as f64,
        layer: cut.launch.layer.clone(),
    })
}

/// The content of `Advance` of kernels/common/abi.cuh at the start of a run: at the first row that
/// launches anything. `times` is the address of the rows' times, `progress` that of a word in which
/// a persistent kernel counts rows, or 0.
///
/// # Errors
/// `Error::Invalid` if a later row launches nothing: nothing would step the cursor.
pub fn advance(program: &Program, times: u64, progress: u64) -> Result<Vec<u8>> {
    let empty = |row: &usize| program.bodies[program.rows[*row].body].launches.is_empty();
    let first = (0..program.rows.len()).take_while(empty).count();
    if let Some(row) = (first..program.rows.len()).find(empty) {
        let action = "this is an error in the program, please report it";
        return Err(Error::invalid(format!("row {row}"), "launches", "none", action));
    }
    let time = program.rows.get(first).map_or(0, |row| row.time);
    let words = [first as u32, time, 0, program.rows.len() as u32];
    let mut bytes = bytemuck::cast_slice(&words).to_vec();
    bytes.extend([times, progress].iter().flat_map(|at| at.to_le_bytes()));
    Ok(bytes)
}

/// The longest grid of a device.
const MOST_BLOCKS: u32 = i32::MAX as u32;
