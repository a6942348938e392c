//! `unnoise` samples from diffusion models: a whole reverse trajectory - every network evaluation,
//! guidance, noise draw and solver update - is compiled once into a [`program::Program`] and run on
//! a device that is asked for nothing until the samples are there.
//!
//! Open a model, compile a sampler, sample, look at the numbers:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//! use unnoise::backend::Observer;
//! use unnoise::backend::select::{self, DeviceSpec};
//! use unnoise::model::Model;
//! use unnoise::sampler::{Classes, Request, Sampler};
//!
//! # fn main() -> unnoise::error::Result<()> {
//! let model = Model::open("digits")?; // or a folder in diffusers' layout
//! let device = select::open(&DeviceSpec::Cpu)?; // DeviceSpec::Auto prefers a GPU
//!
//! let request = Request {
//!     classes: Classes::List(vec![3, 8]), // sample i takes class i modulo the list
//!     count: 2,
//!     steps: Some(4),
//!     seed: 1,
//!     ..Request::default()
//! };
//! let mut sampler = Sampler::compile(&model, &request, &*device.backend)?;
//!
//! let stop = AtomicBool::new(false);
//! let mut observer = Observer { stop: &stop, rows_done: &mut |_rows| {} };
//! let samples = sampler.sample(&[0, 1], &mut observer)?;
//!
//! assert_eq!(sampler.shape(), [1, 32, 32]);
//! assert_eq!(samples.data.len(), 2 * 32 * 32); // f32 [n, C, H, W] in the model's range
//! assert!(samples.data.iter().all(|x| x.abs() <= 1.0));
//! assert_eq!(samples.stats.readbacks, 1);
//! println!("{} launches a step", sampler.report().launches_per_step);
//! # Ok(())
//! # }
//! ```
//!
//! The rooms, in the order in which data flows through them: [`model`] and [`weights`] read what
//! a person has; [`graph`] is the network in plain layers; [`solver`] records a trajectory as a
//! table; [`plan`] decides what leaves the loop, what fuses and where values live; [`program`]
//! joins the two; [`backend`] runs it, one kernel of [`ops`] after another; [`output`] writes what
//! came of it; [`picture`] draws the plan that [`sampler::inspect()`] tells of; [`features`] are
//! what a classifier makes of samples, and [`metrics`] how far they are from those of a reference.

pub mod backend;
pub mod bench;
mod beside;
pub mod error;
pub mod features;
pub mod graph;
mod json;
mod lock;
pub mod metrics;
pub mod model;
pub mod noise;
pub mod ops;
pub mod output;
pub mod picture;
pub mod plan;
pub mod profile;
pub mod program;
pub mod sampler;
pub mod solver;
pub mod tensor;
pub mod weights;
