//! Runs that begin with pictures, or keep a part of them: what each task takes, and what becomes
//! of it in [`solver::Edit`].

use crate::error::{Error, Result};
use crate::model::Model;
use crate::solver::{self, Projection, SolverInfo, Start};
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Arrays of one size, shared by those who hold them.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays {
    /// `[n, C, H, W]`; pictures are in the model's range.
    pub data: Arc<[f32]>,
    pub shape: [usize; 4],
}

impl Arrays {
    /// # Panics
    /// If the data have another length than the shape.
    pub fn new(data: Vec<f32>, shape: [usize; 4]) -> Arrays {
        assert_eq!(data.len(), shape.iter().product::<usize>(), "the elements of {shape:?}");
        Arrays { data: data.into(), shape }
    }

    /// Array `i` modulo how many there are.
    fn cycle(&self, i: usize) -> &[f32] {
        let numel: usize = self.shape[1..].iter().product();
        &self.data[i % self.shape[0] * numel..][..numel]
    }

    /// What tells them from others.
    fn name(&self) -> String {
        let [n, c, h, w] = self.shape;
        format!("{n}x{c}x{h}x{w} {:016x}", xxh3_64(bytemuck::cast_slice(&self.data)))
    }
}

/// What a run does with known data; sample i takes array i modulo how many there are.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Noise is added to pictures and taken away again (SDEdit, Meng et al. 2021,
    /// arXiv:2108.01073): of n steps the last `floor(n strength)`, 0.8 of them if none is given. An
    /// inversion takes them as they are.
    Vary { pictures: Arrays, strength: Option<f64> },
    /// What the mask leaves is kept; masks are `[n, 1, H, W]`, 1 where pixels are redrawn, 0 where
    /// they are kept. With a strength below 1 (the default) the run starts at the pictures.
    Inpaint { pictures: Arrays, masks: Arrays, strength: Option<f64> },
    /// Grey pictures `[n, 1, H, W]` become coloured: the mean of each pixel's channels is kept.
    Colorize { pictures: Arrays },
    /// Small pictures become large ones, whose means over squares are kept.
    Upscale { pictures: Arrays },
    /// Runs start at states that others left, as an inversion does.
    Resume { states: Arrays },
    /// The same between states: sample i of N is the i-th of N places along the way through all of
    /// them, spherical between two ([`slerp`]).
    Interpolate { states: Arrays },
}

/// A task made ready for a model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Editing {
    pub edit: solver::Edit,
    pub projection: Projection,
    known: Arrays,
    masks: Option<Arrays>,
}

/// The share of the steps that varies a picture without losing it.
const STRENGTH: f64 = 0.8;

impl Editing {
    /// Checks a task of `count` samples against the model and the solver.
    pub fn new(task: &Task, model: &Model, solver: &SolverInfo, count: usize) -> Result<Editing> {
        let [c, h, w] = model.state;
        let inverts = solver.inverts();
        let start = |start, strength: f64| solver::Edit { start, strength, keep: false };
        let plain = |edit, known: &Arrays| Editing {
            edit,
            projection: Projection::Mask,
            known: known.clone(),
            masks: None,
        };
        match task {
            Task::Vary { pictures, strength } => {
                fits("--init", pictures, [c, h, w])?;
                let default = if inverts { 1.0 } else { STRENGTH };
                let strength = checked(strength.unwrap_or(default))?;
                let from = if inverts { Start::State } else { Start::Known };
                Ok(plain(start(from, strength), pictures))
            }
            Task::Inpaint { pictures, masks, strength } => {
                fits("--init", pictures, [c, h, w])?;
                fits("--mask", masks, [1, h, w])?;
                in_range(masks)?;
                let strength = checked(strength.unwrap_or(1.0))?;
                let from = if strength < 1.0 { Start::Known } else { Start::Noise };
                let edit = solver::Edit { keep: true, ..start(from, strength) };
                Ok(Editing { masks: Some(masks.clone()), ..plain(edit, pictures) })
            }
            Task::Colorize { .. } | Task::Upscale { .. } if model.decoder.is_some() => {
                let flag = if let Task::Upscale { .. } = task { "--upscale" } else { "--colorize" };
                let what = format!("{flag} for model '{}'", model.name);
                let action = "use a model of pixels";
                Err(Error::invalid(what, "a model whose state is a picture", "latents", action))
            }
            Task::Colorize { pictures } => {
                if c == 1 {
                    let what = format!("--colorize for model '{}'", model.name);
                    let action = "use a model of coloured pictures";
                    return Err(Error::invalid(what, "a model of several channels", "1", action));
                }
                fits("--colorize", pictures, [1, h, w])?;
                let edit = solver::Edit { keep: true, ..solver::Edit::default() };
                let known = coloured(pictures, c);
                Ok(Editing { projection: Projection::Channels, ..plain(edit, &known) })
            }
            Task::Upscale { pictures } => {
                let side = factor(pictures, [c, h, w])?;
                let edit = solver::Edit { keep: true, ..solver::Edit::default() };
                let known = enlarged(pictures, side);
                Ok(Editing { projection: Projection::Squares(side), ..plain(edit, &known) })
            }
            Task::Resume { states } => {
                fits("--latent", states, [c, h, w])?;
                Ok(plain(start(Start::State, 1.0), states))
            }
            Task::Interpolate { states } => {
                fits("--latent", states, [c, h, w])?;
                let known = interpolated(states, count)?;
                Ok(plain(start(Start::State, 1.0), &known))
            }
        }
    }

    /// The known data of the samples with these indices, and their masks.
    pub fn inputs(&self, indices: impl Iterator<Item = usize>) -> (Vec<f32>, Vec<f32>) {
        let (mut known, mut mask) = (Vec::new(), Vec::new());
        for index in indices {
            known.extend_from_slice(self.known.cycle(index));
            mask.extend(self.masks.iter().flat_map(|masks| masks.cycle(index)));
        }
        (known, mask)
    }
}

impl Task {
    /// What tells this task from others, by flag.
    pub(super) fn say(&self, said: &mut BTreeMap<String, String>) {
        let mut say = |flag: &str, value: String| said.insert(flag.into(), value);
        match self {
            Task::Vary { pictures, strength } | Task::Inpaint { pictures, strength, .. } => {
                say("init", pictures.name());
                strength.map(|strength| say("strength", strength.to_string()));
                if let Task::Inpaint { masks, .. } = self {
                    say("mask", masks.name());
                }
            }
            Task::Colorize { pictures } => drop(say("colorize", pictures.name())),
            Task::Upscale { pictures } => drop(say("upscale", pictures.name())),
            Task::Resume { states } => drop(say("latent", states.name())),
            Task::Interpolate { states } => {
                say("latent", states.name());
                say("interpolate", "true".into());
            }
        }
    }
}

fn checked(strength: f64) -> Result<f64> {
    if strength > 0.0 && strength <= 1.0 {
        return Ok(strength);
    }
    Err(Error::invalid(
        "--strength",
        "a number above 0, up to 1",
        strength.to_string(),
        "1 keeps nothing of the picture's details, 0.2 most",
    ))
}

/// Fails unless every array is `[C, H, W]`.
fn fits(flag: &str, arrays: &Arrays, wanted: [usize; 3]) -> Result<()> {
    let [n, c, h, w] = arrays.shape;
    if n > 0 && [c, h, w] == wanted {
        return Ok(());
    }
    let [wc, wh, ww] = wanted;
    Err(Error::invalid(
        flag,
        format!("one or more of {wc} channels, {wh} high and {ww} wide, as the model has"),
        format!("{n} of {c} channels, {h} high and {w} wide"),
        "crop or scale them beforehand",
    ))
}

fn in_range(masks: &Arrays) -> Result<()> {
    match masks.data.iter().find(|m| !(0.0..=1.0).contains(*m)) {
        None => Ok(()),
        Some(m) => {
            let action = "0 keeps a pixel, 1 redraws it";
            Err(Error::invalid("--mask", "numbers from 0 to 1", m.to_string(), action))
        }
    }
}

/// The whole number of times that small pictures are to be enlarged.
fn factor(pictures: &Arrays, [c, h, w]: [usize; 3]) -> Result<usize> {
    let [n, own, sh, sw] = pictures.shape;
    let side = h.checked_div(sh).unwrap_or(0);
    if n > 0 && own == c && side > 1 && sh * side == h && sw * side == w {
        return Ok(side);
    }
    Err(Error::invalid(
        "--upscale",
        format!("one or more of {c} channels and a half, a third, .. of {h} high and {w} wide"),
        format!("{n} of {own} channels, {sh} high and {sw} wide"),
        "scale them to such a size beforehand",
    ))
}

/// Each grey channel c times.
fn coloured(pictures: &Arrays, c: usize) -> Arrays {
    let [n, _, h, w] = pictures.shape;
    let channels = |i| std::iter::repeat_n(pictures.cycle(i), c).flatten().copied();
    Arrays::new((0..n).flat_map(channels).collect(), [n, c, h, w])
}

/// Each pixel as a square.
fn enlarged(pictures: &Arrays, side: usize) -> Arrays {
    let [n, c, h, w] = pictures.shape;
    let shape = [n, c, h * side, w * side];
    let pixel = |i: usize| {
        let (x, y) = (i % shape[3], i / shape[3] % shape[2]);
        pictures.data[(i / (shape[2] * shape[3]) * h + y / side) * w + x / side]
    };
    Arrays::new((0..shape.iter().product()).map(pixel).collect(), shape)
}

/// `count` places along the way through all states, both ends among them.
fn interpolated(states: &Arrays, count: usize) -> Result<Arrays> {
    let [n, c, h, w] = states.shape;
    if n < 2 || count < 2 {
        return Err(Error::invalid(
            "--interpolate",
            "two states or more, and two samples or more",
            format!("{n} states, {count} samples"),
            "invert two pictures into one --latent file, and raise --count",
        ));
    }
    let place = |i: usize| {
        let at = i as f64 * (n - 1) as f64 / (count - 1) as f64;
        let from = (at.floor() as usize).min(n - 2);
        slerp(states.cycle(from), states.cycle(from + 1), at - from as f64)
    };
    Ok(Arrays::new((0..count).flat_map(place).collect(), [count, c, h, w]))
}

/// Spherical interpolation (Shoemake 1985; Song et al. 2020, arXiv:2010.02502, eq. 67): with the
/// angle phi between a and b, `(sin((1 - t) phi) a + sin(t phi) b) / sin(phi)`; linear where they
/// point the same way or opposite ways.
pub fn slerp(a: &[f32], b: &[f32], t: f64) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let phi = cosine.clamp(-1.0, 1.0).acos();
    let weights = match phi.sin() {
        sine if sine > 1e-6 => [((1.0 - t) * phi).sin() / sine, (t * phi).sin() / sine],
        _ => [1.0 - t, t],
    };
    let mix = |(a, b): (&f32, &f32)| weights[0] * f64::from(*a) + weights[1] * f64::from(*b);
    a.iter().zip(b).map(|pair| mix(pair) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slerp_keeps_the_length_and_the_angle() {
        let (a, b) = ([2.0, 0.0], [0.0, 2.0]);
        let middle = slerp(&a, &b, 0.5);
        assert!((middle[0] - 2f32.sqrt()).abs() < 1e-6 && middle[0] == middle[1], "{middle:?}");
        assert_eq!(slerp(&a, &b, 0.0), a);
        assert_eq!(slerp(&a, &a, 0.3), a);
    }

    #[test]
    fn pixels_become_squares_and_channels() {
        let small = Arrays::new(vec![1.0, 2.0], [1, 1, 1, 2]);
        let large = enlarged(&small, 2);
        assert_eq!(large.shape, [1, 1, 2, 4]);
        assert_eq!(&large.data[..], [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
        assert_eq!(&coloured(&small, 2).data[..], [1.0, 2.0, 1.0, 2.0]);
    }

    #[test]
    fn the_way_goes_through_every_state() {
        let states = Arrays::new(vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0], [3, 2, 1, 1]);
        let way = interpolated(&states, 5).unwrap();
        assert_eq!(way.shape, [5, 2, 1, 1]);
        let half = 0.5f32.sqrt();
        let expected = [1.0, 0.0, half, half, 0.0, 1.0, -half, half, -1.0, 0.0];
        way.data.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{way:?}"));
    }
}
