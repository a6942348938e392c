//! Which tile each class of launches takes: measured on the device, within a budget, and kept on
//! disk. What a backend adds is a [`Timer`].

mod class;
mod file;
mod table;
mod timing;

pub use class::class;
pub use file::{Identity, Store, folder, replace, slug};
pub use table::{Table, Timed};
pub use timing::fastest;

use crate::error::Result;
use crate::lock::locked;
use crate::ops::{Call, Tile};
use serde::Serialize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// Called before each measurement with how many are done of how many: an error ends the work.
pub type Step = Arc<dyn Fn(usize, usize) -> Result<()> + Send + Sync>;

/// The position of the candidate to take; past the end it starts over.
pub type Choose = Arc<dyn Fn(&Call, &[Tile]) -> usize + Send + Sync>;

/// How tiles are chosen.
#[derive(Clone, Default)]
pub enum Tuning {
    /// The first candidate: what is best unmeasured. No file is read or written.
    #[default]
    Off,
    /// What was measured before; where nothing was, the first candidate.
    Cached,
    /// The same, and what is missing is measured until the budget is spent. What it did not reach
    /// is measured at the next start.
    Measure { budget: Duration, step: Step },
    /// Everything is measured anew, however long it takes.
    Anew { step: Step },
    /// As a function says: for tests and experiments.
    Fixed(Choose),
}

/// Where a choice comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The first candidate.
    Default,
    /// Measured at an earlier start.
    Kept,
    Measured,
    Fixed,
}

/// The launches of a program that take one tile.
#[derive(Clone, Debug, Serialize)]
pub struct Class {
    /// See [`class`].
    pub class: String,
    /// Launches of a run.
    pub launches: u64,
    /// The candidates, the default first, with their times so far as they are known.
    pub candidates: Vec<Timed>,
    pub chosen: Tile,
    pub origin: Origin,
    /// One of its calls.
    #[serde(skip)]
    call: Call,
    /// Position of that call among those of the program.
    #[serde(skip)]
    first: usize,
}

impl Class {
    fn tiles(&self) -> Vec<Tile> {
        self.candidates.iter().map(|timed| timed.tile).collect()
    }

    /// Floating-point operations of a run.
    fn work(&self) -> u64 {
        self.call.flops().saturating_mul(self.launches)
    }
}

/// What was chosen for a program, and what there is to say about it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tuned {
    pub classes: Vec<Class>,
    /// Launches of a step whose sum is split: each is two dispatches.
    pub split_per_step: usize,
    /// Whether the driver was given what it compiled at an earlier start.
    pub compile_cached: bool,
    pub notes: Vec<String>,
}

impl Tuned {
    /// Adds call number `first`, which a run launches so often. A call without candidates has
    /// nothing to choose.
    pub fn add(&mut self, first: usize, call: &Call, class: String, tiles: &[Tile], launches: u64) {
        if let Some(known) = self.classes.iter_mut().find(|known| known.class == class) {
            known.launches += launches;
            return;
        }
        let Some(chosen) = tiles.first().copied() else { return };
        let candidates = tiles.iter().map(|tile| Timed { tile: *tile, ms: None }).collect();
        let (call, origin) = (*call, Origin::Default);
        self.classes.push(Class { class, launches, candidates, chosen, origin, call, first });
    }

    /// The tile of a class.
    pub fn tile(&self, class: &str) -> Option<Tile> {
        self.classes.iter().find(|known| known.class == class).map(|known| known.chosen)
    }
}

/// Runs candidates on a device.
pub trait Timer {
    /// Compiles call number `call` for several tiles at once.
    fn compile(&mut self, call: usize, tiles: &[Tile]);

    /// Milliseconds of one launch of call number `call` cut as `tile`; none if the device refuses
    /// it. It need not be exact where the candidate is clearly slower than `best`.
    ///
    /// # Errors
    /// Fails if the device does.
    fn time(&mut self, call: usize, tile: Tile, best: Option<f64>) -> Result<Option<f64>>;
}

/// Chooses tiles, and remembers.
pub struct Tuner {
    store: Option<Store>,
    /// Read from the file when it is first asked for.
    table: OnceLock<Mutex<Table>>,
    /// What is wrong with the file, told once.
    note: Mutex<Option<String>>,
}

impl Tuner {
    /// For a device, with what `folder`, if there is one, holds for it.
    pub fn new(folder: Option<&Path>, identity: Identity) -> Tuner {
        let store = folder.map(|folder| Store::new(folder, identity));
        Tuner { store, table: OnceLock::new(), note: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        let table = self.table.get_or_init(|| {
            let (table, note) = self.store.as_ref().map(Store::load).unwrap_or_default();
            *locked(&self.note) = note;
            Mutex::new(table)
        });
        locked(table)
    }

    /// Chooses for every class of `tuned`.
    ///
    /// # Errors
    /// What the timer or a step fails with; what was measured until then is kept.
    pub fn choose(&self, how: &Tuning, tuned: &mut Tuned, timer: &mut dyn Timer) -> Result<()> {
        let begin = Instant::now();
        let done = match how {
            Tuning::Off => return Ok(()),
            Tuning::Fixed(choose) => {
                for class in &mut tuned.classes {
                    let tiles = class.tiles();
                    class.chosen = tiles[choose(&class.call, &tiles) % tiles.len()];
                    class.origin = Origin::Fixed;
                }
                return Ok(());
            }
            Tuning::Cached => Ok(Progress::default()),
            // Nothing would be kept, and the next start would wait again.
            Tuning::Measure { budget, .. } if budget.is_zero() || self.store.is_none() => {
                Ok(Progress::default())
            }
            Tuning::Measure { budget, step } => self.measure(tuned, timer, (Some(*budget), step)),
            Tuning::Anew { step } => self.measure(tuned, timer, (None, step)),
        };
        let progress = done?;
        for class in &mut tuned.classes {
            self.settle(class, &progress.fresh);
        }
        tuned.notes.extend(locked(&self.note).take());
        tuned.notes.extend(progress.words(begin.elapsed(), self.store.as_ref()));
        tuned.notes.extend(progress.note);
        Ok(())
    }

    /// Takes what the table says of a class, of which `fresh` is new.
    fn settle(&self, class: &mut Class, fresh: &Table) {
        let (table, tiles) = (self.table(), class.tiles());
        for timed in &mut class.candidates {
            timed.ms = table.get(&class.class, timed.tile).and_then(|known| known.ms);
        }
        if tiles.len() < 2 {
            return;
        }
        let Some(best) = table.best(&class.class, &tiles) else { return };
        class.chosen = best;
        let new = tiles.iter().any(|tile| fresh.get(&class.class, *tile).is_some());
        class.origin = if new { Origin::Measured } else { Origin::Kept };
    }

    /// Measures the classes with the most work first: all that is missing within a budget, or
    /// everything without one.
    fn measure(
        &self,
        tuned: &Tuned,
        timer: &mut dyn Timer,
        (budget, step): (Option<Duration>, &Step),
    ) -> Result<Progress> {
        let mut order: Vec<&Class> = tuned.classes.iter().collect();
        order.sort_by_key(|class| std::cmp::Reverse(class.work()));
        let known = self.table().clone();
        let open = |class: &Class| -> Vec<Tile> {
            let known = |tile: &Tile| budget.is_some() && known.get(&class.class, *tile).is_some();
            // One candidate needs no comparison, except in a list of what everything takes.
            let tiles = if class.candidates.len() < 2 && budget.is_some() {
                Vec::new()
            } else {
                class.tiles()
            };
            tiles.into_iter().filter(|tile| !known(tile)).collect()
        };
        let wanted: Vec<_> = order.into_iter().map(|class| (class, open(class))).collect();
        let total = wanted.iter().map(|(_, tiles)| tiles.len()).sum();
        let mut progress = Progress { total, ..Progress::default() };
        let end = budget.map(|budget| Instant::now() + budget);
        let measured = progress.measure_all(&wanted, timer, end, step);
        self.table().merge(&progress.fresh);
        if progress.done > 0 {
            progress.note = self.store.as_ref().and_then(|store| store.save(&progress.fresh));
        }
        measured.map(|()| progress)
    }
}

/// How far a measurement came.
#[derive(Default)]
struct Progress {
    fresh: Table,
    done: usize,
    total: usize,
    note: Option<String>,
}

impl Progress {
    fn measure_all(
        &mut self,
        wanted: &[(&Class, Vec<Tile>)],
        timer: &mut dyn Timer,
        end: Option<Instant>,
        step: &Step,
    ) -> Result<()> {
        // The first is measured whatever it takes: each start gets further.
        let late = |done| done > 0 && end.is_some_and(|end| Instant::now() >= end);
        for (class, tiles) in wanted {
            let mut best: Option<f64> = None;
            // As many at a time as compile side by side.
            for tiles in tiles.chunks(rayon::current_num_threads().max(1)) {
                if late(self.done) {
                    return Ok(());
                }
                step(self.done, self.total)?;
                timer.compile(class.first, tiles);
                for &tile in tiles {
                    if late(self.done) {
                        return Ok(());
                    }
                    step(self.done, self.total)?;
                    let ms = timer.time(class.first, tile, best)?;
                    self.fresh.put(&class.class, Timed { tile, ms });
                    self.done += 1;
                    best = ms.into_iter().chain(best).min_by(f64::total_cmp);
                }
            }
        }
        Ok(())
    }

    /// What was measured, if anything was.
    fn words(&self, took: Duration, store: Option<&Store>) -> Option<String> {
        let Progress { done, total, fresh, .. } = self;
        let kept =
            store.map_or(String::new(), |store| format!(", kept in {}", store.path().display()));
        let left = match total - done {
            0 => String::new(),
            left => format!("; {left} are left for the next start, or for `unnoise tune`"),
        };
        (*done > 0).then(|| {
            let (classes, seconds) = (fresh.len(), took.as_secs_f64());
            format!("measured {done} tiles of {classes} shapes in {seconds:.1} s{kept}{left}")
        })
    }
}

#[cfg(test)]
mod tests;
