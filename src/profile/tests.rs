//! Profiles of times made by hand.

use super::*;
use crate::backend::roofline::Bound;
use crate::ops::{Span as Reach, multiply_add};
use crate::program::{Body, RowRef, Slot, SlotId, Source};
use crate::tensor::DType;

/// A launch once, then two rows of two launches, of 256 and 0 operations an element on 8 elements.
fn program() -> Program {
    let slot =
        |name: &str| Slot { name: name.into(), dtype: DType::F32, len: 8, source: Source::Scratch };
    let launch = |layer: &str, rounds| program::Launch {
        call: multiply_add::Params { n: 1, rounds, a: 1.0, b: 0.0 }.into(),
        args: vec![Some(SlotId(0)), Some(SlotId(1))],
        layer: layer.into(),
        covers: Default::default(),
    };
    Program {
        slots: vec![slot("x"), slot("y")],
        arenas: Vec::new(),
        prologue: vec![launch("table", 0)],
        bodies: vec![Body { name: "row", launches: vec![launch("conv", 8), launch("norm", 0)] }],
        rows: vec![RowRef { body: 0, time: 0 }; 2],
        output: SlotId(1),
        output_len: 8,
        span: Reach { times: 1, conditions: 1, rows: 2, draws: 0 },
        memory: Default::default(),
    }
}

/// A run whose launches begin and end at these microseconds.
fn timeline(times: [[u64; 2]; 5]) -> Timeline {
    let span = |[start, end]: [u64; 2]| Span { start: 1000 * start, end: 1000 * end };
    let wall = times[4][1] + 30;
    let phases = [(Phase::Encode, [0, 8]), (Phase::Submit, [8, 10]), (Phase::Wait, [10, wall])];
    Timeline {
        clock: Clock::Passes,
        launches: times.map(span).to_vec(),
        host: phases.map(|(phase, times)| (phase, span(times))).to_vec(),
        wall_ns: 1000 * wall,
        offset_ns: [9_000, 12_000],
    }
}

fn profile() -> Profile {
    let runs = [
        timeline([[0, 5], [5, 505], [505, 510], [510, 1010], [1010, 1015]]),
        timeline([[100, 110], [110, 210], [220, 230], [230, 300], [310, 330]]),
        timeline([[0, 7], [7, 100], [100, 120], [120, 140], [140, 150]]),
    ];
    // 1e9 operations a second are 1000 in a microsecond.
    let peak = Peak {
        gbps: 0.01,
        gflops_f32: 0.1,
        gflops_f16: None,
        gflops_matrix_f16: None,
        gflops_matrix_bf16: None,
        launch_us: 2.0,
        spread: 0.0,
    };
    Profile::new(&program(), None, &runs, &[400.0, 300.0, 350.0], Some(peak))
}

#[test]
fn the_run_with_the_median_total_is_shown() {
    let profile = profile();
    assert_eq!((profile.total_us, profile.gaps_us), (230.0, 20.0));
    let times = |of: fn(&Launch) -> f64| profile.launches.iter().map(of).collect::<Vec<_>>();
    assert_eq!(times(|l| l.us), [10.0, 100.0, 10.0, 70.0, 20.0]);
    assert_eq!(times(|l| l.start_us), [0.0, 10.0, 120.0, 130.0, 210.0]);
    assert_eq!(times(|l| l.least_us), [5.0, 93.0, 5.0, 20.0, 5.0]);
    assert_eq!((profile.encode_us, profile.submit_us, profile.wall_us), (8.0, 2.0, 360.0));
    assert_eq!((profile.offset_us, profile.runs), ([9.0, 12.0], 3));
    assert_eq!((profile.profiled_us, profile.unprofiled_us), (360.0, 350.0));
    assert!(profile.trusted() && (profile.overhead() - 1.0 / 35.0).abs() < 1e-12);
    assert!(!Profile { profiled_us: 386.0, ..profile.clone() }.trusted());
    assert!(!Profile { profiled_us: 314.0, ..profile }.trusted(), "faster is as suspicious");
}

#[test]
fn rows_and_views_add_up_to_the_launches() {
    let profile = profile();
    let rows = profile.rows();
    let names: Vec<_> = rows.iter().map(|row| (row.step, row.layer.as_str())).collect();
    let expected = [
        (None, "table"),
        (Some(0), "conv"),
        (Some(0), "norm"),
        (Some(1), "conv"),
        (Some(1), "norm"),
    ];
    assert_eq!(names, expected);
    assert!(rows.iter().all(|row| row.cost.calls == 1));
    for (by, expected) in [
        (By::Kernel, vec![("multiply_add", 210.0)]),
        (By::Layer, vec![("conv", 170.0), ("norm", 30.0), ("table", 10.0)]),
        (By::Step, vec![("once", 10.0), ("0", 110.0), ("1", 90.0)]),
    ] {
        let groups = profile.by(by);
        let found: Vec<_> = groups.iter().map(|g| (g.name.as_str(), g.cost.us)).collect();
        assert_eq!(found, expected);
        let shares: f64 = groups.iter().map(|group| group.share).sum();
        assert!((shares - 1.0).abs() < 1e-12);
    }
}

#[test]
fn rates_and_bounds_follow_from_work_and_time() {
    let profile = profile();
    let layers = profile.by(By::Layer);
    // Two launches of 2 * 8 * 8 * 16 operations, and 2 * 32 bytes each.
    let conv = layers[0].cost;
    assert_eq!((conv.calls, conv.flops, conv.bytes), (2, 2 * 2048, 2 * 64));
    assert!((conv.gflops - 4096.0 / 170e3).abs() < 1e-12);
    assert!((conv.gbps - 128.0 / 170e3).abs() < 1e-12);
    // 2048 operations at 100 in a microsecond; 64 bytes at 10.
    assert_eq!(conv.bound, Some(Bound::Compute));
    assert!((conv.roofline.unwrap() - 2.0 * 20.48 / 170.0).abs() < 1e-12);
    let norm = layers[1].cost;
    assert_eq!(norm.bound, Some(Bound::Memory));
    assert!((norm.roofline.unwrap() - 2.0 * 6.4 / 30.0).abs() < 1e-12);
    let slow = Peak { launch_us: 50.0, ..profile.peak.unwrap() };
    assert_eq!(slow.floor(2048, 64, None).bound, Bound::Launch);

    let unknown = Profile::new(&program(), None, &[timeline([[0, 1]; 5])], &[1.0], None);
    assert_eq!(unknown.by(By::Kernel)[0].cost.roofline, None);
    assert_eq!(unknown.by(By::Kernel)[0].cost.bound, None);
}

#[test]
fn a_profile_of_nothing_is_no_number_but_zero() {
    let runs = [timeline([[0, 0]; 5])];
    let profile = Profile::new(&program(), None, &runs, &[30.0], None);
    assert_eq!((profile.total_us, profile.gaps_us), (0.0, 0.0));
    let groups = profile.by(By::Layer);
    assert!(groups.iter().all(|g| g.share == 0.0 && g.cost.gflops == 0.0));
}
