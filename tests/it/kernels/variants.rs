//! Which kernels are compiled.

use std::collections::{BTreeMap, HashMap};
use unnoise::backend::cuda::DeviceInfo;
use unnoise::backend::cuda::compile::ARCHITECTURES;
use unnoise::backend::source::Variant;
use unnoise::ops::{self, Call, Case, CaseArg, Facts, Norm, Tile};
use unnoise::ops::{Act, attention, conv_step, conv2d, linear};
use unnoise::tensor::DType;

const STORAGES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// What a device of this compute capability says of itself.
pub fn facts(capability: u32) -> Facts {
    let kibibytes = match capability {
        75 => 64,
        80 => 163,
        90 | 100 => 227,
        _ => 99,
    };
    let info = DeviceInfo {
        matrices: &[],
        index: 0,
        name: String::new(),
        backend: "cuda",
        pci: None,
        driver: String::new(),
        capability,
        processors: 132,
        memory_bytes: 0,
        workgroup_memory_bytes: kibibytes << 10,
    };
    info.facts()
}

/// What the cases take unmeasured on a device of this compute capability. Storages take turns: a
/// case of an op is compiled in one of them, its next in another.
pub fn of_cases(capability: u32) -> Vec<(Variant, Call)> {
    let facts = facts(capability);
    let mut all: HashMap<Variant, Call> = HashMap::new();
    for (i, case) in ops::all_cases().into_iter().enumerate() {
        let storage = STORAGES[i % STORAGES.len()];
        let dtypes: Vec<_> = case.args.iter().map(|arg| arg.dtype(storage)).collect();
        let tile = case.call.tiles(&dtypes, &facts).first().copied();
        for variant in Variant::of(&case.call, &dtypes, tile, &facts) {
            all.insert(variant, case.call);
        }
    }
    all.into_iter().collect()
}

/// A kernel of the budget, and the architectures that run it.
pub struct Subject {
    pub variant: Variant,
    pub call: Call,
    pub storage: DType,
    pub on: Vec<u32>,
}

/// Of products the kernels of networks, see [`Family`]; of another op the heaviest case.
pub fn subjects() -> Vec<Subject> {
    let mut all: Vec<Subject> = Vec::new();
    let families = families();
    for capability in ARCHITECTURES {
        let facts = facts(capability);
        let pairs = families.iter().flat_map(|family| STORAGES.map(|storage| (family, storage)));
        let pairs = pairs.filter(|(family, storage)| family.every_tile || *storage != DType::BF16);
        for (family, storage) in pairs {
            for (variant, call) in family.variants(storage, &facts) {
                match all.iter_mut().find(|known| known.variant == variant) {
                    Some(known) if known.on.last() == Some(&capability) => {}
                    Some(known) => known.on.push(capability),
                    None => all.push(Subject { variant, call, storage, on: vec![capability] }),
                }
            }
        }
    }
    all
}

/// An op as networks use it, in the sizes that make a device choose one tile or another: compiled
/// for what a device takes unmeasured, or for every tile of that method. bf16 differs from f16 by
/// the names of instructions only: what is taken unmeasured is enough, of the main family of a
/// product. In all else its cases are compiled for one architecture, as those of f16 are.
struct Family {
    sizes: Vec<Call>,
    every_tile: bool,
    dtypes: Box<dyn Fn(DType) -> Vec<Option<DType>>>,
}

impl Family {
    /// Its buffers: those that every call has, and `bound`.
    fn new(sizes: Vec<Call>, bound: &'static [&'static str]) -> Family {
        let args = sizes[0].args();
        let dtypes = move |storage| {
            let of = |arg: &ops::Arg| match arg.name {
                name if arg.optional && !bound.contains(&name) => None,
                // The state of the sampler.
                "x" if bound.contains(&"table") => Some(DType::F32),
                "vectors" | "moments" | "rows" | "table" => Some(DType::F32),
                "cond" => Some(DType::U32),
                _ => Some(storage),
            };
            args.iter().map(of).collect()
        };
        Family { sizes, every_tile: false, dtypes: Box::new(dtypes) }
    }

    fn every_tile(self) -> Family {
        Family { every_tile: true, ..self }
    }

    /// The tiles that a call takes.
    fn tiles(&self, call: &Call, storage: DType, facts: &Facts) -> Vec<Tile> {
        let mut tiles = call.tiles(&(self.dtypes)(storage), facts);
        match tiles.first().copied() {
            Some(first) if self.every_tile && storage != DType::BF16 => {
                tiles.retain(|tile| tile.method == first.method);
            }
            _ => tiles.truncate(1),
        }
        tiles
    }

    /// One variant for each tile that some size takes; if it is ever split, split in two.
    fn variants(&self, storage: DType, facts: &Facts) -> Vec<(Variant, Call)> {
        let dtypes = (self.dtypes)(storage);
        let mut taken: BTreeMap<String, (Option<Tile>, Call)> = BTreeMap::new();
        for call in &self.sizes {
            let tiles = self.tiles(call, storage, facts);
            if tiles.is_empty() {
                taken.insert(String::new(), (None, *call));
            }
            for tile in tiles {
                let whole = Tile { splits: 1, ..tile };
                let halved = (Some(Tile { splits: tile.splits.min(2), ..tile }), *call);
                let known = taken.entry(whole.to_string()).or_insert(halved);
                if tile.splits > 1 {
                    *known = halved;
                }
            }
        }
        let of = |(tile, call): (Option<Tile>, Call)| {
            let variants = Variant::of(&call, &dtypes, tile, facts);
            variants.into_iter().map(move |variant| (variant, call))
        };
        taken.into_values().flat_map(of).collect()
    }
}

fn families() -> Vec<Family> {
    let mut families: Vec<Family> =
        [convolutions(), vec![steps()], rows(), attentions()].into_iter().flatten().collect();
    let products: Vec<&str> = families.iter().map(|family| family.sizes[0].name()).collect();
    let others = ops::all_cases().into_iter().filter(|case| !products.contains(&case.call.name()));
    families.extend(heaviest(others).into_iter().map(of_case));
    families
}

fn of_case(case: Case) -> Family {
    let sizes = vec![case.call];
    let of = move |storage| case.args.iter().map(|arg| arg.dtype(storage)).collect();
    Family { sizes, every_tile: false, dtypes: Box::new(of) }
}

fn bound(case: &Case) -> u32 {
    case.args.iter().filter(|arg| !matches!(arg, CaseArg::Absent)).count() as u32
}

/// The case of each op with the most buffers, defines and threads.
fn heaviest(cases: impl Iterator<Item = Case>) -> Vec<Case> {
    let weight = |case: &Case| {
        let defines = case.call.defines();
        (defines.iter().map(|(_, value)| *value).sum::<u32>() + bound(case), defines)
    };
    let mut heaviest: BTreeMap<&str, Case> = BTreeMap::new();
    for case in cases {
        let op = case.call.name();
        if heaviest.get(op).is_none_or(|known| weight(known) < weight(&case)) {
            heaviest.insert(op, case);
        }
    }
    heaviest.into_values().collect()
}

/// Maps of DDPM's and Stable Diffusion's UNets: samples, side, channels.
type Map = (u32, u32, u32);
const MAPS: [Map; 6] =
    [(8, 64, 320), (1, 32, 128), (1, 16, 256), (8, 8, 256), (1, 8, 1280), (1, 4, 256)];

/// A convolution of 3x3 that keeps the size of its map.
fn same((n, side, channels): Map) -> conv2d::Params {
    let (h, w, ho, wo) = (side, side, side, side);
    let (ca, cout) = (channels, channels);
    let (kh, kw, top, left) = (3, 3, 1, 1);
    let zero: conv2d::Params = bytemuck::Zeroable::zeroed();
    let size = conv2d::Params { n, h, w, ho, wo, ca, cout, ..zero };
    conv2d::Params { kh, kw, top, left, stride: 1, up: 1, bias: 1, scale: 1.0, ..size }
}

/// With the norm and activation of a residual block, and moments for what follows.
fn block(map: Map) -> conv2d::Params {
    let act_in = Act::Silu as u32;
    conv2d::Params { groups: 32, act_in, tiles_a: 64, tiles: 64, ..same(map) }
}

fn convolutions() -> Vec<Family> {
    let family = |maps: &[Map], of: &dyn Fn(Map) -> conv2d::Params, bound| {
        Family::new(maps.iter().map(|map| of(*map).into()).collect(), bound)
    };
    let narrow = |map| conv2d::Params { cout: 4, tiles: 0, ..block(map) };
    let shortcut = |map| {
        let p = block(map);
        conv2d::Params { cb: p.ca, tiles_b: 64, sa: p.ca, sb: p.ca, ..p }
    };
    let down = |map| {
        let p = same(map);
        conv2d::Params { ho: p.h / 2, wo: p.w / 2, stride: 2, ..p }
    };
    let first = |map| {
        let p = same(map);
        conv2d::Params { ca: 3, states: p.n, gain: 1.0, ..p }
    };
    vec![
        family(&MAPS, &block, &["vectors", "moments", "rows", "skip"]).every_tile(),
        family(&MAPS[..2], &narrow, &["vectors", "moments"]),
        family(&MAPS[..2], &shortcut, &["x2", "vectors", "moments", "skip", "skip2"]),
        family(&MAPS[..2], &down, &["vectors"]),
        family(&MAPS[..1], &first, &["vectors", "table"]),
    ]
}

/// The case of `conv_step` that binds most, in the sizes of networks.
fn steps() -> Family {
    let normed = |case: &Case| matches!(case.call, Call::ConvStep(p) if p.conv.groups > 0);
    let cases = ops::all_cases().into_iter().filter(normed);
    let case = cases.max_by_key(bound).expect("a case of conv_step with a norm");
    let Call::ConvStep(p) = case.call else { unreachable!("cases are chosen by their call") };
    let size = |map: &Map| {
        let conv = conv2d::Params { cout: 4, tiles: 0, ..block(*map) };
        conv_step::Params { conv, ..p }.into()
    };
    Family { sizes: MAPS.iter().map(size).collect(), ..of_case(case) }.every_tile()
}

/// Rows of maps and of vectors, to as many columns as there are and to few.
fn rows() -> Vec<Family> {
    let zero: linear::Params = bytemuck::Zeroable::zeroed();
    const ROWS: [u32; 6] = [4096, 64, 32768, 1024, 256, 16];
    let family = |p: linear::Params, rows: &[u32], columns: &[u32], bound| {
        let size = |m: u32, n: u32| linear::Params { m, hw: m, n, ..p }.into();
        let of = |n: &u32| rows.iter().map(|m| size(*m, *n)).collect::<Vec<Call>>();
        Family::new(columns.iter().flat_map(of).collect(), bound)
    };
    let plain = linear::Params { k: 1280, bias: 1, scale: 1.0, ..zero };
    let group = linear::Params { norm: Norm::Group as u32, groups: 32, tiles_x: 64, ..plain };
    let group = linear::Params { act_in: Act::Silu as u32, tiles: 64, ..group };
    let gate = linear::Params { norm: Norm::Layer as u32, gate: 1, ..plain };
    vec![
        family(group, &ROWS, &[1280, 320, 32], &["vectors", "moments", "skip"]).every_tile(),
        family(gate, &ROWS[..2], &[1280, 320], &["vectors"]),
        family(plain, &ROWS[..2], &[4], &["vectors"]),
    ]
}

/// Heads of DiT, Stable Diffusion and DDPM, the last with what follows them.
fn attentions() -> Vec<Family> {
    let zero: attention::Params = bytemuck::Zeroable::zeroed();
    let family = |(heads, d, tiles), bound| {
        let size = |tokens| {
            let (tq, tk, stride) = (tokens, tokens, 3 * heads * d);
            let (q_stride, k_stride, v_stride) = (stride, stride, stride);
            let (k_first, v_first) = (heads * d, 2 * heads * d);
            let p = attention::Params { n: 1, tq, tk, heads, d, k_first, v_first, tiles, ..zero };
            attention::Params { q_stride, k_stride, v_stride, scale: 1.0, ..p }.into()
        };
        Family::new([4096, 256, 64].map(size).to_vec(), bound)
    };
    vec![
        family((16, 72, 0), &[]).every_tile(),
        family((8, 160, 0), &[]),
        family((1, 256, 64), &["moments", "skip"]),
        family((1, 512, 64), &["moments", "skip"]),
    ]
}
