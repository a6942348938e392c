//! What sanitizers say of the kernels: that they race with nobody and read nothing beyond their
//! buffers. `cargo xtask races` runs these tests; they are ignored otherwise, as they compile every
//! kernel once more.

use super::device;
use super::emulated::{Build, Emulated};
use super::ops::{always, differences, held};
use rayon::prelude::*;
use std::collections::BTreeMap;
use unnoise::ops::{self, Case, CaseArg, Tile};
use unnoise::tensor::DType;

/// A case, how its buffers are stored, and how it is cut.
type Cut = (Case, DType, Option<Tile>);

/// The least case of each op, storage and way to cut it.
fn least() -> Vec<Cut> {
    let size = |case: &Case| -> usize {
        let of = |i: usize| case.args[i].elements().unwrap_or_else(|| case.call.elements(i));
        let bound = |i: &usize| !matches!(case.args[*i], CaseArg::Absent);
        (0..case.args.len()).filter(bound).map(of).sum()
    };
    let mut least: BTreeMap<(&str, &str, String), (usize, Cut)> = BTreeMap::new();
    for case in ops::all_cases() {
        for storage in [DType::F32, DType::F16] {
            let dtypes: Vec<_> = case.args.iter().map(|arg| arg.dtype(storage)).collect();
            let tiles = case.call.tiles(&dtypes, &Emulated::FACTS);
            let tiles: Vec<Option<Tile>> = match tiles.is_empty() {
                true => vec![None],
                false => tiles.into_iter().map(Some).collect(),
            };
            for tile in tiles {
                let cut = tile.map_or(String::new(), |tile| tile.to_string());
                let key = (case.call.name(), storage.name(), cut);
                let this = (size(&case), (case.clone(), storage, tile));
                match least.get(&key) {
                    Some((smallest, _)) if *smallest <= this.0 => {}
                    _ => drop(least.insert(key, this)),
                }
            }
        }
    }
    least.into_values().map(|(_, chosen)| chosen).collect()
}

fn check(build: Build) {
    if !device::emulator() {
        return;
    }
    let of = |(case, storage, tile): &Cut| match tile {
        None => differences(&Emulated::new(build), case, *storage),
        Some(tile) => {
            let device = Emulated::choosing(build, always(*tile));
            let wrong = differences(&device, &held(case, *tile, *storage), *storage);
            wrong.into_iter().map(|wrong| format!("{tile}: {wrong}")).collect()
        }
    };
    let failures: Vec<String> = least().par_iter().flat_map_iter(of).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
#[ignore = "cargo xtask races"]
fn no_kernel_races() {
    check(Build::Thread);
}

#[test]
#[ignore = "cargo xtask races"]
fn no_kernel_leaves_its_buffers() {
    check(Build::Address);
}
