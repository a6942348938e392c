//! Matrix units are tried before they are used: a product of whole numbers, whose sums f32 holds
//! exactly and halves do not, must come out right to the last bit.

use super::alone::{self, slot};
use super::tune::Tuning;
use super::{Session, pack::halves};
use crate::error::Result;
use crate::ops::{Call, Facts, Method, RowMap, linear};
use crate::program::{Program, SlotId, Source};
use crate::tensor::DType;
use bytemuck::Zeroable;
use std::sync::Arc;

/// Rows, depth and columns of the product.
const SIZE: u32 = 64;

/// What is wrong with the products of `method` on operands stored as `storage`, if anything is:
/// `prepare` makes the session of a program, its launches cut as it is told.
///
/// # Errors
/// Those of `prepare`, and of the run.
pub(super) fn fault(
    facts: &Facts,
    (method, storage): (Method, DType),
    prepare: impl FnOnce(&Program, &Tuning) -> Result<Box<dyn Session>>,
) -> Result<Option<String>> {
    let (program, expected) = product(storage);
    let tiles = program.bodies[0].launches[0].call.tiles(&[Some(storage); 2], facts);
    let Some(position) = tiles.iter().position(|tile| tile.method == method) else {
        return Ok(Some("a workgroup cannot hold any of their tiles".into()));
    };
    let fixed = Tuning::Fixed(Arc::new(move |_, _| position));
    let mut session = prepare(&program, &fixed)?;
    let mut found = vec![0.0; program.output_len];
    alone::run(&mut *session, &mut found)?;
    Ok(difference(&found, &expected))
}

/// The first difference.
fn difference(found: &[f32], expected: &[f32]) -> Option<String> {
    let pairs = found.iter().zip(expected).enumerate();
    let wrong = pairs.into_iter().find(|(_, (found, expected))| found != expected);
    let (i, (found, expected)) = wrong?;
    Some(format!("element {i} of a product was {found} where {expected} is right"))
}

/// The product and its result.
fn product(storage: DType) -> (Program, Vec<f32>) {
    let n = SIZE as usize;
    let a = |row: usize, k: usize| (7 * row + 13 * k) as i32 % 63 - 31;
    let b = |k: usize, column: usize| (11 * k + 5 * column) as i32 % 61 - 30;
    let matrix = |of: &dyn Fn(usize, usize) -> i32| {
        let values: Vec<f32> = (0..n * n).map(|i| of(i / n, i % n) as f32).collect();
        let bytes = halves(&values, storage).expect("small numbers");
        Source::Table(Arc::from(bytemuck::pod_collect_to_vec::<u8, u32>(&bytes)))
    };
    let slots = vec![
        slot("a", storage, n * n, matrix(&a)),
        slot("b", storage, n * n, matrix(&b)),
        slot("product", DType::F32, n * n, Source::Scratch),
    ];
    let (m, map) = (SIZE, RowMap::IDENTITY);
    let p = linear::Params { map, m, k: m, n: m, hw: m, scale: 1.0, ..Zeroable::zeroed() };
    let mut args = vec![None; Call::from(p).args().len()];
    args[..2].copy_from_slice(&[Some(SlotId(0)), Some(SlotId(1))]);
    args[6] = Some(SlotId(2));
    let launches = vec![alone::launch("trial", p.into(), args)];
    let program = alone::one_row("trial", slots, launches, (SlotId(2), n * n));
    let sum = |i: usize| (0..n).map(|k| a(i / n, k) * b(k, i % n)).sum::<i32>() as f32;
    (program, (0..n * n).map(sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn sums_in_halves_or_a_transposed_operand_are_found_out() {
        for storage in [DType::F16, DType::BF16] {
            let (program, expected) = product(storage);
            program.validate().unwrap();
            assert_eq!(difference(&expected, &expected), None);
            let round = |v: &f32| match storage {
                DType::F16 => f16::from_f32(*v).to_f32(),
                _ => bf16::from_f32(*v).to_f32(),
            };
            let rounded: Vec<f32> = expected.iter().map(round).collect();
            assert!(difference(&rounded, &expected).is_some());
            let n = SIZE as usize;
            let turned: Vec<f32> = (0..n * n).map(|i| expected[i % n * n + i / n]).collect();
            assert!(difference(&turned, &expected).is_some());
        }
    }

    #[test]
    fn a_method_that_has_no_tile_here_is_at_fault() {
        let prepare = |_: &Program, _: &Tuning| unreachable!("there is nothing to prepare");
        let found = fault(&Facts::LEAST, (Method::Mma, DType::F16), prepare).unwrap();
        assert!(found.unwrap().contains("cannot hold"));
    }
}
