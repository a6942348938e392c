//! Placement: values lie at offsets in a few arenas, and those never alive together may overlap.

use std::cmp::Reverse;
use std::fmt;

/// Offsets are multiples of this many bytes: no device asks for more
/// (`minStorageBufferOffsetAlignment` of WebGPU), and no kernel accesses more at once.
pub const ALIGN: u64 = 256;

/// Where a value lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub arena: usize,
    /// Bytes from the arena's start, a multiple of [`ALIGN`].
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arena {} at {}", self.arena, self.offset)
    }
}

/// When a value is written and when it is read for the last time, in steps of one list of
/// launches, and how much it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub first: usize,
    pub last: usize,
    pub bytes: u64,
    /// The values that its kernel reads, by position.
    pub reads: Vec<usize>,
}

impl Lifetime {
    fn meets(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Bytes up to where the next value may begin.
    fn room(&self) -> u64 {
        self.bytes.next_multiple_of(ALIGN)
    }
}

/// Where each value lies, and how large the arenas are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    pub places: Vec<Place>,
    /// Bytes of each arena.
    pub arenas: Vec<u64>,
    /// The most bytes alive at one step: no placement needs less.
    pub lower_bound: u64,
}

/// Places values in two steps: which arena each lies in, then where.
///
/// A device buffer must not be read and written by one launch, not even in different places
/// (WebGPU, "usage scope"), so a value never shares an arena with what its kernel reads. Arenas
/// are a colouring of that graph: the fewest colours that a first pass finds, then changed step by
/// step to need less. A value is alive from its first to its last step inclusive.
pub fn place(values: &[Lifetime]) -> Placement {
    let mut apart = vec![Vec::new(); values.len()];
    for (id, value) in values.iter().enumerate() {
        for &read in &value.reads {
            apart[id].push(read);
            apart[read].push(id);
        }
    }
    let first = (0..=values.len()).find_map(|most| Arenas::first(values, &apart, most));
    let Some(mut arenas) = first else { return Placement::default() };
    arenas.improve();
    let mut placement = Placement {
        places: vec![Place::default(); values.len()],
        arenas: Vec::new(),
        lower_bound: peak(&breadth(values, |value| value.bytes)),
    };
    for arena in 0..arenas.alive.len() {
        let tenants = (0..values.len()).filter(|id| arenas.of[*id] == arena).collect();
        let (offsets, bytes) = pack(values, tenants);
        placement.arenas.push(bytes);
        for (id, offset) in offsets {
            placement.places[id] = Place { arena, offset };
        }
    }
    placement
}

/// Bytes alive at each step.
fn breadth(values: &[Lifetime], bytes: impl Fn(&Lifetime) -> u64) -> Vec<u64> {
    let steps = values.iter().map(|v| v.last + 1).max().unwrap_or(0);
    let mut breadth = vec![0; steps];
    for value in values {
        breadth[value.first..=value.last].iter_mut().for_each(|b| *b += bytes(value));
    }
    breadth
}

/// Which arena each value lies in.
struct Arenas<'a> {
    values: &'a [Lifetime],
    /// For each value those that must lie in other arenas.
    apart: &'a [Vec<usize>],
    of: Vec<usize>,
    /// For each arena the bytes alive at each step.
    alive: Vec<Vec<u64>>,
}

/// Changes tried to improve on the first colouring: a few milliseconds for a hundred values.
const CHANGES: usize = 4000;

impl<'a> Arenas<'a> {
    /// Gives each value in turn the arena of `most` that grows least; `None` if none is left that
    /// it may lie in.
    fn first(values: &'a [Lifetime], apart: &'a [Vec<usize>], most: usize) -> Option<Self> {
        let steps = breadth(values, Lifetime::room).len();
        let of = vec![usize::MAX; values.len()];
        let mut arenas = Arenas { values, apart, of, alive: vec![vec![0; steps]; most] };
        for (id, value) in values.iter().enumerate() {
            let open = |arena: &usize| apart[id].iter().all(|other| arenas.of[*other] != *arena);
            let growth = |arena: &usize| {
                let alive = &arenas.alive[*arena];
                let then = alive[value.first..=value.last].iter().max().copied();
                (then.unwrap_or(0) + value.room()).saturating_sub(peak(alive))
            };
            let arena = (0..most).filter(open).min_by_key(growth)?;
            arenas.of[id] = arena;
            arenas.life(id, arena).for_each(|bytes| *bytes += value.room());
        }
        Some(arenas)
    }

    /// The bytes alive in an arena at the steps of a value's life.
    fn life(&mut self, id: usize, arena: usize) -> impl Iterator<Item = &mut u64> {
        let value = &self.values[id];
        self.alive[arena][value.first..=value.last].iter_mut()
    }

    /// What the arenas need together, before offsets.
    fn bytes(&self) -> u64 {
        self.alive.iter().map(|alive| peak(alive)).sum()
    }

    /// Brings values to other arenas at random and keeps what does not need more.
    fn improve(&mut self) {
        if self.alive.len() < 2 {
            return;
        }
        // Knuth's MMIX generator: the same graph always gets the same placement.
        let mut state = 1_u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005);
            state = state.wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        let least = peak(&breadth(self.values, Lifetime::room));
        let mut best = self.bytes();
        for _ in 0..CHANGES {
            if best == least {
                break;
            }
            let id = below(self.values.len());
            let to = (self.of[id] + 1 + below(self.alive.len() - 1)) % self.alive.len();
            let (from, chain) = (self.of[id], self.chain(id, to));
            self.exchange(&chain, from, to);
            let bytes = self.bytes();
            if bytes <= best {
                best = bytes;
            } else {
                self.exchange(&chain, from, to);
            }
        }
    }

    /// The values that have to change places with each other if `id` moves to arena `to`: those of
    /// the two arenas that hang together (a Kempe chain).
    fn chain(&self, id: usize, to: usize) -> Vec<usize> {
        let pair = [self.of[id], to];
        let mut chain = vec![id];
        let mut next = 0;
        while let Some(&link) = chain.get(next) {
            next += 1;
            for &other in &self.apart[link] {
                if pair.contains(&self.of[other]) && !chain.contains(&other) {
                    chain.push(other);
                }
            }
        }
        chain
    }

    /// Brings the values of a chain from one of two arenas to the other.
    fn exchange(&mut self, chain: &[usize], a: usize, b: usize) {
        for &id in chain {
            let (from, to) = if self.of[id] == a { (a, b) } else { (b, a) };
            let room = self.values[id].room();
            self.life(id, from).for_each(|bytes| *bytes -= room);
            self.life(id, to).for_each(|bytes| *bytes += room);
            self.of[id] = to;
        }
    }
}

fn peak(alive: &[u64]) -> u64 {
    alive.iter().max().copied().unwrap_or(0)
}

/// Offsets of the values of one arena and its size, of several orders in which to hand them out
/// the one that needs the least (Pisarchyk & Lee 2020, arXiv:2001.03288, compare them).
fn pack(values: &[Lifetime], tenants: Vec<usize>) -> (Vec<(usize, u64)>, u64) {
    let sorted = |key: fn(&Lifetime) -> (Reverse<u64>, usize)| {
        let mut order = tenants.clone();
        order.sort_by_key(|id| key(&values[*id]));
        order
    };
    let orders = [
        sorted(|v| (Reverse(v.bytes), v.first)),
        sorted(|v| (Reverse((v.last - v.first) as u64), v.first)),
        sorted(|v| (Reverse(0), v.first)),
    ];
    let packed = orders.into_iter().map(|order| hand_out(values, &order));
    packed.min_by_key(|(_, bytes)| *bytes).unwrap_or_default()
}

/// Each value in turn takes the smallest gap between those placed before that are alive with it.
fn hand_out(values: &[Lifetime], order: &[usize]) -> (Vec<(usize, u64)>, u64) {
    let mut placed: Vec<(usize, u64)> = Vec::with_capacity(order.len());
    let mut bytes = 0;
    for &id in order {
        let value = &values[id];
        let taken = placed.iter().filter(|(other, _)| values[*other].meets(value));
        let mut taken: Vec<_> = taken.map(|&(id, at)| (at, at + values[id].room())).collect();
        taken.sort_unstable();
        let (mut end, mut best) = (0, None);
        for (at, next) in taken {
            let gap = at.saturating_sub(end);
            if gap >= value.room() && best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, end));
            }
            end = end.max(next);
        }
        let offset = best.map_or(end, |(_, offset)| offset);
        bytes = bytes.max(offset + value.room());
        placed.push((id, offset));
    }
    (placed, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values written one a step; each reads some of the ones before it.
    fn chain(sizes: &[(u64, Vec<usize>)]) -> Vec<Lifetime> {
        let mut values: Vec<Lifetime> = Vec::new();
        for (id, (bytes, back)) in sizes.iter().enumerate() {
            let reads: Vec<usize> = back.iter().filter_map(|b| id.checked_sub(1 + b)).collect();
            reads.iter().for_each(|read| values[*read].last = id);
            values.push(Lifetime { first: id, last: id, bytes: *bytes, reads });
        }
        values
    }

    proptest! {
        #[test]
        fn values_alive_together_never_overlap_nor_share_an_arena_with_what_is_read(
            sizes in prop::collection::vec(
                (1_u64..3000, prop::collection::vec(0_usize..9, 0..4)),
                0..40,
            )
        ) {
            let values = chain(&sizes);
            let placed = place(&values);
            for (i, (a, at)) in values.iter().zip(&placed.places).enumerate() {
                prop_assert_eq!(at.offset % ALIGN, 0);
                prop_assert!(at.offset + a.room() <= placed.arenas[at.arena]);
                prop_assert!(a.reads.iter().all(|read| placed.places[*read].arena != at.arena));
                for (b, other) in values.iter().zip(&placed.places).take(i) {
                    let apart = at.arena != other.arena
                        || at.offset + a.bytes <= other.offset
                        || other.offset + b.bytes <= at.offset;
                    prop_assert!(apart || !a.meets(b));
                }
            }
            prop_assert!(placed.arenas.iter().sum::<u64>() >= placed.lower_bound);
            prop_assert_eq!(&placed, &place(&values), "placing is a function");
        }
    }

    /// Four values in a row, each reading the one before: two arenas take turns, and values of one
    /// arena lie at its start.
    #[test]
    fn a_row_of_values_takes_turns() {
        let values = chain(&[(512, vec![]), (512, vec![0]), (512, vec![0]), (100, vec![0])]);
        let placed = place(&values);
        assert_eq!(placed.places.iter().map(|p| p.arena).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert!(placed.places.iter().all(|p| p.offset == 0));
        assert_eq!((placed.arenas, placed.lower_bound), (vec![512, 512], 1024));
    }

    /// One large value needs as much as two small ones that live at other times: a buffer for each
    /// of the three would be twice the lower bound.
    #[test]
    fn small_values_share_the_room_of_a_large_one() {
        let values = chain(&[
            (1024, vec![]),
            (256, vec![0]),
            (512, vec![0]),
            (512, vec![1]),
            (256, vec![0, 1]),
        ]);
        let placed = place(&values);
        let total: u64 = placed.arenas.iter().sum();
        assert_eq!(total, placed.lower_bound, "{placed:?}");
    }
}
