//! What is measured, what is kept, and when a measurement ends.

use super::*;
use crate::error::Error;
use crate::ops::{Method, linear};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

fn tile(rows: u32) -> Tile {
    Tile { method: Method::Tiled, rows, columns: 64, splits: 1 }
}

fn identity(sources: &str) -> Identity {
    Identity { adapter: "gpu".into(), driver: "1".into(), sources: sources.into() }
}

fn call(m: u32) -> Call {
    linear::Params { m, k: 64, n: 64, ..bytemuck::Zeroable::zeroed() }.into()
}

/// Two classes: the second has more work. In each, 32 rows are the fastest.
fn program() -> Tuned {
    let mut tuned = Tuned::default();
    let tiles = [tile(64), tile(32), tile(16)];
    tuned.add(0, &call(1), "small".into(), &tiles, 1);
    tuned.add(1, &call(100), "large".into(), &tiles, 5);
    tuned.add(2, &call(100), "large".into(), &tiles, 5);
    tuned.add(3, &call(7), "without a choice".into(), &tiles[..1], 1);
    tuned.add(4, &call(8), "nothing".into(), &[], 1);
    tuned
}

/// Notes what is asked of it, and takes a while for each time.
#[derive(Default)]
struct Fake {
    timed: Vec<(usize, u32)>,
    each: Duration,
    refuses: Option<u32>,
}

impl Timer for Fake {
    fn compile(&mut self, _: usize, _: &[Tile]) {}

    fn time(&mut self, call: usize, tile: Tile, _: Option<f64>) -> Result<Option<f64>> {
        self.timed.push((call, tile.rows));
        std::thread::sleep(self.each);
        let ms = (f64::from(tile.rows) - 32.0).abs() + 1.0;
        Ok((self.refuses != Some(tile.rows)).then_some(ms))
    }
}

fn step() -> Step {
    Arc::new(|done, total| {
        assert!(done <= total);
        Ok(())
    })
}

fn measure(budget: Duration) -> Tuning {
    Tuning::Measure { budget, step: step() }
}

const LONG: Duration = Duration::from_secs(600);

/// What a tuner of `folder` chooses: rows and origins by class, and the notes.
fn choose(
    folder: Option<&TempDir>,
    how: &Tuning,
    timer: &mut Fake,
) -> (Vec<(u32, Origin)>, Vec<String>) {
    let tuner = Tuner::new(folder.map(TempDir::path), identity("a"));
    let mut tuned = program();
    tuner.choose(how, &mut tuned, timer).unwrap();
    let chosen = tuned.classes.iter().map(|class| (class.chosen.rows, class.origin)).collect();
    (chosen, tuned.notes)
}

const DEFAULT: (u32, Origin) = (64, Origin::Default);

#[test]
fn what_was_measured_is_kept_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut timer = Fake::default();
    let (chosen, notes) = choose(Some(&folder), &measure(LONG), &mut timer);
    assert_eq!(chosen, [(32, Origin::Measured), (32, Origin::Measured), DEFAULT]);
    assert_eq!(timer.timed, [(1, 64), (1, 32), (1, 16), (0, 64), (0, 32), (0, 16)]);
    assert!(notes.len() == 1 && notes[0].starts_with("measured 6 tiles of 2 shapes"), "{notes:?}");

    for how in [Tuning::Cached, measure(LONG)] {
        let mut timer = Fake::default();
        let (chosen, notes) = choose(Some(&folder), &how, &mut timer);
        assert_eq!(chosen, [(32, Origin::Kept), (32, Origin::Kept), DEFAULT]);
        assert!(timer.timed.is_empty() && notes.is_empty(), "{:?} {notes:?}", timer.timed);
    }
    let mut timer = Fake::default();
    assert_eq!(choose(Some(&folder), &Tuning::Off, &mut timer).0, [DEFAULT; 3]);
    assert_eq!(choose(Some(&folder), &Tuning::Anew { step: step() }, &mut timer).0[2].0, 64);
    assert_eq!(timer.timed.len(), 7, "anew means all of it, also where there is no choice");
}

#[test]
fn what_does_not_fit_the_budget_keeps_the_default_and_is_measured_later() {
    let folder = tempfile::tempdir().unwrap();
    let each = Duration::from_millis(20);
    let mut seen = Vec::new();
    for start in 0..6 {
        let mut timer = Fake { each, ..Fake::default() };
        let (chosen, notes) = choose(Some(&folder), &measure(each / 4), &mut timer);
        assert_eq!(timer.timed.len(), 1, "one candidate was begun in time: {:?}", timer.timed);
        seen.extend(timer.timed);
        assert!(start == 5 || notes[0].contains("left for the next start"), "{notes:?}");
        let large = if start < 2 { DEFAULT } else { (32, chosen[1].1) };
        assert_eq!(chosen[1], large, "half a comparison is none");
        assert_eq!(chosen[0].0, if start < 5 { 64 } else { 32 });
    }
    assert_eq!(seen, [(1, 64), (1, 32), (1, 16), (0, 64), (0, 32), (0, 16)]);
    let mut timer = Fake::default();
    choose(Some(&folder), &measure(Duration::ZERO), &mut timer);
    assert!(timer.timed.is_empty());
}

#[test]
fn an_interrupted_measurement_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let tuner = Tuner::new(Some(folder.path()), identity("a"));
    let calls = AtomicUsize::new(0);
    let step: Step = Arc::new(move |done, _| {
        calls.fetch_add(1, Ordering::Relaxed);
        if done == 4 { Err(Error::Interrupted) } else { Ok(()) }
    });
    let mut timer = Fake::default();
    let stopped = tuner.choose(&Tuning::Anew { step }, &mut program(), &mut timer);
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert_eq!(timer.timed.len(), 4);
    let (chosen, _) = choose(Some(&folder), &Tuning::Cached, &mut Fake::default());
    assert_eq!(chosen, [DEFAULT, (32, Origin::Kept), DEFAULT]);
}

#[test]
fn nothing_is_measured_that_cannot_be_kept() {
    let mut timer = Fake::default();
    assert_eq!(choose(None, &measure(LONG), &mut timer), (vec![DEFAULT; 3], Vec::new()));
    assert!(timer.timed.is_empty());
}

#[test]
fn a_refused_candidate_is_not_taken_and_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut timer = Fake { refuses: Some(32), ..Fake::default() };
    let (chosen, _) = choose(Some(&folder), &measure(LONG), &mut timer);
    assert_eq!(chosen[1], (16, Origin::Measured));
    let mut timer = Fake::default();
    assert_eq!(choose(Some(&folder), &measure(LONG), &mut timer).0[1], (16, Origin::Kept));
    assert!(timer.timed.is_empty());
}

#[test]
fn other_sources_start_anew() {
    let folder = tempfile::tempdir().unwrap();
    choose(Some(&folder), &measure(LONG), &mut Fake::default());
    let tuner = Tuner::new(Some(folder.path()), identity("b"));
    let mut tuned = program();
    tuner.choose(&Tuning::Cached, &mut tuned, &mut Fake::default()).unwrap();
    assert!(tuned.classes.iter().all(|class| class.origin == Origin::Default));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_damaged_file_is_told_once_and_measured_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path(), identity("a"));
    fs::write(store.path(), "{").unwrap();
    let (chosen, notes) = choose(Some(&folder), &Tuning::Cached, &mut Fake::default());
    assert_eq!(chosen, [DEFAULT; 3]);
    assert!(notes.len() == 1 && notes[0].contains("ignored"), "{notes:?}");
    choose(Some(&folder), &measure(LONG), &mut Fake::default());
    let (chosen, notes) = choose(Some(&folder), &Tuning::Cached, &mut Fake::default());
    assert_eq!((chosen[0], notes), ((32, Origin::Kept), Vec::new()));
}

#[test]
fn a_function_may_choose() {
    let how = Tuning::Fixed(Arc::new(|_, tiles| tiles.len() + 1));
    let (chosen, _) = choose(None, &how, &mut Fake::default());
    assert_eq!(chosen, [(32, Origin::Fixed), (32, Origin::Fixed), (64, Origin::Fixed)]);
}
