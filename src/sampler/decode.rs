//! How the states of a model become pictures: at what precision, cut into which tiles, how many at
//! a time.

use super::Request;
use super::resolved::Resolved;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::model::{self, Model};
use crate::plan::{self, Plan, Sizes};
use crate::program::{Decoder, Tiling};
use crate::solver::{self, SolverInfo};
use crate::tensor::DType;

/// How the state is cut for a decoder. Tiles overlap by a quarter, where one fades into the next;
/// their pictures differ a little from those of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tiles {
    /// Whole, or if that takes more than 2 GiB in tiles of the size that the decoder was trained
    /// on.
    #[default]
    Auto,
    Whole,
    /// In tiles of so many latents a side, a multiple of four.
    Side(usize),
}

/// Activations that a decoder may take before the state is cut, and that samples decoded together
/// may take.
pub(super) const WHOLE_BYTES: u64 = 2 << 30;

impl Request {
    /// The decoder of a run: none for latents that were asked for, for those that pictures are led
    /// to, nor for the states of every row.
    fn decoder<'a>(&self, model: &'a Model) -> Result<Option<&'a model::Decoder>> {
        let wanted = !self.latents && !self.trace && !self.inverts(model)?;
        Ok(model.decoder.as_ref().filter(|_| wanted))
    }

    /// Whether the run goes from data to noise.
    ///
    /// # Errors
    /// A solver that there is none of.
    pub fn inverts(&self, model: &Model) -> Result<bool> {
        let named = self.solver.as_ref().or(model.settings.solver.as_ref());
        match named {
            Some(name) => Ok(solver::find(name)?.inverts()),
            None if model.has_scheduler() => Ok(SolverInfo::of(&model.scheduler()?)?.inverts()),
            None => Ok(false),
        }
    }

    /// `[C, H, W]` of a sample: of a picture, or of the state where none is made of it.
    ///
    /// # Errors
    /// A solver that there is none of.
    pub fn shape(&self, model: &Model) -> Result<[usize; 3]> {
        let decoder = self.decoder(model)?;
        Ok(decoder.map_or(model.state, |decoder| decoder.picture(model.state)))
    }
}

/// The decoder of a run whose network is stored as `storage`.
pub(super) fn decoder(
    model: &Model,
    request: &Request,
    resolved: &Resolved,
    storage: DType,
) -> Result<Option<Decoder>> {
    let Some(decoder) = request.decoder(model)? else { return Ok(None) };
    let storage = if decoder.needs_f32() { DType::F32 } else { storage };
    let [_, h, w] = model.state;
    let whole = Tiling { side: h.max(w), stride: h.max(w) };
    let tiling = match request.tiles {
        Tiles::Whole => whole,
        Tiles::Side(side) => checked(side)?,
        Tiles::Auto if bytes(decoder, [h, w], storage)? <= WHOLE_BYTES => whole,
        Tiles::Auto => smaller(decoder, storage)?,
    };
    let parts = tiling.parts([h, w]);
    let graphs: Vec<Graph> =
        parts.iter().map(|part| decoder.graph(*part)).collect::<Result<_>>()?;
    let one = bytes(decoder, parts[0], storage)?.max(1);
    let most = (WHOLE_BYTES / one).max(1) as usize;
    let samples = (1..=resolved.batch.min(most)).rev().find(|n| resolved.batch.is_multiple_of(*n));
    let decoder = Decoder { graphs, storage, samples: samples.unwrap_or(1), tiling };
    countable(&decoder, [h, w], request.shape(model)?, resolved.batch)?;
    Ok(Some(decoder))
}

/// Kernels count elements in 32 bits: those of a map, and of all pictures of a batch.
fn countable(
    decoder: &Decoder,
    latents: [usize; 2],
    picture: [usize; 3],
    batch: usize,
) -> Result<()> {
    let largest = decoder.graphs.iter().map(Graph::largest).max().unwrap_or(1);
    let most = u32::MAX as usize;
    let refuse = |what: &str, found: usize, action: &str| {
        let expected = format!("at most {most} elements of a decoder's value");
        Err(Error::invalid(what, expected, found.to_string(), action))
    };
    // Tiles are kept beside each other before they are blended.
    let [c, ..] = picture;
    let tiles = decoder.tiling.tiles(latents).len();
    let factor = picture[1] / latents[0].max(1);
    let kept = decoder.samples * tiles * c * (decoder.tiling.side * factor).pow(2);
    let map = (largest * decoder.samples).max(kept);
    let all = batch * picture.iter().product::<usize>();
    match () {
        () if map > most => refuse("--vae-tiles", map, "use smaller tiles: --vae-tiles 64, say"),
        () if all > most => refuse("--batch", all, "use a smaller --batch"),
        () => Ok(()),
    }
}

/// The decoder's own tiles, or as much smaller ones as fit.
fn smaller(decoder: &model::Decoder, storage: DType) -> Result<Tiling> {
    let mut side = decoder.tile();
    while side > 8 && bytes(decoder, [side; 2], storage)? > WHOLE_BYTES {
        side = side / 8 * 4;
    }
    Ok(Tiling::of(side))
}

/// Bytes of the values of one sample's decoding that are alive together.
fn bytes(decoder: &model::Decoder, part: [usize; 2], storage: DType) -> Result<u64> {
    let graph = decoder.graph(part)?;
    let sizes = Sizes { times: 1, conditions: 1, samples: 1 };
    let options =
        plan::Options { hoist: false, fuse: true, sizes, table_bytes: 0, times_vary: false };
    let plan = Plan::new(&graph, &options);
    let of = |id: usize| (plan.kernels[id].shape.elements() * storage.size()) as u64;
    let mut last: Vec<usize> = (0..plan.kernels.len()).collect();
    for (id, kernel) in plan.kernels.iter().enumerate() {
        kernel.reads().for_each(|read| last[read] = id);
    }
    let alive = (0..last.len()).map(|at| (0..=at).filter(|id| last[*id] >= at).map(of).sum());
    Ok(alive.max().unwrap_or(0))
}

fn checked(side: usize) -> Result<Tiling> {
    if side >= 8 && side.is_multiple_of(4) {
        return Ok(Tiling::of(side));
    }
    Err(Error::invalid(
        "--vae-tiles",
        "auto, off, or the side of a tile in latents: a multiple of 4, 8 or more",
        side.to_string(),
        "give 64, say",
    ))
}
