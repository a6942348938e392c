//! Placement: values that are never alive together share a slot.

use std::cmp::Reverse;

/// When a value is written and when it is read for the last time, in steps of one list of
/// launches, and how much it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub first: usize,
    pub last: usize,
    pub bytes: usize,
    /// Only values of one class share slots (the element type).
    pub class: usize,
}

/// Which slot each value has, and how large the slots are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    pub slot: Vec<usize>,
    /// Bytes and class of each slot.
    pub slots: Vec<(usize, usize)>,
    /// The most bytes alive at one step: no placement needs less.
    pub lower_bound: usize,
}

impl Placement {
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(|s| s.0).sum()
    }
}

/// Swaps tried to improve on the best order; a few milliseconds for a hundred values.
const SWAPS: usize = 200;

/// Places values; of several orders in which to hand out slots the one that needs the least.
///
/// A value is alive from its first to its last step inclusive, so a kernel never writes a slot that
/// it reads. No order is best for every network (Pisarchyk & Lee 2020, arXiv:2001.03288, compare
/// them): by size, by the breadth of the step (the bytes alive at it), as the launches run, and
/// backwards; the best of these is improved by swaps.
pub fn place(values: &[Lifetime]) -> Placement {
    let steps = values.iter().map(|v| v.last + 1).max().unwrap_or(0);
    let mut breadth = vec![0; steps];
    for value in values {
        breadth[value.first..=value.last].iter_mut().for_each(|b| *b += value.bytes);
    }
    let widest = |v: &Lifetime| breadth[v.first..=v.last].iter().copied().max();
    let orders = [
        sorted(values, |v| (Reverse(v.bytes), Reverse(v.last - v.first), v.first)),
        sorted(values, |v| (Reverse(widest(v)), Reverse(v.bytes), v.first)),
        sorted(values, |v| (v.first, Reverse(v.bytes))),
        sorted(values, |v| (Reverse(v.last), Reverse(v.bytes))),
    ];
    let placed = orders.into_iter().map(|order| (hand_out(values, &order), order));
    let best = placed.min_by_key(|(placement, _)| placement.bytes());
    let (best, order) = best.unwrap_or_default();
    let mut best = improve(values, best, order);
    best.lower_bound = breadth.into_iter().max().unwrap_or(0);
    best
}

/// Swaps two turns at a time and keeps what does not need more.
fn improve(values: &[Lifetime], mut best: Placement, mut order: Vec<usize>) -> Placement {
    // Knuth's MMIX generator: the same graph always gets the same placement.
    let mut state = 1_u64;
    let mut below = |n: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for _ in 0..if order.len() > 1 { SWAPS } else { 0 } {
        let (a, b) = (below(order.len()), below(order.len()));
        order.swap(a, b);
        let next = hand_out(values, &order);
        if next.bytes() <= best.bytes() {
            best = next;
        } else {
            order.swap(a, b);
        }
    }
    best
}

fn sorted<K: Ord>(values: &[Lifetime], key: impl Fn(&Lifetime) -> K) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&i| key(&values[i]));
    order
}

/// Each value in turn takes the smallest slot that is free for its whole life and large enough,
/// else makes the largest free one grow, else a new one.
fn hand_out(values: &[Lifetime], order: &[usize]) -> Placement {
    let mut placed = Placement { slot: vec![usize::MAX; values.len()], ..Placement::default() };
    let mut tenants: Vec<Vec<usize>> = Vec::new();
    for &id in order {
        let value = values[id];
        let overlaps = |other: &usize| {
            let other = values[*other];
            value.first <= other.last && other.first <= value.last
        };
        let free = (0..tenants.len())
            .filter(|&s| placed.slots[s].1 == value.class && !tenants[s].iter().any(overlaps));
        // Too small by little comes after too large by little.
        let slot = free.min_by_key(|&s| {
            let size = placed.slots[s].0;
            (size < value.bytes, size.abs_diff(value.bytes))
        });
        let slot = slot.unwrap_or_else(|| {
            tenants.push(Vec::new());
            placed.slots.push((0, value.class));
            tenants.len() - 1
        });
        placed.slots[slot].0 = placed.slots[slot].0.max(value.bytes);
        tenants[slot].push(id);
        placed.slot[id] = slot;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_alive_together_never_share(
            spans in prop::collection::vec((0usize..30, 0usize..8, 1usize..100, 0usize..2), 1..40)
        ) {
            let values: Vec<Lifetime> = spans
                .iter()
                .map(|&(first, n, bytes, class)| Lifetime { first, last: first + n, bytes, class })
                .collect();
            let placed = place(&values);
            for (i, a) in values.iter().enumerate() {
                prop_assert!(placed.slots[placed.slot[i]].0 >= a.bytes);
                prop_assert_eq!(placed.slots[placed.slot[i]].1, a.class);
                for (j, b) in values.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    prop_assert!(!(together && placed.slot[i] == placed.slot[j]));
                }
            }
            prop_assert!(placed.bytes() >= placed.lower_bound);
        }
    }
}
