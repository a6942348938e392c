//! Where the edges of a column of boxes run: beside it, each value in a lane of its own.

/// A value that a box leaves and others read further down, from one row to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bus {
    pub from: usize,
    /// In order.
    pub to: Vec<usize>,
    /// 0 is next to the boxes.
    pub lane: usize,
}

/// The edges of a column: those that go to the next row run straight, all others in lanes.
pub(super) struct Edges {
    /// The row that each begins at.
    pub straight: Vec<usize>,
    pub buses: Vec<Bus>,
}

/// Lays out the edges of rows that read rows above them. What a row is read by lies in one lane,
/// and the shorter a lane is, the nearer it lies.
pub(super) fn edges<'a>(reads: impl Iterator<Item = &'a [usize]>) -> Edges {
    let mut readers: Vec<Vec<usize>> = Vec::new();
    let mut straight = Vec::new();
    for (row, reads) in reads.enumerate() {
        readers.push(Vec::new());
        for &read in reads {
            match read + 1 == row {
                true => straight.push(read),
                false => readers[read].push(row),
            }
        }
    }
    let read = readers.into_iter().enumerate().filter(|(_, to)| !to.is_empty());
    let mut buses: Vec<Bus> = read.map(|(from, to)| Bus { from, to, lane: 0 }).collect();
    buses.sort_by_key(|bus| (bus.end() - bus.from, bus.from));
    for i in 0..buses.len() {
        let meets = |other: &&Bus| other.from < buses[i].end() && buses[i].from < other.end();
        let taken: Vec<usize> = buses[..i].iter().filter(meets).map(|bus| bus.lane).collect();
        buses[i].lane = (0..).find(|lane| !taken.contains(lane)).unwrap_or_default();
    }
    Edges { straight, buses }
}

impl Bus {
    fn end(&self) -> usize {
        self.to.last().copied().unwrap_or(self.from)
    }
}

impl Edges {
    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.buses.iter().map(|bus| bus.lane + 1).max().unwrap_or(0)
    }
}
