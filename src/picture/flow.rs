//! What both pictures of the graph show: the layers of the network, and the launches that compute
//! them.

use crate::sampler::{Inspection, LaunchRow};

/// A layer or a launch.
pub(super) struct Item<'a> {
    /// What computes it.
    pub kind: &'a str,
    pub name: &'a str,
    /// Of the value that it leaves.
    pub shape: &'a [usize],
    /// The layers that a launch computes.
    pub layers: &'a [String],
    /// What alone it depends on, if it runs before the loop.
    pub hoisted: Option<&'a str>,
    /// Its number among the launches, or those of the launches that compute it.
    pub number: String,
    /// The items that it reads, by position.
    pub reads: Vec<usize>,
}

/// The launches before the loop, then those of a step, with their positions in the plan.
fn launches(inspection: &Inspection) -> Vec<(usize, &LaunchRow)> {
    let positions = (0..inspection.launches_hoisted).chain(inspection.step.clone());
    positions.map(|at| (at, &inspection.plan[at])).collect()
}

/// `p3`, the third before the loop, or `3`, the third of a step.
pub(super) fn number(position: usize, hoisted: usize) -> String {
    match position.checked_sub(hoisted) {
        None => format!("p{}", position + 1),
        Some(step) => (step + 1).to_string(),
    }
}

/// The layers in evaluation order.
pub(super) fn before(inspection: &Inspection) -> Vec<Item<'_>> {
    let launches = launches(inspection);
    let layers = inspection.graph.iter().enumerate().map(|(id, layer)| {
        let by = launches.iter().enumerate().filter(|(_, (_, row))| row.nodes.contains(&id));
        let hoisted = inspection.launches_hoisted;
        let numbers = by.clone().map(|(at, _)| format!("#{}", number(at, hoisted)));
        Item {
            kind: layer.layer,
            name: &layer.name,
            shape: &layer.shape,
            layers: &[],
            hoisted: by.clone().find_map(|(_, (_, row))| row.hoisted),
            number: numbers.collect::<Vec<_>>().join(" "),
            reads: layer.inputs.clone(),
        }
    });
    layers.collect()
}

/// The launches in order.
pub(super) fn after(inspection: &Inspection) -> Vec<Item<'_>> {
    let launches = launches(inspection);
    let position = |plan: &usize| launches.iter().position(|(at, _)| at == plan);
    let items = launches.iter().enumerate().map(|(at, (_, row))| Item {
        kind: row.kernel,
        name: &row.layer,
        shape: &row.shape,
        layers: &row.layers,
        hoisted: row.hoisted,
        number: format!("#{}", number(at, inspection.launches_hoisted)),
        reads: row.reads.iter().filter_map(position).collect(),
    });
    items.collect()
}
