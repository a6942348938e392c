//! What a device can do at most, and how long a launch takes at least because of that. It is
//! measured once ([`Peak::measure`]) and kept on disk ([`Kept`]).

mod kept;
mod measure;
mod timing;

pub use kept::Kept;

use super::{Backend, Observer};
use crate::error::Result;
use crate::ops::Method;
use crate::tensor::DType;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The rates of a device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// 1e9 bytes a second, read and written, of a copy.
    pub gbps: f64,
    /// 1e9 operations a second in f32, two for a multiply-add.
    pub gflops_f32: f64,
    /// The same in f16; none where it cannot be stored. Matrix units do more.
    pub gflops_f16: Option<f64>,
    /// The same of matrix units with operands in f16 and in bf16 and sums in f32, by the
    /// instruction that kernels use; none where they use none.
    pub gflops_matrix_f16: Option<f64>,
    pub gflops_matrix_bf16: Option<f64>,
    /// Microseconds of a launch that has next to nothing to do and waits for the one before it.
    pub launch_us: f64,
    /// By how much the fastest run of a measurement was faster than the next, as a part of its
    /// time: the largest of all figures.
    pub spread: f64,
}

/// What a launch cannot be faster for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Its operations.
    Compute,
    /// The bytes that it moves.
    Memory,
    /// That it is one.
    Launch,
}

impl Bound {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Bound::Compute => "compute",
            Bound::Memory => "memory",
            Bound::Launch => "launch",
        }
    }
}

/// The least time that a launch can take on a device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Floor {
    pub us: f64,
    pub bound: Bound,
}

impl Peak {
    /// A spread above this says that the device, or what measured it, was busy with other work.
    pub const SETTLED: f64 = 0.05;

    /// The least time of a launch of `flops` operations that moves `bytes`: the roofline model
    /// (Williams, Waterman & Patterson 2009), and the time of a launch with nothing to do. `units`
    /// says by which method a product is computed, and what type its operands have.
    pub fn floor(&self, flops: u64, bytes: u64, units: Option<(Method, DType)>) -> Floor {
        let compute = flops as f64 / self.gflops(units) / 1e3;
        let memory = bytes as f64 / self.gbps / 1e3;
        let all =
            [(self.launch_us, Bound::Launch), (memory, Bound::Memory), (compute, Bound::Compute)];
        let longest = |a: (f64, Bound), b: (f64, Bound)| if b.0 > a.0 { b } else { a };
        let (us, bound) = all.into_iter().reduce(longest).unwrap_or(all[0]);
        Floor { us, bound }
    }

    /// 1e9 operations a second of these units. Whatever is no product of matrix units is computed
    /// in f32, however it is stored.
    fn gflops(&self, units: Option<(Method, DType)>) -> f64 {
        let of_matrices = match units {
            Some((Method::Matrix | Method::Mma, DType::F16)) => self.gflops_matrix_f16,
            Some((Method::Mma, DType::BF16)) => self.gflops_matrix_bf16,
            _ => None,
        };
        of_matrices.unwrap_or(self.gflops_f32)
    }

    /// Whether every figure was reached twice.
    pub fn is_settled(&self) -> bool {
        self.spread <= Peak::SETTLED
    }

    /// Words for a measurement that did not settle.
    pub fn unsettled(&self) -> Option<String> {
        let percent = 100.0 * self.spread;
        (!self.is_settled()).then(|| {
            format!(
                "the measurement did not settle: its fastest runs lie {percent:.0}% apart; close \
                 what else works and measure again"
            )
        })
    }

    /// How many figures [`Peak::measure`] takes on `backend`.
    pub fn figures(backend: &dyn Backend) -> usize {
        measure::figures(backend).len()
    }

    /// Measures the device of `backend`; takes seconds. `observer` is told how many figures are
    /// done of [`Peak::figures`], and may stop it.
    ///
    /// # Errors
    /// Those of the backend, and `Error::Device` if a result is wrong or a time is too short to be
    /// one.
    pub fn measure(backend: &dyn Backend, observer: &mut Observer) -> Result<Peak> {
        measure::measure(backend, observer)
    }

    /// What `folder` holds for the device of `backend`; else it is measured, and kept there. With
    /// notes about the folder and the measurement.
    ///
    /// # Errors
    /// Those of [`Peak::measure`].
    pub fn of(
        backend: &dyn Backend,
        folder: Option<&Path>,
        observer: &mut Observer,
    ) -> Result<(Kept, Vec<String>)> {
        let identity = backend.identity();
        let (known, note) = folder.map(|f| Kept::load(f, &identity)).unwrap_or_default();
        let mut notes = Vec::from_iter(note);
        if let Some(kept) = known {
            return Ok((kept, notes));
        }
        let kept = Kept::today(Peak::measure(backend, observer)?);
        notes.extend(kept.peak.unsettled());
        notes.extend(folder.and_then(|folder| kept.save(folder, &identity)));
        Ok((kept, notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEAK: Peak = Peak {
        gbps: 100.0,
        gflops_f32: 1000.0,
        gflops_f16: None,
        gflops_matrix_f16: Some(8000.0),
        gflops_matrix_bf16: None,
        launch_us: 5.0,
        spread: 0.01,
    };

    #[test]
    fn a_launch_is_bound_by_what_takes_longest() {
        let floor = |flops, bytes| PEAK.floor(flops, bytes, None);
        assert_eq!(floor(0, 0), Floor { us: 5.0, bound: Bound::Launch });
        assert_eq!(floor(1_000_000, 1_000_000), Floor { us: 10.0, bound: Bound::Memory });
        assert_eq!(floor(20_000_000, 1_000_000), Floor { us: 20.0, bound: Bound::Compute });
    }

    #[test]
    fn a_product_of_matrix_units_is_held_to_their_peak() {
        let floor = |units| PEAK.floor(80_000_000, 0, units).us;
        assert_eq!(floor(None), 80.0);
        for method in [Method::Tiled, Method::Subgroup] {
            assert_eq!(floor(Some((method, DType::F16))), 80.0);
        }
        for method in [Method::Matrix, Method::Mma] {
            assert_eq!(floor(Some((method, DType::F16))), 10.0);
        }
        // Where they were not measured.
        assert_eq!(floor(Some((Method::Mma, DType::BF16))), 80.0);
        let both = Peak { gflops_matrix_bf16: Some(4000.0), ..PEAK };
        assert_eq!(both.floor(80_000_000, 0, Some((Method::Mma, DType::BF16))).us, 20.0);
    }

    #[test]
    fn what_did_not_settle_says_by_how_much() {
        assert_eq!(PEAK.unsettled(), None);
        let words = Peak { spread: 0.25, ..PEAK }.unsettled().unwrap();
        assert!(words.contains("25% apart"), "{words}");
    }
}
