//! Cooperative matrices: which of them an adapter has, where they are left alone, and whether they
//! compute what they should.

use super::gpu::Gpu;
use super::prepare::prepare_on;
use crate::backend::alone::NoWeights;
use crate::backend::trial;
use crate::error::Result;
use crate::ops::{Facts, Method};
use crate::program::Program;
use crate::tensor::DType;
use wgpu::{CooperativeMatrixProperties, CooperativeScalarType};

/// Adapters whose matrices are worse than none.
struct Denied {
    /// PCI vendor.
    vendor: u32,
    applies: fn(&wgpu::AdapterInfo) -> bool,
    why: &'static str,
}

const DENIED: &[Denied] = &[Denied {
    vendor: 0x8086,
    // Subgroups of 8 are what tells the generations apart.
    applies: |info| info.subgroup_min_size < 16,
    why: "Intel before Xe2, where they are slower than scalar code",
}];

/// Why the matrices of an adapter are not used, if it is on the list.
pub(super) fn denied(info: &wgpu::AdapterInfo) -> Option<&'static str> {
    let entry = DENIED.iter().find(|d| d.vendor == info.vendor && (d.applies)(info));
    entry.map(|denied| denied.why)
}

/// One configuration: `16x16x16 f16 f32`, rows x columns x depth, operands, sums.
pub(super) fn words(matrix: &CooperativeMatrixProperties) -> String {
    let scalar = |scalar| match scalar {
        CooperativeScalarType::F32 => "f32",
        CooperativeScalarType::F16 => "f16",
        CooperativeScalarType::I32 => "i32",
        CooperativeScalarType::U32 => "u32",
    };
    let CooperativeMatrixProperties { m_size, n_size, k_size, ab_type, cr_type, .. } = *matrix;
    format!("{m_size}x{n_size}x{k_size} {} {}", scalar(ab_type), scalar(cr_type))
}

/// The side of the largest square ones with f16 operands and f32 sums: 8 or 16.
pub(super) fn side(matrices: &[CooperativeMatrixProperties]) -> Option<u32> {
    let fits = |m: &&CooperativeMatrixProperties| {
        let square = m.m_size == m.n_size && m.n_size == m.k_size && [8, 16].contains(&m.m_size);
        let types = (m.ab_type, m.cr_type);
        square && types == (CooperativeScalarType::F16, CooperativeScalarType::F32)
    };
    matrices.iter().filter(fits).map(|m| m.m_size).max()
}

/// What the device can do for `program`, and a note if its matrices turned out to be wrong: they
/// are tried once, when a program that could use them is prepared.
pub(super) fn facts(gpu: &Gpu, program: &Program) -> Result<(Facts, Option<String>)> {
    let facts = gpu.info.facts();
    if facts.matrix == 0 || !program.slots.iter().any(|slot| slot.dtype == DType::F16) {
        return Ok((facts, None));
    }
    let fault = match gpu.matrix_fault.get() {
        Some(fault) => fault,
        None => {
            let fault = fault(gpu, facts)?;
            gpu.matrix_fault.get_or_init(|| fault)
        }
    };
    Ok(judged(facts, fault.as_deref()))
}

/// What is left to a device whose matrices have that fault, and the note.
fn judged(facts: Facts, fault: Option<&str>) -> (Facts, Option<String>) {
    let Some(fault) = fault else { return (facts, None) };
    let note = format!("the cooperative matrices of this device are not used: {fault}");
    (Facts { matrix: 0, ..facts }, Some(note))
}

/// What is wrong with the matrices of the device, if anything is.
///
/// # Errors
/// Fails if the device does not go on afterwards.
fn fault(gpu: &Gpu, facts: Facts) -> Result<Option<String>> {
    let tried = trial::fault(&facts, (Method::Matrix, DType::F16), |program, tuning| {
        Ok(Box::new(prepare_on(gpu, facts, tuning, program, &NoWeights)?))
    });
    tried.or_else(|error| gpu.check().map(|()| Some(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use CooperativeScalarType::{F16, F32};

    fn matrix(side: u32, ab: CooperativeScalarType) -> CooperativeMatrixProperties {
        CooperativeMatrixProperties {
            m_size: side,
            n_size: side,
            k_size: side,
            ab_type: ab,
            cr_type: F32,
            saturating_accumulation: false,
        }
    }

    #[test]
    fn the_largest_square_of_halves_is_taken() {
        assert_eq!(side(&[matrix(8, F32)]), None);
        assert_eq!(side(&[matrix(8, F32), matrix(8, F16)]), Some(8));
        let oblong = CooperativeMatrixProperties { k_size: 8, ..matrix(16, F16) };
        assert_eq!(side(&[matrix(8, F16), oblong]), Some(8));
        assert_eq!(side(&[matrix(8, F16), matrix(16, F16)]), Some(16));
        assert_eq!(words(&oblong), "16x16x8 f16 f32");
    }

    #[test]
    fn the_list_holds_intel_before_xe2_only() {
        let info = |vendor, subgroup_min_size| wgpu::AdapterInfo {
            vendor,
            subgroup_min_size,
            ..wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, wgpu::Backend::Vulkan)
        };
        assert!(denied(&info(0x8086, 8)).is_some());
        assert!(denied(&info(0x8086, 16)).is_none());
        assert!(denied(&info(0x10de, 32)).is_none());
    }

    #[test]
    fn a_fault_leaves_scalar_kernels_and_a_note() {
        let facts = Facts { matrix: 16, ..Facts::LEAST };
        assert_eq!(judged(facts, None), (facts, None));
        let (left, note) = judged(facts, Some("element 3 of a product was 1 where 2 is right"));
        assert_eq!(left, Facts::LEAST);
        assert!(note.unwrap().ends_with("not used: element 3 of a product was 1 where 2 is right"));
    }
}
