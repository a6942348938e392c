//! ConvClassifier: the small classifier of models/train/classifier.py, whose features after the
//! last hidden ReLU are a space for distances.
//!
//! ```text
//! x -> stages of (conv, ReLU, conv, ReLU, maximum over 2x2) -> mean -> linear, ReLU: features
//! features -> linear: logits
//! ```

use super::super::keys::{Keys, as_size};
use crate::error::Result;
use crate::graph::{Graph, GraphBuilder, NodeId, Shape, Window};
use crate::ops::{Act, pool};

/// Bounds that keep a mistyped number from asking for terabytes.
const WIDTH: std::ops::RangeInclusive<usize> = 1..=4096;
const SIDE: std::ops::RangeInclusive<usize> = 1..=1024;
const STAGES: std::ops::RangeInclusive<usize> = 1..=8;

/// What its `config.json` says.
#[derive(Clone, Debug)]
pub(super) struct Classifier {
    in_channels: usize,
    image_size: usize,
    channels: Vec<usize>,
    pub features: usize,
    pub classes: usize,
}

impl Classifier {
    /// Reads the keys, which have no defaults.
    pub fn read(mut keys: Keys) -> Result<Classifier> {
        let class = keys.class()?.to_string();
        if class != "ConvClassifier" {
            return Err(keys.bad("_class_name", "ConvClassifier", class));
        }
        let k = &mut keys;
        let widths = format!("{} to {} integers, each from 1 to {}", 1, STAGES.end(), WIDTH.end());
        let channels = k.take("channels", &widths, Vec::new(), |v| {
            let list: Option<Vec<usize>> = v.as_array()?.iter().map(as_size).collect();
            let fits = |l: &Vec<usize>| STAGES.contains(&l.len());
            list.filter(|l| fits(l) && l.iter().all(|c| WIDTH.contains(c)))
        })?;
        let config = Classifier {
            in_channels: k.size("in_channels", WIDTH, 0)?,
            image_size: k.size("image_size", SIDE, 0)?,
            channels,
            features: k.size("features", WIDTH, 0)?,
            classes: k.size("classes", WIDTH, 0)?,
        };
        let needed = [
            ("in_channels", config.in_channels),
            ("image_size", config.image_size),
            ("channels", config.channels.len()),
            ("features", config.features),
            ("classes", config.classes),
        ];
        if let Some((key, _)) = needed.iter().find(|(_, value)| *value == 0) {
            return Err(keys.bad(key, "a value", "no such key"));
        }
        let halved = config.image_size >> config.channels.len();
        if halved == 0 {
            let expected = format!("a side that {} stages can halve", config.channels.len());
            return Err(keys.bad("image_size", expected, config.image_size.to_string()));
        }
        keys.finish()?;
        Ok(config)
    }

    /// `[C, H, W]` of its images.
    pub fn input(&self) -> [usize; 3] {
        [self.in_channels, self.image_size, self.image_size]
    }

    /// Bytes to features and logits.
    pub fn graph(&self) -> Result<Graph> {
        let mut g = GraphBuilder::new();
        let [c, h, w] = self.input();
        // Trained on [-1, 1].
        let mut x = g.state(Shape::Map { h, w, c }, 1.0 / 127.5, -1.0);
        for (i, &channels) in self.channels.iter().enumerate() {
            x = stage(&mut g, &format!("stages.{i}"), x, channels)?;
        }
        let mean = g.global_mean("mean", x)?;
        let hidden = g.linear("features", mean, self.features, true);
        let features = g.activation("features.relu", hidden, Act::Relu);
        let logits = g.linear("classes", features, self.classes, true);
        let output = g.concat("features, classes", features, logits)?;
        Ok(g.finish(output))
    }
}

fn stage(g: &mut GraphBuilder, name: &str, mut x: NodeId, channels: usize) -> Result<NodeId> {
    for conv in ["conv1", "conv2"] {
        x = g.conv2d(&format!("{name}.{conv}"), x, channels, 3, 1, (1, 1))?;
        x = g.activation(&format!("{name}.{conv}.relu"), x, Act::Relu);
    }
    g.pool(&format!("{name}.pool"), x, Window::square(2, 2, (0, 0)), pool::Mode::Max, false)
}
