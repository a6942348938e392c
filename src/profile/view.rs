//! Launches added up: by row, kernel and layer, or by one of them.

use super::{Launch, Profile};
use crate::backend::roofline::Bound;
use serde::Serialize;
use std::collections::HashMap;
use std::hash::Hash;

/// What launches are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Kernel,
    Layer,
    /// The row of the trajectory.
    Step,
}

impl By {
    /// The words for them.
    pub const NAMES: [(&'static str, By); 3] =
        [("kernel", By::Kernel), ("layer", By::Layer), ("step", By::Step)];
}

/// Launches of one row, kernel and layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// As in [`Launch::step`].
    pub step: Option<usize>,
    pub kernel: &'static str,
    pub layer: String,
    #[serde(flatten)]
    pub cost: Cost,
}

/// Launches that have one thing in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    pub name: String,
    #[serde(flatten)]
    pub cost: Cost,
    /// Its part of the time of all launches.
    pub share: f64,
}

/// What some launches took, and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    pub calls: u64,
    pub us: f64,
    /// The sum of the least that each took in any profiled run.
    pub least_us: f64,
    pub flops: u64,
    pub bytes: u64,
    /// 1e9 operations, and 1e9 bytes, a second.
    pub gflops: f64,
    pub gbps: f64,
    /// What bounds most of the time that the device would need at least.
    pub bound: Option<Bound>,
    /// That least time as a part of the time taken.
    pub roofline: Option<f64>,
}

impl Cost {
    /// Of some launches.
    fn of(launches: &[&Launch]) -> Cost {
        let sum = |of: fn(&Launch) -> f64| launches.iter().map(|l| of(l)).sum::<f64>();
        let us = sum(|l| l.us);
        let (flops, bytes) = launches.iter().fold((0, 0), |(f, b), l| (f + l.flops, b + l.bytes));
        // In 1e9 a second, as many in a microsecond as thousands of them.
        let rate = |work: u64| if us > 0.0 { work as f64 / us / 1e3 } else { 0.0 };
        let floors = || launches.iter().filter_map(|l| l.floor);
        let floor = |bound| floors().filter(|f| f.bound == bound).map(|f| f.us).sum::<f64>();
        let bounds = [Bound::Compute, Bound::Memory, Bound::Launch];
        let bound = bounds.into_iter().max_by(|a, b| floor(*a).total_cmp(&floor(*b)));
        let known = floors().next().is_some() && us > 0.0;
        Cost {
            calls: launches.len() as u64,
            us,
            least_us: sum(|l| l.least_us),
            flops,
            bytes,
            gflops: rate(flops),
            gbps: rate(bytes),
            bound: bound.filter(|_| known),
            roofline: known.then(|| floors().map(|f| f.us).sum::<f64>() / us),
        }
    }
}

/// What has a cost.
impl Profile {
    /// The whole table: a row for each row of the trajectory, kernel and layer, in the order of the
    /// run.
    pub fn rows(&self) -> Vec<Row> {
        let groups = gathered(&self.launches, |l| (l.step, l.kernel, l.layer.clone()));
        let row = |((step, kernel, layer), launches): (_, Vec<&Launch>)| Row {
            step,
            kernel,
            layer,
            cost: Cost::of(&launches),
        };
        groups.into_iter().map(row).collect()
    }

    /// The launches by one thing: the costliest first, or rows in their order.
    pub fn by(&self, by: By) -> Vec<Group> {
        let name = |launch: &Launch| match by {
            By::Kernel => launch.kernel.to_string(),
            By::Layer => launch.layer.clone(),
            By::Step => launch.step.map_or("once".to_string(), |step| step.to_string()),
        };
        let all: f64 = self.launches.iter().map(|launch| launch.us).sum();
        let groups = gathered(&self.launches, name).into_iter().map(|(name, launches)| {
            let cost = Cost::of(&launches);
            Group { name, cost, share: if all > 0.0 { cost.us / all } else { 0.0 } }
        });
        let mut groups: Vec<Group> = groups.collect();
        if by != By::Step {
            groups.sort_by(|a, b| b.cost.us.total_cmp(&a.cost.us));
        }
        groups
    }
}

/// Launches by key, in the order in which keys are met.
fn gathered<K: Clone + Eq + Hash>(
    launches: &[Launch],
    key: impl Fn(&Launch) -> K,
) -> Vec<(K, Vec<&Launch>)> {
    let mut place = HashMap::new();
    let mut groups: Vec<(K, Vec<&Launch>)> = Vec::new();
    for launch in launches {
        let key = key(launch);
        let i = *place.entry(key.clone()).or_insert(groups.len());
        match groups.get_mut(i) {
            Some((_, group)) => group.push(launch),
            None => groups.push((key, vec![launch])),
        }
    }
    groups
}
